import type { Pixels } from '../model/preprocess.ts'

/**
 * Where an image's bytes are: a file on disk, a file's bytes in memory, pixels that need no decoding, or
 * nowhere, when they are damaged where the others are not.
 */
export type ImageContent =
  | { readonly file: string }
  | { readonly bytes: Uint8Array<ArrayBuffer> }
  | { readonly pixels: Pixels }
  | { readonly unreadable: string }

/** The file on disk that an image is, or lies in. */
export interface Holder {
  readonly path: string
  /** Whether it holds this image alone. */
  readonly own: boolean
}

/**
 * The images of a folder, a list, an archive or a data set's binary files, in a stable order: the same
 * data give the same order on every machine, so that shards of it fit together.
 */
export interface ImageCollection {
  /** Absolute path of the folder or file, symbolic links resolved. */
  readonly root: string
  readonly kind: string
  /** Names of the images within the collection, unique, with `/` between parts. */
  readonly files: readonly string[]
  /** Class of each image as an index into `classes`; undefined when there are no classes. */
  readonly labels: Int32Array | undefined
  /** Names of the classes; empty without classes. */
  readonly classes: readonly string[]
  /** A coarser labelling beside it, as CIFAR-100 has. */
  readonly coarse?: { readonly labels: Int32Array; readonly classes: readonly string[] }
  /** How many files were passed over because they aren't images by their name. */
  readonly ignored: number
  /** The file that holds an image, where there are files: links lead to it, its time tells of changes. */
  holder?(index: number): Holder
  /**
   * The contents of chosen images, in the order of the collection, each once and in constant memory.
   * Bytes and pixels are the caller's own.
   *
   * @param indices ascending; all images by default
   * @throws KeeplightError `input` when the collection can't be read or was changed meanwhile
   */
  read(
    indices?: readonly number[],
    signal?: AbortSignal,
  ): AsyncIterable<{ readonly index: number; readonly content: ImageContent }>
}

/** The indices of all images of a collection. */
export function everyIndex(collection: Pick<ImageCollection, 'files'>): number[] {
  return Array.from(collection.files, (_, index) => index)
}
