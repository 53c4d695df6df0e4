import type { Terminal } from './terminal.ts'

/** What every command is given beside its arguments. */
export interface Context {
  readonly terminal: Terminal
  /** Fires at the first Ctrl-C. */
  readonly signal: AbortSignal
}
