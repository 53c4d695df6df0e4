import { movingAverageKernel } from '../kernels/movingAverage.ts'
import type { HeadWeights } from '../model/mlpHead.ts'
import { bestHeads, TemiHeads } from '../model/temiHeads.ts'
import type { Device } from '../runtime/device.ts'
import { KeeplightError } from '../runtime/errors.ts'
import { scale } from '../runtime/ops/elementwise.ts'
import { temiLoss, type TemiLossOptions } from '../runtime/ops/temiLoss.ts'
import type { Parameters } from '../runtime/parameters.ts'
import { keep, scope, type Tensor } from '../runtime/tensor.ts'
import type { Adapter, AdapterLoss, AdapterSizes, Batch } from './adapter.ts'
import type { ClusterMethod, ClusterOptions } from './cluster.ts'
import { warmupCosineSchedule } from './schedule.ts'

export interface TemiOptions extends TemiLossOptions {
  /** N, heads of a run. Default 16. */
  readonly heads?: number
  /** Width of the hidden layer. Default 512. */
  readonly hidden?: number
  /** Width of the layer that is L2-normalised. Default 256. */
  readonly bottleneck?: number
  /** Share of the teacher's weights that a step leaves as they were. Default 0.996. */
  readonly teacherMomentum?: number
  /** Learning rate at a batch of 256, in proportion to which it grows. Default 1e-4. */
  readonly learningRate?: number
  /** Share of the steps over which the learning rate rises to its value. Default 0.2, 20 of 100 epochs. */
  readonly warmup?: number
  /** Weight decay of matrices, AdamW's. Default 1e-4. */
  readonly decay?: number
}

/** How much of a head's moving average of the loss a step leaves: it spans a hundred steps or so. */
const LOSS_MOMENTUM = 0.99
/** Where the learning rate's cosine ends, at a batch of 256. */
const FINAL_RATE = 1e-6

const DEFAULTS = {
  ...{ heads: 16, hidden: 512, bottleneck: 256 },
  ...{ temperature: 0.1, teacherTemperature: 0.1, beta: 0.6, momentum: 0.9 },
  ...{ teacherMomentum: 0.996, learningRate: 1e-4, warmup: 0.2, decay: 1e-4 },
} as const satisfies Required<TemiOptions>

/**
 * TEMI (Adaloglou et al., arXiv 2303.17896): heads that maximise the mutual information of neighbours'
 * assignments, weighted by how far all heads agree that two images are alike; trained against a moving
 * average of their weights, which is what predicts.
 *
 * A run predicts by the one of its heads whose loss was lowest of late, as TEMI's own code does: no
 * label is seen. Among runs `cluster` then takes the one of lowest inertia.
 */
export class TemiAdapter implements Adapter {
  readonly name = 'temi'
  readonly terms: readonly string[] = []
  readonly heads: TemiHeads
  readonly state: ReadonlyMap<string, Tensor<'f32'>>
  readonly #options: Required<TemiOptions>
  /** [R, N, K]: moving average of the teacher's mean softmax. */
  readonly #marginals: Tensor<'f32'>
  /** [R, N]: moving average of every head's loss. */
  readonly #losses: Tensor<'f32'>

