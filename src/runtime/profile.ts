import { unpackParams, type Workgroups } from '../kernels/kernel.ts'
import type { BufferRange, Command } from './command.ts'
import type { AdapterDescription } from './adapter.ts'
import type { Device } from './device.ts'
import { bytesPerElement } from './dtype.ts'
import { KeeplightError } from './errors.ts'
import { sizeOf } from './shape.ts'

/** What a dispatch was, shared by all replays of one recorded command. */
export interface DispatchInfo {
  /** Name of the kernel, `matmul.NT.tile64`: op, then options and variant. */
  readonly kernel: string
  /** Shapes of what it reads → what it writes, in the order of its bindings: `32×64, 64 → 32×64`. */
  readonly shapes: string
  readonly workgroups: Workgroups
  /** A multiply-add counts two; absent where memory bounds the kernel. */
  readonly flops?: number
  /** Read and written once each. */
  readonly bytes: number
}

/** One dispatch on the GPU's clock. */
export interface DispatchRecord extends DispatchInfo {
  /** Nanoseconds since the first dispatch began. */
  readonly start: number
  /** Nanoseconds. */
  readonly duration: number
}

export interface Profile {
  readonly adapter: AdapterDescription
  /** In the order of submission. */
  readonly records: readonly DispatchRecord[]
  /**
   * Nanoseconds that every timestamp is a multiple of, 0 without any. Browsers round to about 65 µs or
   * 100 µs, so that a short dispatch reads as 0; only sums over many dispatches mean something then.
   */
  readonly resolution: number
  /** `resolution` is so coarse that single dispatches can't be told apart. */
  readonly quantized: boolean
}

/** What `Device.submit` takes. */
export interface Submission {
  finish(): GPUCommandBuffer
  /** Called right after it was submitted. */
  submitted?(): void
}

/** Dispatches of one query set, which holds 4,096 timestamps at most. */
const CHUNK = 512
/** From here on timestamps are called quantised. Clocks of GPUs and drivers tick in 1 to 1,000 ns. */
const COARSE = 10_000
const STAMP_BYTES = 8
const RESOLVE = 0x200 | 0x4 // QUERY_RESOLVE | COPY_SRC
const STAGING = 0x1 | 0x8 // MAP_READ | COPY_DST

/** One encoder's compute passes: one for all dispatches, or one each while they are timed. */
export class Passes implements Submission {
  readonly #label: string
  readonly #encoder: GPUCommandEncoder
  readonly #profiler: Profiler | undefined
  #pass: GPUComputePassEncoder | undefined

  constructor(gpu: GPUDevice, label: string, profiler: Profiler | undefined) {
    this.#label = label
    this.#encoder = gpu.createCommandEncoder({ label })
    this.#profiler = profiler
  }

