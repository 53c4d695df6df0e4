import type { HeadWeights } from '../model/mlpHead.ts'
import type { Device } from '../runtime/device.ts'
import type { LossRing } from '../runtime/ops/scpLoss.ts'
import type { Parameters } from '../runtime/parameters.ts'
import type { Tensor } from '../runtime/tensor.ts'

/** What a step trains on. A run's rows are a function of its own seed and step alone. */
export interface Batch {
  /** [R, 2B, d]: B rows of the first view, then the B of the second, which row i + B is paired with. */
  readonly features: Tensor<'f32'>
  /** [R, 2B]: the image that each row shows. */
  readonly images: Tensor<'u32'>
  /** [R, 2]: steps done, seed of each run. Read on the GPU only; the loss or the trainer counts it up. */
  readonly step: Tensor<'u32'>
}

export interface AdapterLoss {
  /** [R]: the loss of each run; carries the tape. Run r depends on parameters [r, …] alone. */
  readonly total: Tensor<'f32'>
  /** [1 + terms, R]: the total, then each term: a row of the trace. */
  readonly terms: Tensor<'f32'>
  /** Whether the loss's own dispatch has brought the ring forward; else the trainer enqueues one. */
  readonly booked?: boolean
}

/**
 * R runs of one light model side by side, trained on frozen features. The trainer calls it; it knows
 * nothing of optimisers, schedules or checkpoints.
 *
 * The first dimension of every parameter and of every state is R, and a run's bits don't depend on
 * how many others there are or what they do.
 */
export interface Adapter {
  /** For messages and files: `scp`, `temi`, `linear-probe`. */
  readonly name: string
  /** R */
  readonly runs: number
  /** K */
  readonly outputs: number
  /** What the optimiser updates. */
  readonly parameters: Parameters
  /** What else changes while it trains: running statistics, moving averages. In checkpoints too. */
  readonly state: ReadonlyMap<string, Tensor<'f32'>>
  /** Names of the loss terms: the columns of the trace after `total`. */
  readonly terms: readonly string[]
  /** Fresh weights and state; run r's from seeds[r]. */
  initialize(seeds: readonly number[]): void
  /**
   * Logits by the weights as they are.
   *
   * @param features [R, rows, d], or [rows, d] for all runs when not training
   * @returns [R, rows, K]
   */
  logits(features: Tensor<'f32'>, training: boolean): Tensor<'f32'>
  /**
   * Enqueues the forward pass and the loss of one batch; sync, eagerly or into a plan.
   *
   * @param ring the trainer's books, for a loss that keeps them in its own dispatch
   */
  loss(batch: Batch, ring: LossRing): AdapterLoss
  /** Enqueued after the optimiser's update: moving averages and the like. */
  afterStep?(): void
  /** One run's weights, by PyTorch's names and without R. */
  read(run: number): Promise<HeadWeights>
  /** Replaces one run's weights by what {@link Adapter.read} gave. Only with R = 1. */
  write(weights: HeadWeights): void
  dispose(): void
}

export interface AdapterSizes {
  readonly runs: number
  /** d, size of the features. */
  readonly dimension: number
  /** K, number of clusters or classes. */
  readonly outputs: number
}

/** Makes a method's adapter for R runs; called once for every group of runs, and for the run that is kept. */
export type AdapterMaker = (device: Device, sizes: AdapterSizes) => Adapter
