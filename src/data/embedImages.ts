import { randomBits } from '../kernels/random.ts'
import type { Features } from '../model/features.ts'
import type { VisionModel } from '../model/model.ts'
import type { Pixels } from '../model/preprocess.ts'
import { KeeplightError } from '../runtime/errors.ts'
import { prepareViews } from './augment.ts'

export interface EmbedOptions {
  /** V, augmented views of every image beside the clean one. Default 4. */
  readonly views?: number
  /** Seed of the views; the same image at the same place gets the same views. Default 0. */
  readonly seed?: number
  /** Told the number of images whose features are complete, after every batch. */
  readonly onProgress?: (done: number) => void
  readonly signal?: AbortSignal | undefined
}

/** What embedding needs of a model. */
type Encoder = Pick<VisionModel, 'dimension' | 'preprocess' | 'embedPixels'>

/** Prepared pictures that are embedded at once. */
const BATCH = 32

/**
 * Embeds images one after the other, each clean and in V augmented views, in constant memory beside
 * the features themselves.
 *
 * @param images decoded pictures of any size, or what `prepareViews` made of each, with V views,
 *   elsewhere: in a worker, while this thread waits for the GPU
 * @throws KeeplightError `input` when there are none, `validation` when prepared views are not as
 *   many or as large as expected, `aborted` when the signal says so
 */
export async function embedImages(
  model: Encoder,
  images: Iterable<Pixels | Uint8Array> | AsyncIterable<Pixels | Uint8Array>,
  { views = 4, seed = 0, onProgress, signal }: EmbedOptions = {},
): Promise<Features> {
  const { dimension } = model
  const each = 1 + views
  const bytes = model.preprocess.size ** 2 * 3
  const batch = new Uint8Array(BATCH * bytes)
  let filled = 0
  // Rows in the order of the images, each one's views after it; only the last part has fewer than BATCH.
  const parts: Float32Array[] = []
  let rows = 0
  let count = 0

  const embedBatch = async (): Promise<void> => {
    if (signal?.aborted) throw new KeeplightError('aborted', 'embed: stopped')
    parts.push(await model.embedPixels(batch.slice(0, filled * bytes)))
    rows += filled
    filled = 0
    onProgress?.(Math.floor(rows / each))
  }

  for await (const image of images) {
    if (signal?.aborted) throw new KeeplightError('aborted', 'embed: stopped')
    const prepared =
      image instanceof Uint8Array
        ? checkPrepared(image, each * bytes, count, views)
        : prepareViews(image, model.preprocess, {
            views,
            seed,
            stream: randomBits(seed, 0, count),
          })
    count++
    for (let start = 0; start < prepared.length; start += bytes) {
      batch.set(prepared.subarray(start, start + bytes), filled * bytes)
      if (++filled === BATCH) await embedBatch()
    }
  }
  if (count === 0) throw new KeeplightError('input', 'embed: there are no images')
  if (filled > 0) await embedBatch()

  const clean = new Float32Array(count * dimension)
  const augmented = new Float32Array(views * count * dimension)
  for (let image = 0; image < count; image++) {
    for (let view = 0; view < each; view++) {
      const from = image * each + view
      const part = parts[Math.floor(from / BATCH)]!
      const row = part.subarray((from % BATCH) * dimension, ((from % BATCH) + 1) * dimension)
      if (view === 0) clean.set(row, image * dimension)
      else augmented.set(row, ((view - 1) * count + image) * dimension)
    }
  }
  return { count, dimension, views, clean, augmented }
}

function checkPrepared(
  prepared: Uint8Array,
  expected: number,
  index: number,
  views: number,
): Uint8Array {
  if (prepared.length !== expected) {
    throw new KeeplightError(
      'validation',
      `embed: prepared image ${index} has ${prepared.length} bytes, expected ${expected} for the ` +
        `clean picture and ${views} views; prepare it with the model's own preprocess and views`,
    )
  }
  return prepared
}
