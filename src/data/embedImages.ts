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
  readonly onProgress?: (done: number) => void
  readonly signal?: AbortSignal | undefined
}

/** Prepared pictures that are embedded at once. */
const BATCH = 32

/**
 * Embeds images one after the other, each clean and in V augmented views, in constant memory beside
 * the features themselves.
 *
 * @param images decoded pictures of any size
 * @throws KeeplightError `input` when there are none, `aborted` when the signal says so
 */
export async function embedImages(
  model: VisionModel,
  images: Iterable<Pixels> | AsyncIterable<Pixels>,
  { views = 4, seed = 0, onProgress, signal }: EmbedOptions = {},
): Promise<Features> {
  const { dimension } = model
  const bytes = model.preprocess.size ** 2 * 3
  const rows: Float32Array[] = []
  let pending: Uint8Array[] = []
  const embedPending = async (): Promise<void> => {
    const pixels = new Uint8Array(pending.length * bytes)
    pending.forEach((picture, i) => pixels.set(picture, i * bytes))
    pending = []
    const features = await model.embedPixels(pixels)
    for (let i = 0; i < features.length; i += dimension) rows.push(features.slice(i, i + dimension))
  }
  let count = 0
  for await (const image of images) {
    if (signal?.aborted) throw new KeeplightError('aborted', 'embed: stopped')
    const stream = randomBits(seed, 0, count++)
    const prepared = prepareViews(image, model.preprocess, { views, seed, stream })
    for (let i = 0; i < prepared.length; i += bytes) pending.push(prepared.subarray(i, i + bytes))
    while (pending.length >= BATCH) {
      const rest = pending.splice(BATCH)
      await embedPending()
      pending = rest
    }
    onProgress?.(Math.floor(rows.length / (views + 1)))
  }
  if (pending.length > 0) await embedPending()
  if (count === 0) throw new KeeplightError('input', 'embed: there are no images')
  onProgress?.(count)

  const clean = new Float32Array(count * dimension)
  const augmented = new Float32Array(views * count * dimension)
  for (let image = 0; image < count; image++) {
    clean.set(rows[image * (views + 1)]!, image * dimension)
    for (let view = 0; view < views; view++) {
      const row = rows[image * (views + 1) + 1 + view]!
      augmented.set(row, (view * count + image) * dimension)
    }
  }
  return { count, dimension, views, clean, augmented }
}
