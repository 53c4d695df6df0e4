import {
  cosineSchedule,
  scope,
  scpHeadConfig,
  ScpAdapter,
  trainingStep,
  TrainingState,
  type VisionModel,
  type VitConfig,
} from '../../src/index.node.ts'
import { sampleBatchKernel } from '../../src/kernels/sampleBatch.ts'
import { classRowsOf } from '../../src/model/vit/vit.ts'
import type { Inputs } from './inputs.ts'

/** A plan as the product records it. */
export interface WholeCase {
  readonly name: string
  readonly flops: number
  /** Images of one replay, where images go through. */
  readonly images?: number
  /** As many dispatches as it should need at most. */
  readonly dispatchLimit: number
  prepare(inputs: Inputs): () => unknown
}

/** The forward of `images` images, upload and readback left out. */
export function vitForward({ encoder, config, name }: VisionModel, images: number): WholeCase {
  return {
    name: `ViT forward, ${name}, ${images} images`,
    flops: images * vitFlops(config),
    images,
    // 90 of a ViT with 12 blocks: seven in a block, six around them.
    dispatchLimit: 7 * config.layers + 6,
    prepare({ device, random, own }) {
      const { imageSize: side } = config
      const pixels = random([images, 3, side, side], 2)
      const tokens = encoder.preparePositions(side, side).shape[0]
      const classRows = own(device.tensor(classRowsOf(images, tokens), [images]))
      return () => encoder.forward(pixels, classRows)
    },
  }
}

/** Floating-point operations of one image's products and attention; a multiply-add counts two. */
export function vitFlops(config: VitConfig): number {
  const { imageSize, patchSize, hiddenSize: d, mlpSize, layers, projection = 0 } = config
  const patches = (imageSize / patchSize) ** 2
  const tokens = patches + 1
  const block = 2 * tokens * (4 * d * d + 2 * d * mlpSize) + 4 * tokens * tokens * d
  return 2 * patches * 3 * patchSize ** 2 * d + layers * block + 2 * d * projection
}

/** One training step of SCP: sampling, forward, loss, backward, Adam, trace. */
export function scpTrainingStep(
  count: number,
  dimension: number,
  k: number,
  batch: number,
): WholeCase {
  const [views, pairs] = [5, 10]
  const config = scpHeadConfig(dimension, k)
  const { widths } = config
  const stepsPerEpoch = Math.max(1, Math.floor(count / batch))
  const sizes = { runs: 1, batch, count, views, sides: 0, pairs, dimension, stepsPerEpoch }
  return {
    name: `SCP step, ${count} images, 2×${batch} rows, K ${k}`,
    flops: headFlops(widths, 2 * batch),
    dispatchLimit: 25,
    prepare({ device, random, integers, own }) {
      const store = random([views * count, dimension], 0.1)
      const neighbours = integers([count * pairs], count)
      const weights = { crossEntropy: 1, confidence: 1, entropy: 2 }
      const adapter = own(new ScpAdapter(device, config, weights))
      adapter.initialize([0])
      const state = own(new TrainingState(adapter, cosineSchedule(1000, 1e-3)))
      state.reset([0])
      const chunk = { firstRow: 0, rows: views * count }
      return () => {
        scope(() => {
          const features = device.empty([1, 2 * batch, dimension])
          const images = device.empty([1, 2 * batch], 'u32')
          const tensors = { store, neighbours, state: state.step, out: features, images }
          device.dispatch(sampleBatchKernel, tensors, { ...sizes, ...chunk, noise: 0.1 })
          trainingStep(adapter, state, { features, images, step: state.step })
        })
      }
    },
  }
}

/** Forward, gradients of the weights, and those of every layer's input but the first's. */
export function headFlops(widths: readonly number[], rows: number): number {
  return widths.slice(1).reduce((sum, width, layer) => {
    return sum + (layer === 0 ? 2 : 3) * 2 * rows * width * widths[layer]
  }, 0)
}
