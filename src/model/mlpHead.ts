import { randomUniform } from '../kernels/random.ts'
import type { Device } from '../runtime/device.ts'
import { batchNormEval, batchNormTrain } from '../runtime/ops/batchNorm.ts'
import { linear } from '../runtime/ops/matmul.ts'
import { Parameters } from '../runtime/parameters.ts'
import type { Shape } from '../runtime/shape.ts'
import { keep, type Tensor } from '../runtime/tensor.ts'

export interface MlpHeadConfig {
  /** Sizes of the features, of every hidden layer, and of the output. */
  readonly widths: readonly number[]
  /** BatchNorm between a hidden linear layer and its ReLU; the layer then has no bias. */
  readonly batchNorm: boolean
}

/** Weights by PyTorch's `Sequential` names, running statistics among them. */
export type HeadWeights = ReadonlyMap<
  string,
  { readonly shape: Shape; readonly data: Float32Array }
>

/** Five linear layers d–d–d–d–d–K, as SCP's head. */
export const scpHeadConfig = (dimension: number, clusters: number): MlpHeadConfig => ({
  widths: [dimension, dimension, dimension, dimension, dimension, clusters],
  batchNorm: true,
})

/** An MLP: linear, BatchNorm and ReLU for every hidden layer, then one more linear layer. */
export class MlpHead {
  readonly config: MlpHeadConfig
  readonly parameters: Parameters
  /** For each BatchNorm [2, width]: running mean and variance. */
  readonly running: readonly Tensor<'f32'>[]

  constructor(device: Device, config: MlpHeadConfig) {
    this.config = config
    this.parameters = new Parameters(device, parameterShapes(config))
    this.running = (config.batchNorm ? config.widths.slice(1, -1) : []).map((width) => {
      return keep(device.tensor(freshStatistics(width), [2, width]))
    })
  }

  /** The layer's place in PyTorch's `Sequential`: [Linear, BatchNorm?, ReLU] for every hidden one. */
  #name(layer: number, offset = 0): string {
    return `${layer * (this.config.batchNorm ? 3 : 2) + offset}`
  }

  /**
   * Logits of a batch of features.
   *
   * @param x [rows, d]
   * @param training batch statistics (and their running averages move) or running statistics
   * @returns [rows, K]
   */
  forward(x: Tensor<'f32'>, training: boolean): Tensor<'f32'> {
    const { parameters, running, config } = this
    const normalize = training ? batchNormTrain : batchNormEval
    const last = config.widths.length - 2
    let y = x
    for (let layer = 0; layer < last; layer++) {
      const weight = parameters.get(`${this.#name(layer)}.weight`)
      if (config.batchNorm) {
        const norm = this.#name(layer, 1)
        const gamma = parameters.get(`${norm}.weight`)
        const beta = parameters.get(`${norm}.bias`)
        y = normalize(linear(y, weight), gamma, beta, running[layer]!, { relu: true })
      } else {
        const bias = parameters.get(`${this.#name(layer)}.bias`)
        y = linear(y, weight, bias, { activation: 'relu' })
      }
    }
    const name = this.#name(last)
    return linear(y, parameters.get(`${name}.weight`), parameters.get(`${name}.bias`))
  }

  /** Fresh weights: PyTorch's default, uniform in ±1/√fan-in, from the counter-based generator. */
  initialize(seed: number): void {
    const values = new Map<string, Float32Array>()
    let stream = 0
    for (const [name, tensor] of this.parameters.tensors) {
      const norm = this.config.batchNorm && Number(name.split('.')[0]) % 3 === 1
      if (norm) {
        values.set(name, new Float32Array(tensor.size).fill(name.endsWith('weight') ? 1 : 0))
        continue
      }
      const layer = Math.floor(Number(name.split('.')[0]) / (this.config.batchNorm ? 3 : 2))
      const bound = 1 / Math.sqrt(this.config.widths[layer]!)
      const data = new Float32Array(tensor.size)
      for (let i = 0; i < data.length; i++)
        data[i] = (randomUniform(seed, stream, i) * 2 - 1) * bound
      stream++
      values.set(name, data)
    }
    this.parameters.write(values)
    this.running.forEach((tensor) => tensor.write(freshStatistics(tensor.shape[1]!)))
  }

  /** Copies weights and running statistics to the host. */
  async read(): Promise<HeadWeights> {
    const weights = new Map<string, { shape: Shape; data: Float32Array }>()
    for (const [name, data] of await this.parameters.read()) {
      weights.set(name, { shape: this.parameters.get(name).shape, data })
    }
    for (const [layer, tensor] of this.running.entries()) {
      const width = tensor.shape[1]!
      const data = await tensor.read()
      const norm = this.#name(layer, 1)
      weights.set(`${norm}.running_mean`, { shape: [width], data: data.slice(0, width) })
      weights.set(`${norm}.running_var`, { shape: [width], data: data.slice(width) })
    }
    return weights
  }

  /** Replaces weights and running statistics. */
  write(weights: HeadWeights): void {
    this.parameters.write(new Map(Array.from(weights, ([name, { data }]) => [name, data])))
    this.running.forEach((tensor, layer) => {
      const norm = this.#name(layer, 1)
      const width = tensor.shape[1]!
      const data = new Float32Array(2 * width)
      data.set(
        weights.get(`${norm}.running_mean`)?.data ?? freshStatistics(width).subarray(0, width),
      )
      data.set(
        weights.get(`${norm}.running_var`)?.data ?? freshStatistics(width).subarray(width),
        width,
      )
      tensor.write(data)
    })
  }

  dispose(): void {
    this.parameters.dispose()
    this.running.forEach((tensor) => tensor.dispose())
  }
}

function freshStatistics(width: number): Float32Array<ArrayBuffer> {
  return new Float32Array(2 * width).fill(1, width)
}

/** Names and shapes in the order of PyTorch's `Sequential`. */
export function parameterShapes({ widths, batchNorm }: MlpHeadConfig): Map<string, Shape> {
  const shapes = new Map<string, Shape>()
  const last = widths.length - 2
  for (let layer = 0; layer <= last; layer++) {
    const [inner, width] = [widths[layer]!, widths[layer + 1]!]
    const index = layer * (batchNorm ? 3 : 2)
    shapes.set(`${index}.weight`, [width, inner])
    if (layer === last || !batchNorm) shapes.set(`${index}.bias`, [width])
    else {
      shapes.set(`${index + 1}.weight`, [width])
      shapes.set(`${index + 1}.bias`, [width])
    }
  }
  return shapes
}
