/**
 * Bytes that can be read by ranges: a file on disk, a Blob, an address with HTTP Range, or memory.
 * Readers of weight files take one, so that they fetch the tensors that are asked for and no others.
 */
export interface ByteSource {
  /** What errors call it: a path, an address, a file's name. */
  readonly name: string
  /** Bytes in all. */
  readonly size: number
  /**
   * The bytes [begin, end), as a new array.
   *
   * @throws KeeplightError `input` when they can't be had, `aborted` after `signal`
   */
  read(begin: number, end: number, signal?: AbortSignal): Promise<Uint8Array<ArrayBuffer>>
  /** Gives back what it holds open. */
  close?(): Promise<void>
}