  /** The pass that takes the next dispatch. */
  next(command: Command): GPUComputePassEncoder {
    const label = this.#label
    if (!this.#profiler) return (this.#pass ??= this.#encoder.beginComputePass({ label }))
    this.#pass?.end()
    const timestampWrites = this.#profiler.time(command, this.#encoder)
    return (this.#pass = this.#encoder.beginComputePass({ label, timestampWrites }))
  }

  finish(): GPUCommandBuffer {
    this.#pass?.end()
    this.#profiler?.resolve(this.#encoder)
    return this.#encoder.finish()
  }

  submitted(): void {
    this.#profiler?.collect()
  }
}

/** A query set with the buffers that its timestamps pass through. */
interface Chunk {
  readonly queries: GPUQuerySet
  readonly resolved: GPUBuffer
  readonly staging: GPUBuffer
}

/**
 * Takes timestamps around compute passes. Chunks of queries are resolved in the encoder that wrote
 * them, mapped after its submit, and used again once read, so a long profile keeps only its records.
 */
export class Profiler {
  readonly #device: Device
  #gpu: GPUDevice
  readonly #infos = new WeakMap<Command, DispatchInfo>()
  readonly #records: { info: DispatchInfo; begin: bigint; end: bigint }[] = []
  #free: Chunk[] = []
  readonly #all: Chunk[] = []
  readonly #reading: Promise<void>[] = []
  #failure: unknown
  #open: { chunk: Chunk; commands: Command[] } | undefined
  #toRead: { chunk: Chunk; commands: Command[] }[] = []

  constructor(device: Device) {
    if (!device.features.includes('timestamp-query')) {
      const { description, vendor } = device.adapter
      throw new KeeplightError(
        'device',
        `profile: ${description || vendor || 'this adapter'} gives no timestamp-query; use another ` +
          'adapter or a newer driver, or in Chromium start with --enable-unsafe-webgpu',
      )
    }
    this.#device = device
    this.#gpu = device.gpu
  }

  /** Where the pass of this command writes its two timestamps. */
  time(command: Command, encoder: GPUCommandEncoder): GPUComputePassTimestampWrites {
    if (this.#gpu !== this.#device.gpu) this.#lose()
    if (this.#open?.commands.length === CHUNK) this.resolve(encoder)
    this.#open ??= { chunk: this.#free.pop() ?? this.#makeChunk(), commands: [] }
    const { chunk, commands } = this.#open
    const first = 2 * commands.length
    commands.push(command)
    return {
      querySet: chunk.queries,
      beginningOfPassWriteIndex: first,
      endOfPassWriteIndex: first + 1,
    }
  }

  /** The device was lost and came back, so queries of before are of no use to it. */
  #lose(): void {
    this.#gpu = this.#device.gpu
    this.#failure ??= 'the device was lost meanwhile'
    this.#free = []
    this.#toRead = []
    this.#open = undefined
  }

  /** Ends the open chunk; no pass may be open. */
  resolve(encoder: GPUCommandEncoder): void {
    if (!this.#open) return
    const { chunk, commands } = this.#open
    const count = 2 * commands.length
    encoder.resolveQuerySet(chunk.queries, 0, count, chunk.resolved, 0)
    encoder.copyBufferToBuffer(chunk.resolved, 0, chunk.staging, 0, count * STAMP_BYTES)
    this.#toRead.push(this.#open)
    this.#open = undefined
  }

  /** Starts reading the chunks that were resolved, after their encoder was submitted. */
  collect(): void {
    const gpu = this.#gpu
    for (const { chunk, commands } of this.#toRead) {
      const size = 2 * commands.length * STAMP_BYTES
      const records = commands.map((command) => ({ info: this.#info(command), begin: 0n, end: 0n }))
      for (const record of records) this.#records.push(record)
      const reading = chunk.staging.mapAsync(1, 0, size).then(
        () => {
          const stamps = new BigUint64Array(chunk.staging.getMappedRange(0, size))
          records.forEach((record, i) => {
            record.begin = stamps[2 * i]!
            record.end = stamps[2 * i + 1]!
          })
          chunk.staging.unmap()
          if (gpu === this.#gpu) this.#free.push(chunk)
        },
        (error: unknown) => (this.#failure ??= error),
      )
      this.#reading.push(reading.then(() => undefined))
    }
    this.#toRead = []
  }

  async result(): Promise<Profile> {
    await Promise.all(this.#reading)
    if (this.#failure !== undefined) {
      throw new KeeplightError(
        'device-lost',
        `profile: timestamps could not be read: ${String(this.#failure)}; take the profile again`,
      )
    }
    const stamps = this.#records.flatMap(({ begin, end }) => [begin, end])
    const origin = stamps.reduce((least, stamp) => (stamp < least ? stamp : least), stamps[0] ?? 0n)
    const resolution = Number(stamps.reduce(greatestCommonDivisor, 0n))
    return {
      adapter: this.#device.adapter,
      // Some drivers reset their clock between passes; an end before its beginning says nothing.
      records: this.#records.map(({ info, begin, end }) => ({
        ...info,
        start: Number(begin - origin),
        duration: Math.max(0, Number(end - begin)),
      })),
      resolution,
      quantized: stamps.length > 0 && (resolution === 0 || resolution >= COARSE),
    }
  }

  destroy(): void {
    for (const { queries, resolved, staging } of this.#all) {
      queries.destroy()
      resolved.destroy()
      staging.destroy()
    }
  }

  #makeChunk(): Chunk {
    const { gpu } = this.#device
    const label = 'keeplight timestamps'
    const size = 2 * CHUNK * STAMP_BYTES
    const chunk = {
      queries: gpu.createQuerySet({ label, type: 'timestamp', count: 2 * CHUNK }),
      resolved: gpu.createBuffer({ label, size, usage: RESOLVE }),
      staging: gpu.createBuffer({ label, size, usage: STAGING }),
    }
    this.#all.push(chunk)
    return chunk
  }

  #info(command: Command): DispatchInfo {
    let info = this.#infos.get(command)
    if (!info) this.#infos.set(command, (info = describeDispatch(command)))
    return info
  }
}

function describeDispatch({ kernel, ranges, params, workgroups }: Command): DispatchInfo {
  const { flops, bytes } = kernel.cost?.(unpackParams(kernel, params)) ?? {}
  const accesses = Object.values(kernel.bindings).map(({ access }) => access)
  const side = (wanted: string): string =>
    ranges
      .filter((_, i) => accesses[i] === wanted)
      .map(describeShape)
      .join(', ')
  return {
    kernel: kernel.label,
    shapes: `${side('read')} → ${side('readWrite')}`.trim(),
    workgroups,
    ...(flops === undefined ? {} : { flops }),
    bytes: bytes ?? boundBytes(ranges),
  }
}

function describeShape({ shape, dtype }: BufferRange): string {
  const sizes = shape.length === 0 ? '1' : shape.join('×')
  return dtype === 'f32' ? sizes : `${dtype} ${sizes}`
}

/** Bytes of what is bound; a range that several bindings see (packed q, k, v) counts once. */
function boundBytes(ranges: readonly BufferRange[]): number {
  return ranges.reduce((sum, range, i) => {
    const before = ranges.slice(0, i).some(({ allocation, offset }) => {
      return allocation === range.allocation && offset === range.offset
    })
    return before ? sum : sum + sizeOf(range.shape) * bytesPerElement[range.dtype]
  }, 0)
}

function greatestCommonDivisor(a: bigint, b: bigint): bigint {
  while (b !== 0n) [a, b] = [b, a % b]
  return a
}

/**
 * Times what `body` enqueues.
 *
 * @param use submits what is enqueued so far, and makes the profiler the one that passes ask
 */
export async function takeProfile(
  device: Device,
  body: () => unknown,
  use: (profiler: Profiler | undefined) => void,
): Promise<Profile> {
  const profiler = new Profiler(device)
  use(profiler)
  try {
    await body()
  } finally {
    use(undefined)
  }
  try {
    await device.sync()
    return await profiler.result()
  } finally {
    profiler.destroy()
  }
}
