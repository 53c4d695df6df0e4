import { KeeplightError } from './errors.ts'

export interface MemoryWanted {
  /** Bytes that were asked for. */
  readonly bytes: number
  /** The op that asked, or `record` for a plan's arenas. */
  readonly op: string
  /** Bytes that tensors held then. */
  readonly usedBytes: number
  /** Bytes that waited for reuse then; they are given back before the next attempt. */
  readonly freeBytes: number
}

/** The GPU could not give the memory that an op asked for. The device stays usable. */
export class OutOfMemoryError extends KeeplightError implements MemoryWanted {
  readonly bytes: number
  readonly op: string
  readonly usedBytes: number
  readonly freeBytes: number

  /** @param what the tensor or buffer, and why it was refused */
  constructor(wanted: MemoryWanted, what: string, options?: { cause?: unknown }) {
    const { bytes, op, usedBytes, freeBytes } = wanted
    super('out-of-memory', `${op}: ${what} (${usedBytes} bytes in use, ${freeBytes} free)`, options)
    this.bytes = bytes
    this.op = op
    this.usedBytes = usedBytes
    this.freeBytes = freeBytes
  }
}

/**
 * What refusals tell about how much the GPU gives in all. Nothing is known before the first; a later
 * success beyond it, when others have given memory back, ends that.
 */
export class KnownLimit {
  #bytes = Infinity

  /** Whether buffers of so many bytes in all were refused before. */
  reached(bytes: number): boolean {
    return bytes >= this.#bytes
  }

  /** Asks for a buffer that makes so many bytes in all; call what is returned when it was given. */
  ask(bytes: number): () => void {
    const known = this.#bytes
    return () => {
      // A refusal meanwhile counted this request among what there was.
      if (this.#bytes === known && this.reached(bytes)) this.#bytes = Infinity
    }
  }

  refused(bytes: number): void {
    this.#bytes = Math.min(this.#bytes, bytes)
  }
}

interface Answers {
  /** Gives back what waits for reuse. */
  trim(): void
  validated(error: Promise<GPUError | null>): void
  answered(refusal: Promise<OutOfMemoryError | undefined>): void
}

/**
 * Asks the GPU for a buffer. WebGPU says later whether there was memory, and `answered` gets that;
 * where it refuses at once, it is asked a second time after `trim`.
 *
 * @throws OutOfMemoryError when it refuses at once twice
 */
export function requestBuffer(
  gpu: GPUDevice,
  descriptor: GPUBufferDescriptor & { readonly label: string },
  wanted: MemoryWanted,
  { trim, validated, answered }: Answers,
): GPUBuffer {
  const refusal = (cause: unknown): OutOfMemoryError => {
    const reason = (cause as Partial<Error>).message ?? String(cause)
    const what =
      `the GPU gave no ${wanted.bytes} bytes for ${descriptor.label}: ${reason.trim()}; dispose ` +
      `tensors and plans that are no longer needed, or take smaller batches`
    return new OutOfMemoryError(wanted, what, { cause })
  }
  const create = (): GPUBuffer => {
    gpu.pushErrorScope('out-of-memory')
    gpu.pushErrorScope('validation')
    try {
      return gpu.createBuffer(descriptor)
    } finally {
      validated(gpu.popErrorScope())
      answered(gpu.popErrorScope().then((error) => (error ? refusal(error) : undefined)))
    }
  }
  try {
    return create()
  } catch {
    trim()
  }
  try {
    return create()
  } catch (cause) {
    throw refusal(cause)
  }
}

const failures = new WeakMap<object, OutOfMemoryError>()

/** Notes that a buffer never got its memory: whoever uses it from now on is told. */
export const noteFailure = (buffer: object, error: OutOfMemoryError): void => {
  failures.set(buffer, error)
}

/** Why a buffer has no memory, if that is known. */
export const failureOf = (buffer: object): OutOfMemoryError | undefined => failures.get(buffer)

let op: string | undefined

/** The op that is running, for messages about what it allocates. */
export const runningOp = (): string | undefined => op

/** Runs `body` as a part of an op; within another op, the outermost is named. */
export function inOp<R>(name: string, body: () => R): R {
  if (op !== undefined) return body()
  op = name
  try {
    return body()
  } finally {
    op = undefined
  }
}
