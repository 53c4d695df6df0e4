import { advanceKernel } from '../kernels/adam.ts'
import type { LossRing } from '../runtime/ops/scpLoss.ts'
import { KeeplightError } from '../runtime/errors.ts'
import type { Shape } from '../runtime/shape.ts'
import { backward } from '../runtime/tape.ts'
import { keep, scope, type Tensor } from '../runtime/tensor.ts'
import type { Adapter, AdapterLoss, Batch } from './adapter.ts'
import { adam, adamW, type AdamState } from './adam.ts'
import type { ParameterGroups } from './parameterGroups.ts'
import { adamDefaults, adamTable, type AdamOptions } from './schedule.ts'

/** One row of the training trace: the step's loss, and each of the adapter's terms by its name. */
export interface TraceRow {
  readonly step: number
  readonly total: number
  readonly learningRate: number
  readonly [term: string]: number
}

/**
 * What R runs are in the middle of, on the host: `values/…`, `moments/…` and `squares/…` of every
 * parameter, `state/…` of the adapter's, and `trace`, the rows so far.
 */
export interface TrainingSnapshot {
  /** Steps done. */
  readonly step: number
  readonly tensors: ReadonlyMap<string, { readonly shape: Shape; readonly data: Float32Array }>
}

export interface OptimizerOptions {
  readonly adam?: AdamOptions
  /** Makes it AdamW: learning-rate factors and weight decays. They stay the caller's. */
  readonly groups?: ParameterGroups | undefined
}

/** Everything of R runs that lives on the GPU beside the adapter: optimiser, schedule, trace, step. */
export class TrainingState implements LossRing {
  readonly adam: AdamState
  readonly schedule: Tensor<'f32'>
  readonly trace: Tensor<'f32'>
  readonly step: Tensor<'u32'>
  readonly current: Tensor<'f32'>
  readonly #adapter: Adapter
  readonly #options: OptimizerOptions

  /** @param learningRates of every step; their number is that of the steps */
  constructor(adapter: Adapter, learningRates: ArrayLike<number>, options: OptimizerOptions = {}) {
    const steps = learningRates.length
    const { runs, terms, parameters } = adapter
    const { device } = parameters
    const { size } = parameters.values
    const zeros = (shape: Shape): Tensor<'f32'> =>
      keep(device.tensor(new Float32Array(shape.reduce((a, b) => a * b, 1)), shape))
    this.#adapter = adapter
    this.#options = options
    this.adam = { moments: zeros([size]), squares: zeros([size]) }
    const table = adamTable(learningRates, options.adam)
    this.schedule = keep(device.constant(table, [steps, 4]))
    this.trace = zeros([steps, runs, terms.length + 2])
    this.step = keep(device.tensor(new Uint32Array(2 * runs), [runs, 2]))
    this.current = zeros([1, 4])
  }

  get steps(): number {
    return this.schedule.shape[0]!
  }

  /** Back to step 0 with empty moments; the seeds drive the sampling. */
  reset(seeds: readonly number[]): void {
    const { moments, squares } = this.adam
    for (const tensor of [moments, squares, this.trace, this.current]) {
      tensor.write(new Float32Array(tensor.size))
    }
    this.step.write(Uint32Array.from(seeds.flatMap((seed) => [0, seed])))
  }

  /** Rows `first` … `first + count − 1` of the trace, [count, R, 1 + terms + 1]. */
  async readRows(first: number, count: number): Promise<Float32Array> {
    const width = this.trace.size / this.steps
    // A view starts at an aligned byte, so a few rows more may be read.
    let start = first
    while ((start * width * 4) % this.trace.device.offsetAlignment !== 0) start--
    const view = this.trace.rows(start, first + count - start)
    try {
      return (await view.read()).subarray((first - start) * width)
    } finally {
      view.dispose()
    }
  }

