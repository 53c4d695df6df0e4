import type { MlpHead } from '../model/mlpHead.ts'
import type { Device } from '../runtime/device.ts'
import { scpLoss, type ScpLossWeights } from '../runtime/ops/scpLoss.ts'
import { backward } from '../runtime/tape.ts'
import { keep, scope, type Tensor } from '../runtime/tensor.ts'
import { adam, type AdamState } from './adam.ts'
import { adamDefaults, adamTable, type AdamOptions } from './schedule.ts'

/** One row of the training trace. */
export interface TraceRow {
  readonly step: number
  readonly total: number
  readonly crossEntropy: number
  readonly confidence: number
  readonly negativeEntropy: number
  readonly learningRate: number
}

/** Host copy of a {@link TrainingState}. */
export interface TrainingSnapshot {
  readonly moments: Float32Array
  readonly squares: Float32Array
  readonly trace: Float32Array
  readonly step: Uint32Array
}

/** Everything of a run that lives on the GPU beside the head: optimiser, schedule, trace, step number. */
export class TrainingState {
  readonly adam: AdamState
  /** [steps, 4], see `adamTable`. */
  readonly schedule: Tensor<'f32'>
  /** [steps, 5]: the loss ring. */
  readonly trace: Tensor<'f32'>
  /** [2]: steps done, seed of the run. */
  readonly step: Tensor<'u32'>
  /** [1, 4]: the schedule's row of the step in progress. */
  readonly current: Tensor<'f32'>
  readonly #options: AdamOptions

  constructor(
    device: Device,
    head: MlpHead,
    learningRates: ArrayLike<number>,
    options: AdamOptions = adamDefaults,
  ) {
    const steps = learningRates.length
    const { size } = head.parameters.values
    this.#options = options
    this.adam = {
      moments: keep(device.tensor(new Float32Array(size), [size])),
      squares: keep(device.tensor(new Float32Array(size), [size])),
    }
    this.schedule = keep(device.constant(adamTable(learningRates, options), [steps, 4]))
    this.trace = keep(device.tensor(new Float32Array(steps * 5), [steps, 5]))
    this.step = keep(device.tensor(new Uint32Array(2), [2]))
    this.current = keep(device.tensor(new Float32Array(4), [1, 4]))
  }

  get steps(): number {
    return this.schedule.shape[0]!
  }

  /** Back to step 0 with empty moments; `seed` drives the sampling kernel. */
  reset(seed: number): void {
    const { moments, squares } = this.adam
    moments.write(new Float32Array(moments.size))
    squares.write(new Float32Array(squares.size))
    this.trace.write(new Float32Array(this.trace.size))
    this.step.write(new Uint32Array([0, seed]))
    this.current.write(new Float32Array(4))
  }

  /** The rows of the steps done so far. */
  async readTrace(): Promise<TraceRow[]> {
    const [done = 0] = await this.step.read()
    const data = await this.trace.read()
    return Array.from({ length: Math.min(done, this.steps) }, (_, step) => {
      const [total = 0, crossEntropy = 0, confidence = 0, negativeEntropy = 0, learningRate = 0] =
        data.subarray(step * 5, step * 5 + 5)
      return { step, total, crossEntropy, confidence, negativeEntropy, learningRate }
    })
  }

  /** Copies what a run is in the middle of: with the head's weights, all that resuming needs. */
  async read(): Promise<TrainingSnapshot> {
    return {
      moments: await this.adam.moments.read(),
      squares: await this.adam.squares.read(),
      trace: await this.trace.read(),
      step: await this.step.read(),
    }
  }

  /** Puts a run back to where {@link read} found it. */
  write({ moments, squares, trace, step }: TrainingSnapshot): void {
    this.adam.moments.write(moments)
    this.adam.squares.write(squares)
    this.trace.write(trace)
    this.step.write(step)
    this.current.write(new Float32Array(4))
  }

  /** @internal */
  get options(): AdamOptions {
    return this.#options
  }

  dispose(): void {
    const { moments, squares } = this.adam
    const { schedule, trace, step, current } = this
    for (const tensor of [moments, squares, schedule, trace, step, current]) tensor.dispose()
  }
}

/**
 * Enqueues one SCP training step: forward of both views as one batch, loss with its gradient and the
 * trace, backward, Adam. The same code runs eagerly and inside a recorded plan.
 *
 * @param batch [2B, d]: features of the first view, then of the second
 */
export function scpStep(
  head: MlpHead,
  state: TrainingState,
  batch: Tensor<'f32'>,
  weights: ScpLossWeights,
): void {
  scope(() => {
    const { total } = scpLoss(head.forward(batch, true), weights, state)
    backward(total, head.parameters.list())
    // The loss has put this step's row of the schedule in `current`, and that is its only row.
    adam(head.parameters, state.adam, state.current, state.step, state.options)
  })
}
