import { KeeplightError } from '../runtime/errors.ts'

/**
 * Bytes that can be read by ranges: a file on disk, a Blob, an address with HTTP Range, or memory.
 * Readers of weight files take one, so that they fetch the tensors that are asked for and no others.
 */
export interface ByteSource {
  /** What errors call it: a path, an address, a file's name. */
  readonly name: string
  /** Bytes in all. */
  readonly size: number
  /** Reads that gain from running at the same time. Default 1. */
  readonly lanes?: number
  /** Whether reading again later is cheap and sure, as from a file of this machine. Default false. */
  readonly durable?: boolean
  /**
   * The bytes [begin, end), as a new array.
   *
   * @throws KeeplightError `input` when they can't be had, `aborted` after `signal`
   */
  read(begin: number, end: number, signal?: AbortSignal): Promise<Uint8Array<ArrayBuffer>>
  /** SHA-256 of all bytes in hex; absent where that would fetch what nobody asked for. */
  sha256?(signal?: AbortSignal): Promise<string>
  /** Gives back what it holds open; a later read opens it again. */
  close?(): Promise<void>
}

/** @throws KeeplightError `aborted` when the signal says so */
export function throwIfAborted(signal: AbortSignal | undefined, what: string): void {
  if (signal?.aborted) throw abortedError(what, signal)
}

export function abortedError(what: string, signal: AbortSignal): KeeplightError {
  return new KeeplightError('aborted', `${what}: stopped`, { cause: signal.reason })
}

/** @throws KeeplightError `input` when a source of `size` bytes has no such range */
export function checkRange(name: string, size: number, begin: number, end: number): void {
  const sound = Number.isSafeInteger(begin) && Number.isSafeInteger(end)
  if (sound && 0 <= begin && begin <= end && end <= size) return
  throw new KeeplightError(
    'input',
    `${name}: bytes ${begin} to ${end} were asked for, it has ${size}; is it another file than its index says?`,
  )
}

/** More than any tensor has; no typed array is longer either. */
const MAX_BYTES = 2 ** 34

/**
 * Memory for bytes of a source, whose size a hostile server may have made up.
 *
 * @throws KeeplightError `input` when there is not so much
 */
export function allocate(name: string, size: number): Uint8Array<ArrayBuffer> {
  try {
    checkSize(name, size)
    return new Uint8Array(size)
  } catch (cause) {
    if (cause instanceof KeeplightError) throw cause
    throw tooLarge(name, size, cause)
  }
}

/** @throws KeeplightError `input` for more bytes than can be had at once */
export function checkSize(name: string, size: number): void {
  if (size > MAX_BYTES) throw tooLarge(name, size)
}

const tooLarge = (name: string, size: number, cause?: unknown): KeeplightError =>
  new KeeplightError(
    'input',
    `${name}: ${size} bytes at once fit no memory of this program; is the file what it should be?`,
    { cause },
  )

/** Lower-case hex of bytes. */
export const hex = (bytes: ArrayBuffer | Uint8Array): string =>
  Array.from(new Uint8Array(bytes as ArrayBuffer), (byte) =>
    byte.toString(16).padStart(2, '0'),
  ).join('')

/** SHA-256 of bytes, in hex. */
export async function sha256Hex(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  return hex(await crypto.subtle.digest('SHA-256', bytes))
}
