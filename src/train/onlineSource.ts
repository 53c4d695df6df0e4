import { normalizeRows, type Features } from '../model/features.ts'
import type { Device } from '../runtime/device.ts'
import { KeeplightError } from '../runtime/errors.ts'
import { withRecovery } from '../runtime/recovery.ts'
import type { Tensor } from '../runtime/tensor.ts'
import type { Batch } from './adapter.ts'
import { ResidentSource, type BatchSource, type SamplingOptions } from './batchSource.ts'
import { standardDeviation, storeChunks } from './featureStore.ts'
import { ViewEmbedder, type OnlineEncoder } from './viewEmbedder.ts'

/** Views that are made while a head trains, in the place of views that were embedded before. */
export interface OnlineViews {
  /** Whose features are the clean ones, in the order of their columns; more than one for SCP-MIX. */
  readonly encoders: readonly OnlineEncoder[]
  /** Epochs that the same views serve. Default 1: fresh ones each epoch. */
  readonly refresh?: number
  /** Told while a pass goes on: its number from 0, and views of all encoders, enqueued and in all. */
  readonly onProgress?: (progress: OnlineProgress) => void
}

export interface OnlineProgress {
  readonly pass: number
  readonly done: number
  readonly total: number
}

export interface OnlineOptions extends SamplingOptions {
  readonly normalize: boolean
  /** Of the views; all runs share them. */
  readonly seed: number
  readonly signal?: AbortSignal | undefined
}

/**
 * Batches from two fresh views of every image, which are embedded anew every epoch (see
 * {@link ViewEmbedder}) and lie on the GPU. A pair's first row shows an image's view 0, its second row
 * view 1 of the image or of its neighbour.
 *
 * Views are functions of seed, epoch and picture, so a run that was resumed or recovered embeds its
 * epoch again and goes on to the same bits. The unit of noise is the deviation of the clean features.
 */
export class OnlineSource implements BatchSource {
  readonly count: number
  readonly dimension: number
  readonly batch: number
  readonly stepsPerEpoch: number
  readonly #device: Device
  readonly #views: OnlineViews
  readonly #options: OnlineOptions
  readonly #rows: ResidentSource
  readonly #chunks: readonly Tensor<'f32'>[]
  readonly #embedder: ViewEmbedder
  /** The pass whose views are in the store, and since which recovery. */
  #held: { readonly pass: number; readonly generation: number } | undefined

  private constructor(
    device: Device,
    views: OnlineViews,
    options: OnlineOptions,
    rows: ResidentSource,
    chunks: readonly Tensor<'f32'>[],
    embedder: ViewEmbedder,
  ) {
    const { count, dimension, batch, stepsPerEpoch } = rows
    this.count = count
    this.dimension = dimension
    this.batch = batch
    this.stepsPerEpoch = stepsPerEpoch
    this.#device = device
    this.#views = views
    this.#options = options
    this.#rows = rows
    this.#chunks = chunks
    this.#embedder = embedder
  }

  /**
   * @param features the clean ones; augmented views are not looked at
   * @throws KeeplightError `validation` when the features are not of these encoders
   */
  static async open(
    device: Device,
    features: Features,
    views: OnlineViews,
    options: OnlineOptions,
  ): Promise<OnlineSource> {
    const { count, dimension } = features
    const sizes = views.encoders.map(({ model }) => model.dimension)
    if (sizes.reduce((a, b) => a + b, 0) !== dimension) {
      throw new KeeplightError(
        'validation',
        `online views: the features have ${dimension} columns, the encoders give ${sizes.join(' + ')}`,
      )
    }
    const { refresh = 1 } = views
    if (!Number.isSafeInteger(refresh) || refresh < 1) {
      throw new KeeplightError(
        'usage',
        `online views: refresh is ${refresh}, expected 1 or more epochs`,
      )
    }
    const clean = Float32Array.from(features.clean)
    const { normalize } = options
    if (normalize) normalizeRows(clean, dimension)
    const chunks = storeChunks(device, 2 * count, dimension, (_, __, shape) => device.empty(shape))
    const tensors = chunks.map(({ tensor }) => tensor)
    const dispose = (): void => tensors.forEach((tensor) => tensor.dispose())
    const store = {
      ...{ count, dimension, views: 2, chunks, sides: true, dispose },
      deviation: standardDeviation(() => [clean]),
    }
    const rows = new ResidentSource(device, store, options)
    try {
      const target = { count, dimension, chunks, normalize }
      const open = (): Promise<ViewEmbedder> => ViewEmbedder.open(device, target, views.encoders)
      const embedder = await withRecovery(device, open, { signal: options.signal })
      return new OnlineSource(device, views, options, rows, tensors, embedder)
    } catch (error) {
      rows.dispose()
      throw error
    }
  }

  enqueue(step: Tensor<'u32'>): Batch {
    return this.#rows.enqueue(step)
  }

  async prepare(first: number, steps: number): Promise<number> {
    const { generation } = this.#device
    const { refresh = 1 } = this.#views
    const stepsPerPass = refresh * this.stepsPerEpoch
    const pass = Math.floor(first / stepsPerPass)
    if (this.#held?.pass !== pass || this.#held.generation !== generation) {
      // What a lost device took has to be written before a plan may write parts of it.
      if (this.#held && this.#held.generation !== generation) {
        this.#chunks.forEach((chunk) => chunk.write(new Float32Array(chunk.size)))
      }
      await this.#embed(pass)
      this.#held = { pass, generation }
    }
    return Math.min(steps, (pass + 1) * stepsPerPass - first)
  }

  async #embed(pass: number): Promise<void> {
    const { encoders, onProgress } = this.#views
    const { seed, signal } = this.#options
    const total = 2 * this.count * encoders.length
    onProgress?.({ pass, done: 0, total })
    await this.#embedder.embed(seed, pass, {
      signal,
      ...(onProgress && { onProgress: (done) => onProgress({ pass, done, total }) }),
    })
  }

  dispose(): void {
    this.#embedder.dispose()
    this.#rows.dispose()
  }
}
