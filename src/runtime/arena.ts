import type { DeviceBuffer } from './buffer.ts'
import type { Command } from './command.ts'
import { KeeplightError } from './errors.ts'
import { failureOf, type OutOfMemoryError } from './outOfMemory.ts'
import { Allocation } from './pool.ts'

/**
 * Memory of a recorded plan. While it is recorded, intermediates have no place yet; once every command
 * is known, so is how long each one lives, and they are laid out in a few buffers ("arenas") in which
 * those that never live at the same time share bytes.
 *
 * WebGPU forbids a buffer to be read and written in one dispatch, whichever ranges of it, so what a
 * command reads and what it writes lie in different arenas: a colouring of the graph of such pairs,
 * found together with the offsets, the largest first, each where its arena has to grow least.
 */

/** What a plan holds of one intermediate. */
interface Intermediate {
  readonly allocation: Allocation
  readonly bytes: number
}

/** An intermediate with its life, in numbers of commands, both ends included. */
export interface Interval {
  readonly bytes: number
  readonly first: number
  readonly last: number
  /** Indices of the intervals that may not share a buffer with this one. */
  readonly apart: ReadonlySet<number>
}

export interface Placement {
  readonly arena: number
  readonly offset: number
}

/**
 * Places intervals in arenas.
 *
 * @param limit bytes that an arena holds at most
 * @param alignment of every offset
 * @returns a placement for each interval, and the size of each arena
 */
export function planArenas(
  intervals: readonly Interval[],
  { limit, alignment }: { readonly limit: number; readonly alignment: number },
): { placements: Placement[]; sizes: number[] } {
  const placements: Placement[] = []
  const arenas: { size: number; members: number[] }[] = []
  const order = intervals
    .map((_, i) => i)
    .sort((a, b) => {
      const [x, y] = [intervals[a]!, intervals[b]!]
      return y.bytes - x.bytes || x.first - y.first || a - b
    })
  for (const i of order) {
    const interval = intervals[i]!
    let best: Placement & { growth: number } = {
      arena: arenas.length,
      offset: 0,
      growth: interval.bytes,
    }
    for (const [arena, { size, members }] of arenas.entries()) {
      if (members.some((other) => interval.apart.has(other))) continue
      const offset = lowestOffset(interval, members, intervals, placements, alignment)
      const growth = Math.max(0, offset + interval.bytes - size)
      if (size + growth > limit) continue
      // As good as an arena of its own is better: fewer buffers.
      const better = best.arena === arenas.length ? growth <= best.growth : growth < best.growth
      if (better) best = { arena, offset, growth }
    }
    if (best.arena === arenas.length) arenas.push({ size: 0, members: [] })
    const chosen = arenas[best.arena]!
    chosen.members.push(i)
    chosen.size = Math.max(chosen.size, best.offset + interval.bytes)
    placements[i] = { arena: best.arena, offset: best.offset }
  }
  return { placements, sizes: arenas.map(({ size }) => size) }
}

/** The lowest aligned offset in an arena where nothing that lives at the same time is in the way. */
function lowestOffset(
  interval: Interval,
  members: readonly number[],
  intervals: readonly Interval[],
  placements: readonly Placement[],
  alignment: number,
): number {
  const taken = members
    .filter((other) => {
      const { first, last } = intervals[other]!
      return first <= interval.last && interval.first <= last
    })
    .map((other) => {
      const start = placements[other]!.offset
      return { start, end: start + intervals[other]!.bytes }
    })
    .sort((a, b) => a.start - b.start)
  let offset = 0
  for (const { start, end } of taken) {
    if (offset + interval.bytes <= start) break
    offset = Math.max(offset, Math.ceil(end / alignment) * alignment)
  }
  return offset
}

export interface ArenaStats {
  /** Bytes of the arenas: all that the plan's intermediates and outputs take. */
  readonly arenaBytes: number
  readonly arenas: number
  /** Bytes of the tensors with given values that were made while it was recorded. */
  readonly constantBytes: number
  /** The largest sum of intermediates and outputs that are alive at one command: no layout takes less. */
  readonly peakLiveBytes: number
  /** Sizes of the two largest intermediates. */
  readonly largestBytes: readonly [number, number]
}

interface ArenaOptions {
  readonly create: (bytes: number, label: string) => DeviceBuffer
  readonly limit: number
  readonly alignment: number
}

export class PlanMemory {
  readonly #options: ArenaOptions
  readonly #intermediates: Intermediate[] = []
  readonly #owned = new Set<Allocation>()
  readonly #buffers: DeviceBuffer[] = []
  /** Tensors with given values, made while the plan was recorded. */
  readonly constants = new Set<Allocation>()
  #constantBytes = 0
  #stats: Omit<ArenaStats, 'constantBytes'> | undefined

  constructor(options: ArenaOptions) {
    this.#options = options
  }