  /** Copies what the runs are in the middle of, after `step` steps: all that resuming needs. */
  async read(step: number): Promise<TrainingSnapshot> {
    const { parameters, state, runs, terms } = this.#adapter
    const tensors = new Map<string, { shape: Shape; data: Float32Array }>()
    const flat = { values: parameters.values, ...this.adam }
    for (const [prefix, tensor] of Object.entries(flat)) {
      for (const [name, data] of parameters.unpack(await tensor.read())) {
        tensors.set(`${prefix}/${name}`, { shape: parameters.get(name).shape, data })
      }
    }
    for (const [name, tensor] of state) {
      tensors.set(`state/${name}`, { shape: tensor.shape, data: await tensor.read() })
    }
    const data = step > 0 ? await this.readRows(0, step) : new Float32Array()
    tensors.set('trace', { shape: [step, runs, terms.length + 2], data })
    return { step, tensors }
  }

  /** Puts adapter and runs back to where {@link read} found them. */
  write({ step, tensors }: TrainingSnapshot, seeds: readonly number[]): void {
    const { parameters, state } = this.#adapter
    const of = (name: string, size: number): Float32Array => {
      const data = tensors.get(name)?.data
      if (data?.length === size) return data
      throw new KeeplightError(
        'input',
        `training: ${name} of the snapshot has ${data?.length ?? 'no'} values, expected ${size}; ` +
          'it is of a run with other settings',
      )
    }
    const group = (prefix: string): Map<string, Float32Array> =>
      new Map(
        Array.from(parameters.tensors, ([name, { size }]) => [name, of(`${prefix}/${name}`, size)]),
      )
    parameters.write(group('values'))
    this.adam.moments.write(parameters.pack(group('moments')))
    this.adam.squares.write(parameters.pack(group('squares')))
    for (const [name, tensor] of state) tensor.write(of(`state/${name}`, tensor.size))
    const trace = new Float32Array(this.trace.size)
    trace.set(of('trace', step * (this.trace.size / this.steps)))
    this.trace.write(trace)
    this.step.write(Uint32Array.from(seeds.flatMap((seed) => [step, seed])))
    this.current.write(new Float32Array(4))
  }

  /** One run's rows of steps 0 … `steps − 1`. */
  async readTrace(run: number, steps: number): Promise<TraceRow[]> {
    const { terms, runs } = this.#adapter
    const data = await this.readRows(0, steps)
    const width = terms.length + 2
    return Array.from({ length: steps }, (_, step) => {
      const row = data.subarray((step * runs + run) * width, (step * runs + run + 1) * width)
      const named = terms.map((name, i) => [name, row[1 + i]!] as const)
      const [total, learningRate] = [row[0]!, row[width - 1]!]
      return { step, total, ...Object.fromEntries(named), learningRate }
    })
  }

  /** @internal One update from the gradients in their slots. */
  update(): void {
    const { parameters } = this.#adapter
    const { adam: options = adamDefaults, groups } = this.#options
    // The books have put this step's row of the schedule in `current`, and that is its only row.
    if (groups) adamW(parameters, this.adam, this.current, this.step, groups, options)
    else adam(parameters, this.adam, this.current, this.step, options)
  }

  dispose(): void {
    const { moments, squares } = this.adam
    const { schedule, trace, step, current } = this
    for (const tensor of [moments, squares, schedule, trace, step, current]) tensor.dispose()
  }
}

/**
 * Enqueues one training step of all runs: forward and loss, backward, the books, the optimiser. The same
 * code runs eagerly and inside a recorded plan.
 */
export function trainingStep(adapter: Adapter, state: TrainingState, batch: Batch): void {
  scope(() => {
    const loss = adapter.loss(batch, state)
    backward(loss.total, adapter.parameters.list(), adapter.runs)
    if (!loss.booked) advance(adapter, state, loss)
    state.update()
    adapter.afterStep?.()
  })
}

function advance({ runs }: Adapter, state: TrainingState, { terms }: AdapterLoss): void {
  const { schedule, step, trace, current, steps } = state
  terms.device.dispatch(
    advanceKernel,
    { terms, schedule, step, trace, current },
    { steps, runs, terms: terms.shape[0]! },
  )
}