  constructor(device: Device, sizes: AdapterSizes, options: Required<TemiOptions>) {
    const { runs, dimension, outputs: clusters } = sizes
    const { heads, hidden, bottleneck } = options
    this.#options = options
    this.heads = new TemiHeads(device, { dimension, clusters, heads, hidden, bottleneck }, runs)
    this.#marginals = keep(
      device.tensor(new Float32Array(runs * heads * clusters), [runs, heads, clusters]),
    )
    this.#losses = keep(device.tensor(new Float32Array(runs * heads), [runs, heads]))
    const teacher = Array.from(this.heads.teacher, ([name, tensor]) => {
      return [`teacher.${name}`, tensor] as const
    })
    this.state = new Map([...teacher, ['marginals', this.#marginals], ['losses', this.#losses]])
  }

  get runs(): number {
    return this.heads.runs
  }

  get outputs(): number {
    return this.heads.config.clusters
  }

  get parameters(): Parameters {
    return this.heads.student
  }

  initialize(seeds: readonly number[]): void {
    this.heads.initialize(seeds)
    const { size } = this.#marginals
    this.#marginals.write(new Float32Array(size).fill(1 / this.outputs))
    this.#losses.write(new Float32Array(this.#losses.size))
  }

  /** Of the teacher's head of lowest loss, divided by τ: their softmax are the probabilities. */
  logits(features: Tensor<'f32'>): Tensor<'f32'> {
    return scope(() => {
      const logits = this.heads.forwardChosen(features, bestHeads(this.#losses))
      return scale(logits, 1 / this.#options.teacherTemperature)
    })
  }

  loss({ features }: Batch): AdapterLoss {
    const student = this.heads.forward(features, 'student')
    const teacher = this.heads.forward(features, 'teacher')
    const { total, losses } = temiLoss(student, teacher, this.#marginals, this.#options)
    losses.device.dispatch(
      movingAverageKernel({ vector: false }),
      { x: losses, average: this.#losses },
      { size: losses.size, rate: 1 - LOSS_MOMENTUM },
    )
    return { total, terms: total.view([1, this.runs]) }
  }

  afterStep(): void {
    this.heads.average(this.#options.teacherMomentum)
  }

  async read(run: number): Promise<HeadWeights> {
    const { heads } = this.heads.config
    const losses = (await this.#losses.read()).subarray(run * heads, (run + 1) * heads)
    const weights = await this.heads.read(run, losses.indexOf(Math.min(...losses)))
    const temperature = { shape: [1], data: Float32Array.of(this.#options.teacherTemperature) }
    return new Map([...weights, ['temperature', temperature]])
  }

  write(weights: HeadWeights): void {
    this.heads.write(new Map([...weights].filter(([name]) => name !== 'temperature')))
    this.#losses.write(new Float32Array(this.#losses.size))
  }

  dispose(): void {
    this.heads.dispose()
    this.#marginals.dispose()
    this.#losses.dispose()
  }
}

/** Settings of `cluster` that train by TEMI, with the defaults of its authors. */
export type TemiSettings = Required<Pick<ClusterOptions, 'method' | TemiClusterSetting>>
type TemiClusterSetting = 'pairs' | 'noise' | 'restarts' | 'epochs' | 'batch'

/**
 * What makes {@link cluster} train by TEMI: `cluster(features, { k, device, ...temi() })`. Pairs are drawn
 * from 50 neighbours, the features get no noise, and one run trains: its heads are the restarts.
 *
 * @throws KeeplightError `usage` for options that make no sense
 */
export function temi(given: TemiOptions = {}): TemiSettings {
  const own = Object.entries(given).filter(([, value]) => value !== undefined)
  const options: Required<TemiOptions> = { ...DEFAULTS, ...Object.fromEntries(own) }
  const { heads, hidden, bottleneck, teacherMomentum, warmup, learningRate, decay } = options
  for (const [name, value] of Object.entries({ heads, hidden, bottleneck })) {
    expectOption(name, value, Number.isInteger(value) && value >= 1, 'a whole number of 1 or more')
  }
  for (const [name, value] of Object.entries({ teacherMomentum, warmup })) {
    expectOption(name, value, value >= 0 && value < 1, 'from 0 to below 1')
  }
  expectOption('learningRate', learningRate, learningRate > 0, 'above 0')
  expectOption('decay', decay, decay >= 0, '0 or more')
  const method: ClusterMethod = {
    name: 'temi',
    maker: (device, sizes) => new TemiAdapter(device, sizes, options),
    learningRates: (steps, batch) => {
      const factor = batch / 256
      const rates = [learningRate * factor, FINAL_RATE * factor] as const
      return warmupCosineSchedule(steps, Math.round(warmup * steps), ...rates)
    },
    decay,
  }
  return { method, pairs: 50, noise: 0, restarts: 1, epochs: 100, batch: 1024 }
}

function expectOption(name: string, value: number, fits: boolean, expected: string): void {
  if (fits && Number.isFinite(value)) return
  throw new KeeplightError('usage', `temi: ${name} is ${value}, expected ${expected}`)
}
