import { gatherLabelsKernel } from '../kernels/gatherLabels.ts'
import { MlpHead, type HeadWeights } from '../model/mlpHead.ts'
import type { Device } from '../runtime/device.ts'
import { crossEntropy } from '../runtime/ops/crossEntropy.ts'
import { mean } from '../runtime/ops/reduce.ts'
import type { Parameters } from '../runtime/parameters.ts'
import { keep, type Tensor } from '../runtime/tensor.ts'
import type { Adapter, AdapterLoss, AdapterSizes, Batch } from './adapter.ts'

/** One linear layer, trained on labels by cross-entropy. */
export class LinearProbeAdapter implements Adapter {
  readonly name = 'linear-probe'
  readonly terms: readonly string[] = []
  readonly state: ReadonlyMap<string, Tensor<'f32'>> = new Map()
  readonly #head: MlpHead
  /** [N]: class of every image. */
  readonly #labels: Tensor<'u32'>
  readonly #smoothing: number

  /** @param labels [N], each below `outputs` */
  constructor(
    device: Device,
    { runs, dimension, outputs }: AdapterSizes,
    labels: Uint32Array<ArrayBuffer>,
    { labelSmoothing = 0 }: { readonly labelSmoothing?: number } = {},
  ) {
    this.#head = new MlpHead(device, { widths: [dimension, outputs], norm: 'none' }, runs)
    this.#labels = keep(device.constant(labels, [labels.length]))
    this.#smoothing = labelSmoothing
  }

  get runs(): number {
    return this.#head.runs
  }

  get outputs(): number {
    return this.#head.config.widths[1]!
  }

  get parameters(): Parameters {
    return this.#head.parameters
  }

  initialize(seeds: readonly number[]): void {
    this.#head.initialize(seeds)
  }

  logits(features: Tensor<'f32'>, training: boolean): Tensor<'f32'> {
    return this.#head.forward(features, training)
  }

  loss({ features, images }: Batch): AdapterLoss {
    const { device } = features
    const labels = device.empty(images.shape, 'u32')
    device.dispatch(
      gatherLabelsKernel,
      { labels: this.#labels, index: images, out: labels },
      { size: images.size, count: this.#labels.size },
    )
    const rows = crossEntropy(this.logits(features, true), labels, {
      labelSmoothing: this.#smoothing,
      reduction: 'rows',
    })
    const total = mean(rows, { axes: 1 })
    return { total, terms: total.view([1, this.runs]) }
  }

  read(run: number): Promise<HeadWeights> {
    return this.#head.read(run)
  }

  write(weights: HeadWeights): void {
    this.#head.write(weights)
  }

  dispose(): void {
    this.#head.dispose()
    this.#labels.dispose()
  }
}
