import { SingleBar } from 'cli-progress'
import { oneLine } from './exitCodes.ts'

/** How far a phase has come. */
export interface Progress {
  /** @param before how much of it came for nothing, from a cache: it doesn't count for the rate */
  update(done: number, detail?: string, before?: number): void
  stop(): void
}

export interface TerminalOptions {
  /** Only errors and what was asked for by --json. */
  readonly quiet: boolean
  /** Standard output carries one JSON value and nothing else. */
  readonly json: boolean
}

/** What the user sees: results on standard output, everything else on standard error. */
export class Terminal {
  private readonly options: TerminalOptions
  private bar: SingleBar | undefined

  constructor(options: TerminalOptions) {
    this.options = options
  }

  /** A line about what happens. */
  note(text: string): void {
    if (!this.options.quiet) process.stderr.write(`${oneLine(text)}\n`)
  }

  /** Several lines about what happened, as they are. */
  noteLines(text: string): void {
    if (!this.options.quiet) process.stderr.write(`${text}\n`)
  }

  /** A line about something that went wrong without ending the run. */
  warn(text: string): void {
    process.stderr.write(`keeplight: ${oneLine(text)}\n`)
  }

  /** The result for people; not printed with --json or --quiet. */
  print(text: string): void {
    if (!this.options.quiet && !this.options.json) process.stdout.write(`${text}\n`)
  }

  /** A line of the result with names in it that nobody vouches for. */
  printLine(text: string): void {
    this.print(oneLine(text))
  }

  /** The result for programs; printed with --json only. */
  printJson(value: unknown): void {
    if (this.options.json) process.stdout.write(`${JSON.stringify(value, null, 2)}\n`)
  }

  /**
   * Starts a progress bar on a terminal, or a few plain lines elsewhere.
   *
   * @param before how much was done by an earlier run; it doesn't count for the rate
   */
  progress(label: string, total: number, unit: string, before = 0): Progress {
    if (this.options.quiet) return { update: () => {}, stop: () => {} }
    const pace = new Pace(total, before)
    return process.stderr.isTTY
      ? this.barProgress(label, total, unit, pace)
      : this.lineProgress(label, total, unit, pace)
  }

  /** Takes a running bar off the screen, so that an error line stands alone. */
  clear(): void {
    this.bar?.stop()
    this.bar = undefined
  }

  private barProgress(label: string, total: number, unit: string, pace: Pace): Progress {
    const bar = new SingleBar({
      format: `${label.padEnd(10)} {bar} {value}/{total} ${unit} · {pace}{detail}`,
      barCompleteChar: '█',
      barIncompleteChar: '░',
      barsize: 24,
      hideCursor: true,
      clearOnComplete: false,
      stream: process.stderr,
    })
    bar.start(total, 0, { pace: '', detail: '' })
    this.bar = bar
    return {
      update: (done, detail, before) => {
        pace.skip(before)
        bar.update(done, { pace: pace.describe(done), detail: detail ? ` · ${detail}` : '' })
      },
      stop: () => {
        bar.stop()
        this.bar = undefined
      },
    }
  }

  private lineProgress(label: string, total: number, unit: string, pace: Pace): Progress {
    let last = performance.now()
    let done = 0
    const line = (detail?: string): void => {
      const suffix = detail ? `, ${detail}` : ''
      this.note(`${label}: ${done}/${total} ${unit}, ${pace.describe(done)}${suffix}`)
    }
    return {
      update: (count, detail, before) => {
        done = count
        pace.skip(before)
        if (performance.now() - last < 10_000) return
        last = performance.now()
        line(detail)
      },
      stop: () => line(),
    }
  }
}

/** Rate and time left, from the start of a phase. */
export class Pace {
  private readonly start = performance.now()

  constructor(
    private readonly total: number,
    private before: number,
  ) {}

  skip(before = this.before): void {
    this.before = before
  }

  describe(done: number): string {
    const seconds = (performance.now() - this.start) / 1000
    if (done <= this.before || seconds === 0) return done >= this.total ? 'cached' : 'starting'
    const rate = (done - this.before) / seconds
    const pace = `${formatRate(rate)}/s`
    if (done >= this.total) return `${pace}, ${formatDuration(seconds)}`
    return `${pace}, ${formatDuration((this.total - done) / rate)} left`
  }
}

function formatRate(rate: number): string {
  return rate >= 10 ? Math.round(rate).toLocaleString('en') : rate.toFixed(1)
}

/** Seconds as people say them: `4.2 s`, `3 min 05 s`, `2 h 10 min`. */
export function formatDuration(seconds: number): string {
  if (seconds < 10) return `${seconds.toFixed(1)} s`
  const whole = Math.round(seconds)
  if (whole < 60) return `${whole} s`
  const pad = (value: number): string => String(value).padStart(2, '0')
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${pad(whole % 60)} s`
  return `${Math.floor(whole / 3600)} h ${pad(Math.floor((whole % 3600) / 60))} min`
}
