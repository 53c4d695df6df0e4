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

/** Lower-case hex of bytes. */
export const hex = (bytes: ArrayBuffer | Uint8Array): string =>
  Array.from(new Uint8Array(bytes as ArrayBuffer), (byte) =>
    byte.toString(16).padStart(2, '0'),
  ).join('')

/** SHA-256 of bytes, in hex. */
export async function sha256Hex(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  return hex(await crypto.subtle.digest('SHA-256', bytes))
}
