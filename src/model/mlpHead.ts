import type { Activation } from '../kernels/activations.ts'
import { initializeKernel } from '../kernels/initialize.ts'
import type { Device } from '../runtime/device.ts'
import { affineRuns } from '../runtime/ops/affineRuns.ts'
import { batchNormEval, batchNormTrain } from '../runtime/ops/batchNorm.ts'
import { dropout } from '../runtime/ops/dropout.ts'
import { activate } from '../runtime/ops/elementwise.ts'
import { layerNorm } from '../runtime/ops/layerNorm.ts'
import { linearRuns } from '../runtime/ops/linearRuns.ts'
import { Parameters } from '../runtime/parameters.ts'
import { expectShape, sizeOf, type Shape } from '../runtime/shape.ts'
import { keep, scope, type Tensor } from '../runtime/tensor.ts'

export type HeadNorm = 'batch' | 'layer' | 'none'

/** `pytorch`: uniform in ±1/√fan-in, biases too; `truncated-normal`: σ 0.02, biases 0. */
export type Initialization = 'pytorch' | 'truncated-normal'

export interface MlpHeadConfig {
  /** Sizes of the features, of every hidden layer, and of the output. */
  readonly widths: readonly number[]
  /**
   * Between a hidden linear layer and its activation. With `batch` the linear layer has no bias: it
   * would have no gradient but rounding noise. Default `batch`.
   */
  readonly norm?: HeadNorm
  /** Default `relu`. */
  readonly activation?: Activation
  /** Share of the hidden units dropped while training. Default 0. */
  readonly dropout?: number
  /** Default `pytorch`. */
  readonly initialization?: Initialization
  /** Equal parts of a training batch (two views) that BatchNorm normalises each by itself. Default 1. */
  readonly batches?: number
}

/** Weights by PyTorch's `Sequential` names, running statistics among them. */
export type HeadWeights = ReadonlyMap<
  string,
  { readonly shape: Shape; readonly data: Float32Array }
>

/** Five linear layers d–d–d–d–d–K, as SCP's head. */
export const scpHeadConfig = (dimension: number, clusters: number): MlpHeadConfig => ({
  widths: [dimension, dimension, dimension, dimension, dimension, clusters],
})

const DEFAULTS = {
  norm: 'batch',
  activation: 'relu',
  dropout: 0,
  initialization: 'pytorch',
  batches: 1,
} as const satisfies Omit<MlpHeadConfig, 'widths'>

/** As PyTorch's `trunc_normal_`, whose bounds of ±2 lie far beyond what is ever drawn. */
const NORMAL_SCALE = 0.02

/**
 * R multilayer perceptrons side by side: linear, norm, activation and dropout for every hidden layer,
 * then one more linear layer. A run's bits don't depend on the other runs.
 */
export class MlpHead {
  readonly config: Required<MlpHeadConfig>
  /** R */
  readonly runs: number
  /** By the names of {@link parameterShapes}, each [R, ...]. */
  readonly parameters: Parameters
  /** For each BatchNorm [R, 2, width]: running mean and variance. */
  readonly running: readonly Tensor<'f32'>[]
  readonly #device: Device
  /** For each LayerNorm: what scales and shifts nothing. */
  readonly #plain: readonly { readonly weight: Tensor<'f32'>; readonly bias: Tensor<'f32'> }[]

