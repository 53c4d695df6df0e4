import { embedImages, KeeplightError, type Features, type VisionModel } from '../src/index.ts'
import type { Thumbnail } from './messages.ts'
import { prepareAll } from './prepare.ts'
import type { Source } from './sources.ts'

/** A picture that was decoded and embedded. */
export interface Picture {
  readonly path: string
  /** The file as it was chosen; undefined for a drawn one, which its thumbnail shows whole. */
  readonly file: File | undefined
  readonly thumbnail: Thumbnail
}

/** What is known of the pictures before training. */
export interface Collection {
  readonly pictures: readonly Picture[]
  readonly features: Features
  /** One sentence about each picture that was left out, its name first. */
  readonly broken: readonly string[]
}

export interface CollectOptions {
  readonly views: number
  readonly onProgress: (done: number) => void
  readonly signal: AbortSignal
}

/**
 * Decodes and embeds pictures. Beside features and thumbnails, the memory it takes does not depend
 * on their number.
 *
 * @throws KeeplightError `input` when none can be decoded, `aborted` after `signal`
 */
export async function collect(
  sources: readonly Source[],
  model: VisionModel,
  { views, onProgress, signal }: CollectOptions,
): Promise<Collection> {
  const pictures: Picture[] = []
  const broken: string[] = []

  async function* prepared(): AsyncGenerator<Uint8Array> {
    const settings = { preprocess: model.preprocess, views }
    for await (const outcome of prepareAll(sources, settings)) {
      // Broken pictures never reach embedImages, which would look at the signal.
      if (signal.aborted) throw new KeeplightError('aborted', 'stopped')
      if ('error' in outcome) {
        broken.push(outcome.error)
        continue
      }
      const { path, from } = outcome.source
      const { thumbnail, views: pixels } = outcome.picture
      pictures.push({ path, file: from instanceof File ? from : undefined, thumbnail })
      yield pixels
    }
    if (pictures.length === 0) {
      const message = `None of the ${broken.length} pictures can be decoded. The first: ${broken[0]}`
      throw new KeeplightError('input', message)
    }
  }

  const features = await embedImages(model, prepared(), {
    views,
    signal,
    onProgress: (done) => onProgress(done + broken.length),
  })
  return { pictures, features, broken }
}
