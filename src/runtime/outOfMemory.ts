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
