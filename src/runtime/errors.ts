/** What went wrong, as a stable word that programs can branch on. */
export type ErrorCode =
  /** No usable adapter, or the device could not be created. */
  | 'device'
  /** The device was lost (driver reset, `destroy()`, tab suspended); nothing pending will finish. */
  | 'device-lost'
  /** Shapes, dtypes or options that an op cannot take, or a validation error of the GPU. */
  | 'validation'
  /** The GPU could not give the memory that an op asked for. */
  | 'out-of-memory'
  /** An internal error of the driver or the compiler. */
  | 'internal'
  /** A tensor, plan or device was used after it was disposed. */
  | 'disposed'
  /** A file's bytes do not follow its format. */
  | 'format'
  /** An input (file, folder, image) is missing, unreadable or unsuitable. */
  | 'input'
  /** A call or command line that makes no sense as written. */
  | 'usage'
  /** The work was stopped by its `AbortSignal`. */
  | 'aborted'

/**
 * Every error that Keeplight throws on purpose.
 *
 * The message names the thing, what was expected, what came, and the remedy; `code` is for programs.
 */
export class KeeplightError extends Error {
  override readonly name = 'KeeplightError'
  readonly code: ErrorCode

  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options)
    this.code = code
  }
}
