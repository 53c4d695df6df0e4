import { MlpHead, type HeadWeights, type MlpHeadConfig } from '../model/mlpHead.ts'
import type { Device } from '../runtime/device.ts'
import { scpLoss, type LossRing, type ScpLossWeights } from '../runtime/ops/scpLoss.ts'
import type { Parameters } from '../runtime/parameters.ts'
import type { Tensor } from '../runtime/tensor.ts'
import type { Adapter, AdapterLoss, Batch } from './adapter.ts'

/** SCP (Li et al., arXiv 2502.04226): an MLP head, trained so that two views agree, surely and with all clusters in use. */
export class ScpAdapter implements Adapter {
  readonly name = 'scp'
  readonly terms = ['crossEntropy', 'confidence', 'negativeEntropy']
  readonly head: MlpHead
  readonly state: ReadonlyMap<string, Tensor<'f32'>>
  readonly #weights: ScpLossWeights

  constructor(device: Device, config: MlpHeadConfig, weights: ScpLossWeights, runs = 1) {
    this.head = new MlpHead(device, config, runs)
    this.state = new Map(this.head.running.map((tensor, i) => [`running.${i}`, tensor]))
    this.#weights = weights
  }

  get runs(): number {
    return this.head.runs
  }

  get outputs(): number {
    return this.head.config.widths.at(-1)!
  }

  get parameters(): Parameters {
    return this.head.parameters
  }

  initialize(seeds: readonly number[]): void {
    this.head.initialize(seeds)
  }

  logits(features: Tensor<'f32'>, training: boolean): Tensor<'f32'> {
    return this.head.forward(features, training)
  }

  /** The loss's one dispatch keeps the books too. */
  loss({ features, step }: Batch, ring: LossRing): AdapterLoss {
    const loss = scpLoss(this.head.forward(features, true, step), this.#weights, ring)
    return { ...loss, booked: true }
  }

  read(run: number): Promise<HeadWeights> {
    return this.head.read(run)
  }

  write(weights: HeadWeights): void {
    this.head.write(weights)
  }

  dispose(): void {
    this.head.dispose()
  }
}