  constructor(device: Device, config: MlpHeadConfig, runs = 1) {
    this.#device = device
    this.config = { ...DEFAULTS, ...config }
    this.runs = runs
    const shapes = Array.from(parameterShapes(config), ([name, shape]) => {
      return [name, [runs, ...shape]] as const
    })
    this.parameters = new Parameters(device, new Map(shapes))
    const { norm, widths } = this.config
    const hidden = widths.slice(1, -1)
    this.running = (norm === 'batch' ? hidden : []).map((width) => {
      return keep(device.tensor(freshStatistics(width, runs), [runs, 2, width]))
    })
    this.#plain = (norm === 'layer' ? hidden : []).map((width) => ({
      weight: keep(device.constant(new Float32Array(width).fill(1), [width])),
      bias: keep(device.constant(new Float32Array(width), [width])),
    }))
  }

  /**
   * Logits of a batch of features.
   *
   * @param x [R, rows, d], or [rows, d] for all runs
   * @param training batch statistics (and their running averages move) or running statistics
   * @param step [R, 2]: step and seed of every run, for dropout while training
   * @returns [R, rows, K]
   */
  forward(x: Tensor<'f32'>, training: boolean, step?: Tensor<'u32'>): Tensor<'f32'> {
    const { parameters, config } = this
    const last = config.widths.length - 2
    return scope(() => {
      let y = x
      for (let layer = 0; layer < last; layer++) {
        y = this.#hidden(y, layer, training)
        if (training && config.dropout > 0 && step) {
          y = dropout(y, { rate: config.dropout, state: step, stream: layer })
        }
      }
      const name = layerName(config, last)
      return linearRuns(y, parameters.get(`${name}.weight`), parameters.get(`${name}.bias`))
    })
  }

  #hidden(x: Tensor<'f32'>, layer: number, training: boolean): Tensor<'f32'> {
    const { parameters, config } = this
    const { norm, activation, batches } = config
    const of = (name: string): Tensor<'f32'> => parameters.get(name)
    const name = layerName(config, layer)
    const weight = of(`${name}.weight`)
    if (norm === 'none') return activate(linearRuns(x, weight, of(`${name}.bias`)), activation)
    const next = layerName(config, layer, 1)
    const [gamma, beta] = [of(`${next}.weight`), of(`${next}.bias`)]
    if (norm === 'layer') {
      const { weight: one, bias: zero } = this.#plain[layer]!
      const y = layerNorm(linearRuns(x, weight, of(`${name}.bias`)), one, zero)
      return activate(affineRuns(y, gamma, beta), activation)
    }
    const relu = activation === 'relu'
    const running = this.running[layer]!
    const z = linearRuns(x, weight)
    const y = training
      ? batchNormTrain(z, gamma, beta, running, { relu, batches })
      : batchNormEval(z, gamma, beta, running, { relu })
    return relu ? y : activate(y, activation)
  }

  /** Fresh weights and statistics, run r's from seeds[r], by the counter-based generator. */
  initialize(seeds: readonly number[]): void {
    expectShape('MlpHead.initialize', 'seeds', [seeds.length], [this.runs])
    const { parameters, config, runs } = this
    const device = this.#device
    const fixed = new Map<string, Float32Array>()
    for (const [name, { size }] of parameters.tensors) {
      const one = isNorm(config, name) && name.endsWith('weight')
      fixed.set(name, new Float32Array(size).fill(one ? 1 : 0))
    }
    parameters.write(fixed)
    const seedTensor = device.tensor(Uint32Array.from(seeds), [runs])
    const normal = config.initialization === 'truncated-normal'
    const kernel = initializeKernel({ kind: normal ? 'normal' : 'uniform' })
    let stream = 0
    for (const [name, out] of parameters.tensors) {
      if (isNorm(config, name)) continue
      const fanIn = config.widths[layerOf(config, name)]!
      const scale = normal ? NORMAL_SCALE : 1 / Math.sqrt(fanIn)
      const params = { runs, size: out.size / runs, stream: stream++, scale }
      if (normal && name.endsWith('bias')) continue
      device.dispatch(kernel, { seeds: seedTensor, out }, params)
    }
    seedTensor.dispose()
    this.running.forEach((tensor) => tensor.write(freshStatistics(tensor.shape[2]!, runs)))
  }

  /** Copies one run's weights and running statistics to the host. */
  async read(run = 0): Promise<HeadWeights> {
    const weights = new Map<string, { shape: Shape; data: Float32Array }>()
    for (const [name, data] of await this.parameters.read()) {
      const shape = this.parameters.get(name).shape.slice(1)
      const size = sizeOf(shape)
      weights.set(name, { shape, data: data.slice(run * size, (run + 1) * size) })
    }
    for (const [layer, tensor] of this.running.entries()) {
      const width = tensor.shape[2]!
      const data = (await tensor.read()).subarray(run * 2 * width, (run + 1) * 2 * width)
      const norm = layerName(this.config, layer, 1)
      weights.set(`${norm}.running_mean`, { shape: [width], data: data.slice(0, width) })
      weights.set(`${norm}.running_var`, { shape: [width], data: data.slice(width) })
    }
    return weights
  }

  /** Replaces weights and running statistics of a head of one run. */
  write(weights: HeadWeights): void {
    expectShape('MlpHead.write', 'the head', [this.runs], [1])
    this.parameters.write(new Map(Array.from(weights, ([name, { data }]) => [name, data])))
    this.running.forEach((tensor, layer) => {
      const norm = layerName(this.config, layer, 1)
      const width = tensor.shape[2]!
      const data = freshStatistics(width, 1)
      const [mean, variance] = [`${norm}.running_mean`, `${norm}.running_var`]
      data.set(weights.get(mean)?.data ?? data.subarray(0, width))
      data.set(weights.get(variance)?.data ?? data.subarray(width), width)
      tensor.write(data)
    })
  }

  dispose(): void {
    this.parameters.dispose()
    this.running.forEach((tensor) => tensor.dispose())
    this.#plain.forEach(({ weight, bias }) => {
      weight.dispose()
      bias.dispose()
    })
  }
}

function freshStatistics(width: number, runs: number): Float32Array<ArrayBuffer> {
  const data = new Float32Array(runs * 2 * width)
  for (let run = 0; run < runs; run++) data.fill(1, (2 * run + 1) * width, (2 * run + 2) * width)
  return data
}

type Layout = Pick<MlpHeadConfig, 'norm' | 'dropout'>

/** Places of one hidden layer in PyTorch's `Sequential`: [Linear, norm?, activation, Dropout?]. */
const stride = ({ norm = 'batch', dropout = 0 }: Layout): number =>
  2 + (norm === 'none' ? 0 : 1) + (dropout > 0 ? 1 : 0)

const layerName = (config: Layout, layer: number, offset = 0): string =>
  `${layer * stride(config) + offset}`

const layerOf = (config: Layout, name: string): number =>
  Math.floor(Number(name.split('.')[0]) / stride(config))

const isNorm = (config: Layout, name: string): boolean =>
  config.norm !== 'none' && Number(name.split('.')[0]) % stride(config) === 1

/** Names and shapes of one run in the order of PyTorch's `Sequential`. */
export function parameterShapes(config: MlpHeadConfig): Map<string, Shape> {
  const { widths, norm = 'batch' } = config
  const shapes = new Map<string, Shape>()
  const last = widths.length - 2
  for (let layer = 0; layer <= last; layer++) {
    const [inner, width] = [widths[layer]!, widths[layer + 1]!]
    const name = layerName(config, layer)
    shapes.set(`${name}.weight`, [width, inner])
    if (layer === last || norm !== 'batch') shapes.set(`${name}.bias`, [width])
    if (layer === last || norm === 'none') continue
    const next = layerName(config, layer, 1)
    shapes.set(`${next}.weight`, [width])
    shapes.set(`${next}.bias`, [width])
  }
  return shapes
}
