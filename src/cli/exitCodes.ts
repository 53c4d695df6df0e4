import { CommanderError } from 'commander'
import { KeeplightError } from '../runtime/errors.ts'

/** The command line's exit codes; `keeplight --help` lists them. */
export const exitCodes = {
  ok: 0,
  /** An error inside Keeplight or the driver; please report it. */
  internal: 1,
  /** Arguments that make no sense as written. */
  usage: 2,
  /** The images or the model are missing, unreadable or unsuitable. */
  input: 3,
  /** A weights file does not follow its format. */
  format: 4,
  /** No usable adapter, or the device was lost or is out of memory. */
  device: 5,
  /** The results can't be written. */
  output: 6,
  /** Stopped by Ctrl-C or SIGTERM. */
  interrupted: 130,
} as const

/** Results can't be written. */
export class OutputError extends Error {
  override readonly name = 'OutputError'
}

/** Ends the program with a code, after everything was said. */
export class ReportedError extends Error {
  override readonly name = 'ReportedError'

  constructor(readonly kind: 'device') {
    super('the problems were printed')
  }
}

/** The exit code that an error ends the program with. */
export function exitCodeOf(error: unknown): number {
  if (error instanceof OutputError) return exitCodes.output
  if (error instanceof ReportedError) return exitCodes[error.kind]
  if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.ok : exitCodes.usage
  if (!(error instanceof KeeplightError)) return exitCodes.internal
  switch (error.code) {
    case 'usage':
      return exitCodes.usage
    case 'input':
      return exitCodes.input
    case 'format':
      return exitCodes.format
    case 'device':
    case 'device-lost':
    case 'out-of-memory':
      return exitCodes.device
    case 'aborted':
      return exitCodes.interrupted
    default:
      return exitCodes.internal
  }
}

/** An error as the one line that the user reads. */
export function errorLine(error: unknown): string {
  if (error instanceof KeeplightError || error instanceof OutputError) {
    return `keeplight: ${oneLine(error.message)}`
  }
  const text = error instanceof Error ? `${error.name}: ${error.message}` : String(error)
  return `keeplight: unexpected error: ${oneLine(text)} (KEEPLIGHT_DEBUG=1 shows where)`
}

/** Untrusted text on one line, without the control characters that could move a terminal's cursor. */
export function oneLine(text: string): string {
  // eslint-disable-next-line no-control-regex
  return text.replace(/[\u0000-\u001f\u007f-\u009f]+/g, ' ')
}
