import { DeviceBuffer } from './buffer.ts'
import {
  failureOf,
  KnownLimit,
  noteFailure,
  requestBuffer,
  runningOp,
  type MemoryWanted,
  type OutOfMemoryError,
} from './outOfMemory.ts'
import type { PendingErrors } from './pendingErrors.ts'
import { BufferPool, type Allocation } from './pool.ts'

const STORAGE = 0x80 | 0x4 | 0x8 // STORAGE | COPY_SRC | COPY_DST

/** What memory needs of its device. */
interface Owner {
  /** The WebGPU device; another one after a recovery. */
  gpu(): GPUDevice
  readonly errors: PendingErrors
  /** False once it is closed or lost. */
  usable(): boolean
  /** Submits what is enqueued, which may use buffers that are about to go. */
  flush(): void
}

/** The storage buffers of a device: those of the pool, and those of plans. */
export class DeviceMemory {
  readonly pool: BufferPool
  readonly #owner: Owner
  readonly #buffers = new Set<DeviceBuffer>()
  readonly #limit = new KnownLimit()
  #bytes = 0
  #refusals = 0

  /** @param maxBufferSize the largest buffer that the adapter makes, in bytes */
  constructor(owner: Owner, maxBufferSize: number) {
    this.#owner = owner
    this.pool = new BufferPool((bytes, label) => this.create(bytes, label), maxBufferSize)
  }

  /**
   * A storage buffer. Where the GPU tells at once that it has no memory, the pool's free buffers are
   * given back and it is asked again; where it tells later, as WebGPU does, the next sync throws, and so
   * does every later use of the buffer. Where an earlier refusal tells that there would be none, they are
   * given back before it is asked.
   *
   * @throws OutOfMemoryError
   */
  create(size: number, label: string, op = 'empty'): DeviceBuffer {
    if (this.#limit.reached(this.#bytes + size)) this.trim()
    const gpu = this.#request(size, label, op, () => buffer)
    const buffer = new DeviceBuffer(gpu, { size, label }, (gone) => {
      if (this.#buffers.delete(gone)) this.#bytes -= gone.size
    })
    this.#buffers.add(buffer)
    this.#bytes += size
    return buffer
  }

  /** @param owner what turns out to have no memory when the GPU says so */
  #request(size: number, label: string, op: string, owner: () => DeviceBuffer): GPUBuffer {
    const { errors } = this.#owner
    const all = this.#bytes + size
    const given = this.#limit.ask(all)
    return requestBuffer(
      this.#owner.gpu(),
      { label, size, usage: STORAGE },
      this.wanted(size, op),
      {
        trim: () => this.trim(),
        validated: (error) => errors.check(error, () => `allocating ${size} bytes for ${label}`),
        answered: (answer) => {
          const told = answer.then((refusal) => {
            if (!refusal) return given()
            this.#limit.refused(all)
            this.#refuse(owner(), refusal)
          })
          errors.follow(told)
        },
      },
    )
  }

  /** A request, for the error if it is refused. */
  wanted(bytes: number, op: string): MemoryWanted {
    const { bytes: all, usedBytes } = this.pool.stats()
    return { bytes, op: runningOp() ?? op, usedBytes, freeBytes: all - usedBytes }
  }

  /** The GPU has no memory for this buffer; what waits for reuse goes back, for the next attempt. */
  #refuse(buffer: DeviceBuffer, error: OutOfMemoryError): void {
    noteFailure(buffer, error)
    this.#refusals++
    this.pool.discard(buffer)
    this.#owner.errors.note(error)
    if (this.#owner.usable()) this.trim()
  }

  /** Throws why one of these has no memory. */
  assertAllocated(allocations: Iterable<Allocation>): void {
    if (this.#refusals === 0) return
    for (const { buffer } of allocations) {
      const failure = failureOf(buffer)
      if (failure) throw failure
    }
  }

  /** Destroys the buffers that wait for reuse. */
  trim(): void {
    this.#owner.flush()
    this.pool.trim()
  }

  /** Puts memory of a new GPU device in the place of every buffer's. */
  replaceAll(op: string): void {
    for (const buffer of this.#buffers) {
      const { size, label } = buffer
      buffer.replace(this.#request(size, label, op, () => buffer))
    }
  }
}
