import type { PreprocessConfig } from '../model/preprocess.ts'
import { KeeplightError } from '../runtime/errors.ts'
import type { ImageCollection } from './collection.ts'
import { decodeCollection, type PoolSettings } from './decode.node.ts'
import { viewPictureBytes, type ViewPicture } from './viewPicture.ts'

export interface PicturesOptions {
  readonly preprocess: PreprocessConfig
  /** The images, by their places in the collection, ascending. */
  readonly indices: readonly number[]
  /** Bytes of pictures that stay in memory; the images after those are decoded anew for every pass. */
  readonly memory: number
  readonly signal?: AbortSignal | undefined
  readonly decoding?: Omit<PoolSettings, 'signal' | 'indices' | 'ordered'>
}

/**
 * The pictures of a collection that fresh views are cut from, pass after pass. The first pass decodes;
 * what fits `memory` is kept for the others.
 *
 * @returns for every pass, the pictures in the order of `indices`
 */
export function collectionPictures(
  collection: ImageCollection,
  { preprocess, indices, memory, signal, decoding }: PicturesOptions,
): () => AsyncGenerator<ViewPicture> {
  const kept: ViewPicture[] = []
  let bytes = 0
  let full = false
  return async function* () {
    // A pass that was stopped may have kept less than fits.
    yield* kept.slice()
    const rest = indices.slice(kept.length)
    let next = kept.length
    const settings = { ...decoding, ordered: true, ...(signal && { signal }) }
    const outcomes = decodeCollection(collection, {
      ...{ ...settings, indices: rest, preprocess, views: 0, raw: false, pictures: true },
    })
    for await (const outcome of outcomes) {
      if (!outcome.ok) {
        throw new KeeplightError(
          'input',
          `${outcome.path}: it was readable before, and is not now: ${outcome.message}`,
        )
      }
      const picture = outcome.image!.picture!
      full ||= bytes + viewPictureBytes(picture) > memory
      if (!full && next === kept.length) {
        kept.push(picture)
        bytes += viewPictureBytes(picture)
      }
      next++
      yield picture
    }
  }
}
