import { describe, type Command } from './command.ts'

/**
 * How long submits keep a GPU busy, by measurement, so that none runs into a watchdog: Windows resets
 * a driver after 2 s, browsers after 10 s and more, and a page stops painting long before.
 *
 * Costs are kept by kernel and size. A submit's time is that from its start (or the end of the one
 * before it, when several are in flight) to the promise of its end, which is an upper bound: a busy
 * host hears of it late. So a lower measurement is believed at once and a higher one by half.
 */

export interface SubmitStats {
  /** Milliseconds that a submit should take at most. */
  readonly submitBudgetMs: number
  /** The longest submit so far, in ms, from its start to when the host heard of its end. */
  readonly longestSubmitMs: number
  /** What was in it: an op and its shapes when it was one dispatch, which nothing can split. */
  readonly longestSubmit: string
  /** Median and 99th percentile of the latest 512 submits, in ms. */
  readonly submitMs: { readonly p50: number; readonly p99: number }
}

/** Far from every watchdog, and long enough that the cost of a submit does not show. */
export const HARDWARE_BUDGET_MS = 50
/** On CPU rasterisers no watchdog waits, so submits may be long; progress still wants an end. */
export const SOFTWARE_BUDGET_MS = 500

/** Before its first measurement a dispatch counts as this per workgroup: slow for any GPU. */
const UNKNOWN_MS_PER_WORKGROUP = 5e-3
/** Ends that are told closer together than this came in one go, and are measured as one. */
const SAME_MOMENT_MS = 0.2
const MAX_COSTS = 4096
const RECENT = 512

interface Cost {
  ms: number
  measured: boolean
}

interface Work {
  readonly commands: readonly Command[]
  readonly submits: number
}

export class SubmitBudget {
  /** Milliseconds that a submit should take at most. */
  readonly ms: number
  readonly #now: () => number
  readonly #costs = new Map<string, Cost>()
  /** The same by command, for the replays of a plan. */
  readonly #known = new WeakMap<Command, Cost>()
  readonly #recent: number[] = []
  #inFlight: Promise<unknown>[] = []
  #group: (Work & { start: number; last: number }) | undefined
  #lastEnd = -Infinity
  #longestMs = 0
  #longest = ''

  constructor(ms: number, now: () => number = () => performance.now()) {
    this.ms = ms
    this.#now = now
  }

  /** Expected milliseconds of a command. */
  costOf(command: Command): number {
    return this.#cost(command).ms
  }

  /** Whether a submit expected to take `ms` has room for `more`; the first command always fits. */
  fits(ms: number, more: number): boolean {
    return ms === 0 || ms + more <= this.ms
  }

  #cost(command: Command): Cost {
    let cost = this.#known.get(command)
    if (!cost) this.#known.set(command, (cost = this.#lookUp(command)))
    return cost
  }

  #lookUp(command: Command): Cost {
    const workgroups = command.workgroups.reduce((product, count) => product * count, 1)
    const bytes = command.ranges.reduce((sum, { size }) => sum + size, 0)
    const key = `${command.kernel.label} ${workgroups} ${bytes}`
    let cost = this.#costs.get(key)
    if (!cost) {
      // Only a program that never repeats a size comes here.
      if (this.#costs.size >= MAX_COSTS) this.#costs.clear()
      cost = { ms: workgroups * UNKNOWN_MS_PER_WORKGROUP, measured: false }
      this.#costs.set(key, cost)
    }
    return cost
  }

  /** Takes note of a submit; `done` resolves at its end. */
  submitted(commands: readonly Command[], done: Promise<unknown>): void {
    const start = this.#now()
    const ended: Promise<void> = done.then(
      () => {
        this.#leave(ended)
        this.#ended(commands, start)
      },
      () => this.#leave(ended), // lost with its device
    )
    this.#inFlight.push(ended)
  }

  #leave(ended: Promise<unknown>): void {
    this.#inFlight = this.#inFlight.filter((other) => other !== ended)
  }

  /** Resolves when at most `submits` are in flight. */
  async ahead(submits: number): Promise<void> {
    while (this.#inFlight.length > submits) await this.#inFlight[0]
  }

  #ended(commands: readonly Command[], start: number): void {
    const now = this.#now()
    if (this.#group && now - this.#group.last < SAME_MOMENT_MS) {
      const { start: first, commands: before, submits } = this.#group
      this.#group = {
        start: first,
        last: now,
        commands: [...before, ...commands],
        submits: submits + 1,
      }
    } else {
      if (this.#group) this.#learn(this.#group, this.#group.last - this.#group.start)
      this.#group = { start: Math.max(start, this.#lastEnd), last: now, commands, submits: 1 }
    }
    this.#lastEnd = now
    if (this.#inFlight.length === 0) {
      this.#learn(this.#group, now - this.#group.start)
      this.#group = undefined
    }
  }

  #learn({ commands, submits }: Work, ms: number): void {
    this.#report(commands, ms / submits)
    const costs = commands.map((command) => this.#cost(command))
    const sum = (list: readonly Cost[]): number => list.reduce((total, cost) => total + cost.ms, 0)
    const unknown = costs.filter(({ measured }) => !measured)
    if (unknown.length > 0) {
      // What is known keeps its cost, the rest of the time is the unknown's.
      const known = sum(costs) - sum(unknown)
      const ratio = Math.max(ms - known, ms / 100) / sum(unknown)
      for (const cost of new Set(unknown)) {
        cost.ms *= ratio
        cost.measured = true
      }
    } else {
      const ratio = ms / sum(costs)
      const believed = ratio < 1 ? ratio : Math.sqrt(Math.min(ratio, 16))
      for (const cost of new Set(costs)) cost.ms *= believed
    }
    // A clock of coarse steps measures nothing as 0, and 0 could never be scaled up again.
    for (const cost of costs) cost.ms = Math.max(cost.ms, 1e-5)
  }

  #report(commands: readonly Command[], ms: number): void {
    this.#recent.push(ms)
    if (this.#recent.length > RECENT) this.#recent.shift()
    if (ms <= this.#longestMs) return
    this.#longestMs = ms
    const [first] = commands
    const rest = commands.length - 1
    this.#longest = first ? describe(first) + (rest > 0 ? ` and ${rest} more` : '') : ''
  }

  stats(): SubmitStats {
    const sorted = [...this.#recent].sort((a, b) => a - b)
    const at = (share: number): number => sorted[Math.ceil(share * sorted.length) - 1] ?? 0
    return {
      submitBudgetMs: this.ms,
      longestSubmitMs: this.#longestMs,
      longestSubmit: this.#longest,
      submitMs: { p50: at(0.5), p99: at(0.99) },
    }
  }
}
