import type { PreprocessConfig } from '../src/index.ts'
import type { Source } from './sources.ts'

/** How the model takes pictures; the same for all of a run. */
export interface PrepareSettings {
  readonly preprocess: PreprocessConfig
  readonly views: number
}

/** What the page asks of a worker. */
export interface WorkerJob extends PrepareSettings {
  readonly id: number
  readonly source: Source
}

/** A picture that the page no longer needs to decode. */
export interface PreparedPicture {
  /** [1 + views, size, size, 3] bytes, the clean picture first. */
  readonly views: Uint8Array<ArrayBuffer>
  readonly thumbnail: Thumbnail
}

export interface Thumbnail {
  readonly width: number
  readonly height: number
  readonly blob: Blob
}

/** A worker's answer; `error` is a sentence about a picture that can't be used. */
export type WorkerReply =
  | { readonly id: number; readonly picture: PreparedPicture }
  | { readonly id: number; readonly error: string }