  /** @param constant values are written to it now, and stay for every replay */
  allocate(bytes: number, label: string, constant: boolean): Allocation {
    // Bindings are rounded up to whole vec4s.
    const size = Math.ceil(bytes / 16) * 16
    let allocation: Allocation
    if (constant) {
      const buffer = this.#options.create(size, `${label} of a plan`)
      this.#buffers.push(buffer)
      this.#constantBytes += size
      allocation = new Allocation({ buffer, offset: 0 }, () => {})
      this.constants.add(allocation)
    } else {
      allocation = new Allocation(undefined, () => {})
      this.#intermediates.push({ allocation, bytes: size })
    }
    this.#owned.add(allocation)
    return allocation
  }

  /** What a replay writes before it reads: all but constants that kernels change from run to run. */
  get rewritten(): ReadonlySet<Allocation> {
    const changed = [...this.constants].filter(({ source }) => !source)
    return new Set([...this.#owned].filter((allocation) => !changed.includes(allocation)))
  }

  owns(allocation: Allocation): boolean {
    return this.#owned.has(allocation)
  }

  /** Gives every intermediate its place. What is still referred to outlives the last command. */
  layOut(commands: readonly Command[]): void {
    const intervals = livesOf(this.#intermediates, commands)
    const { placements, sizes } = planArenas(intervals, this.#options)
    const arenas = sizes.map((size, i) => {
      return this.#options.create(size, `keeplight arena ${i + 1} of ${sizes.length} of a plan`)
    })
    this.#buffers.push(...arenas)
    this.#intermediates.forEach(({ allocation }, i) => {
      const { arena, offset } = placements[i]!
      allocation.place({ buffer: arenas[arena]!, offset })
    })
    const sorted = intervals.map(({ bytes }) => bytes).sort((a, b) => b - a)
    this.#stats = {
      arenas: sizes.length,
      arenaBytes: sizes.reduce((sum, size) => sum + size, 0),
      peakLiveBytes: peakOf(intervals, commands.length),
      largestBytes: [sorted[0] ?? 0, sorted[1] ?? 0],
    }
  }

  /** Why a buffer of the plan has no memory, if one has none. */
  failure(): OutOfMemoryError | undefined {
    return this.#buffers.map(failureOf).find((failure) => failure !== undefined)
  }

  /** New arenas in the place of those that got no memory; false when a constant, now lost, got none. */
  layOutAgain(commands: readonly Command[]): boolean {
    const constants = this.#buffers.slice(0, this.#buffers.length - (this.#stats?.arenas ?? 0))
    if (constants.some(failureOf)) return false
    this.#buffers.splice(constants.length).forEach((buffer) => buffer.destroy())
    this.layOut(commands)
    return true
  }

  stats(): ArenaStats {
    if (!this.#stats) throw new KeeplightError('internal', 'plan: its memory has no layout yet')
    return { ...this.#stats, constantBytes: this.#constantBytes }
  }

  destroy(): void {
    this.#buffers.forEach((buffer) => buffer.destroy())
    this.#buffers.length = 0
    this.#constantBytes = 0
    if (this.#stats) this.#stats = { ...this.#stats, arenas: 0, arenaBytes: 0 }
  }
}

function livesOf(intermediates: readonly Intermediate[], commands: readonly Command[]): Interval[] {
  const numbers = new Map(intermediates.map(({ allocation }, i) => [allocation, i]))
  const lives = intermediates.map(() => ({ first: Infinity, last: -1, apart: new Set<number>() }))
  commands.forEach(({ kernel, ranges }, at) => {
    const touched = { read: new Set<number>(), readWrite: new Set<number>() }
    Object.values(kernel.bindings).forEach(({ access }, i) => {
      const number = numbers.get(ranges[i]!.allocation)
      if (number === undefined) return
      touched[access].add(number)
      const life = lives[number]!
      life.first = Math.min(life.first, at)
      life.last = at
    })
    for (const read of touched.read) {
      for (const written of touched.readWrite) {
        lives[read]!.apart.add(written)
        lives[written]!.apart.add(read)
      }
    }
  })
  return lives.map(({ first, last, apart }, i) => {
    const { allocation, bytes } = intermediates[i]!
    // What no command touches holds nothing, but may still be read or written by the caller.
    const untouched = last < 0
    const kept = allocation.references > 0
    return {
      bytes,
      apart,
      first: untouched ? 0 : first,
      last: kept ? Infinity : Math.max(last, 0),
    }
  })
}

function peakOf(intervals: readonly Interval[], commands: number): number {
  let peak = 0
  for (let at = 0; at < Math.max(commands, 1); at++) {
    let live = 0
    for (const { bytes, first, last } of intervals) if (first <= at && at <= last) live += bytes
    peak = Math.max(peak, live)
  }
  return peak
}
