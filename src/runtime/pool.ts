import { Contents, type DeviceBuffer } from './buffer.ts'
import type { TensorArray } from './dtype.ts'
import { KeeplightError } from './errors.ts'

/**
 * Buffers by size class. A freed buffer waits for the next request of its class, so a loop that
 * makes the same tensors every time allocates only once.
 *
 * Reuse without waiting for the GPU is safe because commands run in the order they were enqueued.
 */

export interface PoolStats {
  /** Bytes of all buffers, in use or waiting. */
  readonly bytes: number
  /** Bytes of buffers that a tensor holds. */
  readonly usedBytes: number
  /** The largest `bytes` so far. */
  readonly peakBytes: number
  readonly buffers: number
  readonly allocations: number
  readonly reuses: number
}

/** A range's start: a buffer and a byte offset into it. */
export interface Place {
  readonly buffer: DeviceBuffer
  readonly offset: number
}

/** Counted memory of one tensor and its views. In a plan that is being recorded it has no place yet. */
export class Allocation {
  /** What its memory is filled with again after a recovery, from its start; must not be changed. */
  source: TensorArray | (() => Promise<TensorArray>) | undefined
  /** @internal Called once nothing refers to it. */
  onRelease: (() => void) | undefined
  readonly #contents = new Contents()
  #place: Place | undefined
  #references = 0
  readonly #free: () => void

  constructor(place: Place | undefined, free: () => void) {
    this.#free = free
    if (place) this.place(place)
  }

  get buffer(): DeviceBuffer {
    return this.#placed().buffer
  }

  /** Bytes into the buffer where this memory starts. */
  get offset(): number {
    return this.#placed().offset
  }

  #placed(): Place {
    if (!this.#place) {
      throw new KeeplightError('usage', 'a tensor of a plan has no memory before it is recorded')
    }
    return this.#place
  }

  /** @internal */
  place(place: Place): void {
    this.#place = place
    this.#contents.begin(place.buffer)
  }

  /** Whether a lost device took any of these bytes, and nothing has brought them back. */
  isLost(offset: number, bytes: number): boolean {
    return this.#contents.isLost(this.buffer, offset, offset + bytes)
  }

  /** @internal These bytes hold values again. */
  written(offset: number, bytes: number): void {
    this.#contents.written(this.buffer, offset, offset + bytes)
  }

  get references(): number {
    return this.#references
  }

  retain(): void {
    this.#references++
  }

  release(): void {
    if (--this.#references !== 0) return
    this.onRelease?.()
    this.#free()
  }
}

/** Rounds up so that sizes which differ little share a class; at most an eighth is wasted. */
export function sizeClass(bytes: number): number {
  const step = Math.max(256, 2 ** (Math.floor(Math.log2(Math.max(bytes, 1))) - 3))
  return Math.ceil(bytes / step) * step
}

export class BufferPool {
  readonly #create: (bytes: number, label: string) => DeviceBuffer
  readonly #limit: number
  readonly #free = new Map<number, DeviceBuffer[]>()
  readonly #owned = new Set<DeviceBuffer>()
  #bytes = 0
  #usedBytes = 0
  #peakBytes = 0
  #allocations = 0
  #reuses = 0

  /** @param limit the largest buffer that the adapter makes, in bytes */
  constructor(create: (bytes: number, label: string) => DeviceBuffer, limit = Infinity) {
    this.#create = create
    this.#limit = limit
  }

  allocate(bytes: number, label: string): Allocation {
    // Rounding up must not ask for more than the adapter gives.
    const size = Math.max(bytes, Math.min(sizeClass(bytes), this.#limit))
    let buffer = this.#free.get(size)?.pop()
    if (buffer) this.#reuses++
    else {
      buffer = this.#create(size, label)
      this.#owned.add(buffer)
      this.#allocations++
      this.#bytes += size
      this.#peakBytes = Math.max(this.#peakBytes, this.#bytes)
    }
    this.#usedBytes += size
    const taken = buffer
    return new Allocation({ buffer: taken, offset: 0 }, () => {
      this.#usedBytes -= size
      if (!this.#owned.has(taken)) return
      const waiting = this.#free.get(size)
      if (waiting) waiting.push(taken)
      else this.#free.set(size, [taken])
    })
  }

  owns({ buffer }: Allocation): boolean {
    return this.#owned.has(buffer)
  }

  /** Lets go of a buffer that got no memory, whether a tensor holds it or not. */
  discard(buffer: DeviceBuffer): void {
    if (!this.#owned.delete(buffer)) return
    this.#bytes -= buffer.size
    for (const waiting of this.#free.values()) {
      const at = waiting.indexOf(buffer)
      if (at >= 0) waiting.splice(at, 1)
    }
    buffer.destroy()
  }

  /** Destroys the buffers that wait for reuse. */
  trim(): void {
    for (const waiting of this.#free.values()) {
      for (const buffer of waiting) {
        this.#bytes -= buffer.size
        this.#owned.delete(buffer)
        buffer.destroy()
      }
    }
    this.#free.clear()
  }

  /** Destroys every buffer, in use or not. */
  destroy(): void {
    this.#owned.forEach((buffer) => buffer.destroy())
    this.#owned.clear()
    this.#free.clear()
    this.#bytes = 0
  }

  stats(): PoolStats {
    return {
      bytes: this.#bytes,
      usedBytes: this.#usedBytes,
      peakBytes: this.#peakBytes,
      buffers: this.#owned.size,
      allocations: this.#allocations,
      reuses: this.#reuses,
    }
  }
}
