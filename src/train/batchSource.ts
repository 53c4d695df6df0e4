import { sampleBatchKernel } from '../kernels/sampleBatch.ts'
import type { Device } from '../runtime/device.ts'
import { keep, type Tensor } from '../runtime/tensor.ts'
import type { Batch } from './adapter.ts'
import type { StoreChunk } from './featureStore.ts'

/** Where a training step's rows come from. The same seed gives the same batches from every source. */
export interface BatchSource {
  /** N, number of images. */
  readonly count: number
  /** d */
  readonly dimension: number
  /** B: images of a step; a batch has 2B rows. */
  readonly batch: number
  readonly stepsPerEpoch: number
  /**
   * Enqueues, eagerly or into a plan, the batch of the step in progress for all runs.
   *
   * @param step [R, 2]: steps done, seed of each run; read on the GPU
   */
  enqueue(step: Tensor<'u32'>): Batch
  /**
   * Work that is due before steps `first` … `first + steps − 1` may run (uploads, fresh views);
   * resolves to how many of them may run now, 1 or more. Also called after a resume or a recovery, with
   * any `first`.
   *
   * @param seeds [R], of the runs in training
   */
  prepare?(first: number, steps: number, seeds: readonly number[]): Promise<number>
  dispose(): void
}

export interface SamplingOptions {
  /** B */
  readonly batch: number
  /** Neighbours to pair an image with, of those in `neighbours`; 0: the image itself. */
  readonly pairs: number
  /** [N, pairs] */
  readonly neighbours?: Uint32Array<ArrayBuffer> | undefined
  /** Standard deviation of the Gaussian noise on features, in those of all entries. */
  readonly noise: number
  /** Leave out an epoch's last, incomplete batch; else it is filled from the epoch's beginning. Default true. */
  readonly dropLast?: boolean
}

/** Steps of an epoch over `count` images. */
export const stepsPerEpoch = (count: number, batch: number, dropLast = true): number =>
  dropLast ? Math.max(1, Math.floor(count / batch)) : Math.ceil(count / batch)

/** Rows on the GPU: a `FeatureStore`, or one that is written while it trains. */
export interface RowStore {
  /** N */
  readonly count: number
  readonly dimension: number
  /** V: row v·N + i is view v of image i. */
  readonly views: number
  readonly chunks: readonly StoreChunk[]
  /** The unit of feature noise. */
  readonly deviation: number
  /** View 0 is for the first side of a pair and view 1 for the second; else each side draws one. */
  readonly sides?: boolean
  dispose(): void
}

/** Batches from features that lie on the GPU for good, one dispatch for each part of the store. */
export class ResidentSource implements BatchSource {
  readonly count: number
  readonly dimension: number
  readonly batch: number
  readonly stepsPerEpoch: number
  readonly #device: Device
  readonly #store: RowStore
  readonly #neighbours: Tensor<'u32'>
  readonly #noise: number
  readonly #pairs: number

  /** @param store becomes this source's */
  constructor(device: Device, store: RowStore, options: SamplingOptions) {
    const { batch, pairs, neighbours = new Uint32Array(1), noise, dropLast } = options
    this.count = store.count
    this.dimension = store.dimension
    this.batch = batch
    this.stepsPerEpoch = stepsPerEpoch(store.count, batch, dropLast)
    this.#device = device
    this.#store = store
    this.#pairs = pairs
    this.#noise = noise * store.deviation
    this.#neighbours = keep(device.constant(neighbours, [neighbours.length]))
  }

  enqueue(step: Tensor<'u32'>): Batch {
    const { batch, count, dimension, stepsPerEpoch } = this
    const [runs] = step.shape as [number, number]
    const features = this.#device.empty([runs, 2 * batch, dimension])
    const images = this.#device.empty([runs, 2 * batch], 'u32')
    const { views, chunks, sides = false } = this.#store
    for (const { tensor: store, firstRow, rows } of chunks) {
      this.#device.dispatch(
        sampleBatchKernel,
        { store, neighbours: this.#neighbours, state: step, out: features, images },
        {
          ...{ runs, batch, count, views, dimension, stepsPerEpoch, firstRow, rows },
          ...{ pairs: this.#pairs, sides: Number(sides) },
          noise: this.#noise,
        },
      )
    }
    return { features, images, step }
  }

  dispose(): void {
    this.#store.dispose()
    this.#neighbours.dispose()
  }
}
