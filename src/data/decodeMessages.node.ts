import type { PreprocessConfig } from '../model/preprocess.ts'
import type { ImageContent } from './collection.ts'
import type { Thumbnail } from './decodeImage.node.ts'
import type { ViewPicture } from './viewPicture.ts'

/** Edge of the small raw picture that raw-pixel k-means works on. */
export const rawEdge = 32

/** What a decoding thread does with an image: make the model's views, look at it, or make a contact-sheet picture. */
export type WorkerConfig =
  | {
      readonly kind: 'views'
      readonly preprocess: PreprocessConfig
      /** Augmented views beside the clean one. */
      readonly views: number
      readonly seed: number
      /** Content hashes that need no decoding because their features are known. */
      readonly known: ReadonlySet<string>
      /** Large photos are reduced while they are decoded; else the model's resampler alone resizes. */
      readonly reduce: boolean
      /** Whether the picture that raw-pixel k-means sees is made too. */
      readonly raw: boolean
      /** Whether the picture is looked at too: see `appearance.ts`. */
      readonly look: boolean
      /** Makes what fresh views are cut from, in the place of views. */
      readonly pictures: boolean
    }
  | {
      readonly kind: 'appearance'
      /** Pictures are reduced to this shortest edge while they are decoded. */
      readonly reduceTo: number
      /** Content hashes that need no decoding because they were looked at before. */
      readonly known: ReadonlySet<string>
    }
  | { readonly kind: 'thumbnail'; readonly height: number }

export interface WorkerJob {
  readonly id: number
  /** Bytes and pixels are handed over, not copied. */
  readonly content: ReadableContent
}

/** A content that there is something to decode of. */
export type ReadableContent = Exclude<ImageContent, { readonly unreadable: string }>

export interface ViewsResult {
  /** SHA-256 of the file's bytes, or of the pixels with their size before them, hexadecimal. */
  readonly hash: string
  /** Undefined when the hash is among the known ones. */
  readonly image?: {
    /** (1 + views) · size · size · 3 bytes, the clean view first. */
    readonly views: Uint8Array
    /** What fresh views are cut from, where it was asked for; `views` is empty then. */
    readonly picture?: ViewPicture
    /** 32 · 32 · 3 bytes: the picture as raw-pixel k-means sees it; empty unless asked for. */
    readonly raw: Uint8Array
    /** Upright size of the picture in the file, and its EXIF orientation. */
    readonly width: number
    readonly height: number
    readonly orientation: number
    /** What `packAppearance` makes of it; empty unless asked for. */
    readonly look: Uint8Array
  }
}

export interface LookResult {
  /** As in {@link ViewsResult}. */
  readonly hash: string
  /** What `packAppearance` makes of it; undefined when the hash is among the known ones. */
  readonly look?: Uint8Array
}

export type WorkerReply =
  | { readonly ready: true }
  | { readonly id: number; readonly result: ViewsResult | LookResult | Thumbnail }
  | { readonly id: number; readonly error: string }
