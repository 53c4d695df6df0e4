/** Largest image file that is read, in bytes, on disk or in an archive. */
export const maximumFileBytes = 512 * 1024 * 1024

/** What an archive may ask of this machine; beyond it lie decompression bombs. */
export interface ArchiveLimits {
  /** Files, folders and the like in one archive. */
  readonly entries: number
  /** Bytes of a path in an archive, and of an extended header that may carry one. */
  readonly nameBytes: number
  readonly headerBytes: number
  /** Inflated bytes to one byte of the archive; what `freeBytes` holds is allowed to any. */
  readonly ratio: number
  readonly freeBytes: number
  /** Inflated bytes in all. */
  readonly totalBytes: number
}

/** ImageNet-21k as one tar has 14 million images, but nobody clusters more than 5 million here. */
export const archiveLimits: ArchiveLimits = {
  entries: 5_000_000,
  nameBytes: 4096,
  headerBytes: 1024 * 1024,
  ratio: 200,
  freeBytes: 64 * 1024 * 1024,
  totalBytes: 4 * 1024 ** 4,
}
