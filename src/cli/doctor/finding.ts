/** What a check found, and what mends it. */
export interface Finding {
  readonly name: string
  readonly status: 'ok' | 'warning' | 'problem'
  readonly detail: string
  /** A command or a step; there for every problem. */
  readonly remedy?: string
}

export const ok = (name: string, detail: string): Finding => ({ name, status: 'ok', detail })

export const warning = (name: string, detail: string, remedy?: string): Finding => ({
  ...{ name, status: 'warning', detail },
  ...(remedy !== undefined && { remedy }),
})

export const problem = (name: string, detail: string, remedy: string): Finding => ({
  ...{ name, status: 'problem', detail, remedy },
})

/** The first line of an error's message. */
export const reasonOf = (error: unknown): string =>
  (error instanceof Error ? error.message : String(error)).split('\n')[0]
