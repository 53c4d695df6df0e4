/** The files that a collection is made of: those of an archive, or of a data set's folder. */
export interface FileSet {
  /** Absolute path of the folder or archive, symbolic links resolved. */
  readonly root: string
  readonly kind: string
  /** Names of the regular files, unique, with `/` between parts. */
  readonly names: readonly string[]
  /** Bytes of each. */
  readonly sizes: readonly number[]
  /** Absolute path of the file on disk whose size and time vouch for file `index`. */
  holder(index: number): string
  /**
   * The bytes of chosen files, one file after the other, each in at least one part.
   *
   * @param indices ascending
   * @throws KeeplightError `input` when the files can't be read or were changed, `aborted` after `signal`
   */
  read(indices: readonly number[], signal?: AbortSignal): AsyncIterable<FilePart>
}

export interface FilePart {
  readonly index: number
  /** The next bytes of the file; valid until the next part is asked for. */
  readonly data: Uint8Array
  /** Whether the file ends with them. */
  readonly last: boolean
  /** Why the rest can't be had, where the others can; then it is the last part. */
  readonly problem?: string
}
