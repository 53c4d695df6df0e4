import {
  cosineSchedule,
  DEFAULT_MODEL,
  loadModel,
  MlpHead,
  record,
  scope,
  scpHeadConfig,
  scpStep,
  timePlan,
  TrainingState,
  type Device,
  type VitConfig,
} from '../../src/index.node.ts'
import { sampleBatchKernel } from '../../src/kernels/sampleBatch.ts'
import { classRowsOf } from '../../src/model/vit/vit.ts'
import { Inputs } from './inputs.ts'

/** A recorded plan as the product runs it. */
export interface WholeResult {
  readonly name: string
  readonly seconds: number
  readonly dispatches: number
  readonly gflops: number
  /** Share of the FMA loop's GFLOP/s. */
  readonly fraction: number
  readonly imagesPerSecond?: number
}

interface WholeOptions {
  readonly budget: number
  readonly fmaGflops: number
}

/** Multiplications and additions of one image's forward. */
export function vitFlops(config: VitConfig): number {
  const { imageSize, patchSize, hiddenSize: d, mlpSize, layers, projection = 0 } = config
  const patches = (imageSize / patchSize) ** 2
  const tokens = patches + 1
  const block = 2 * tokens * (4 * d * d + 2 * d * mlpSize) + 4 * tokens * tokens * d
  return 2 * patches * 3 * patchSize ** 2 * d + layers * block + 2 * d * projection
}

/** The forward of `batch` images, upload and readback left out. */
export async function timeVit(
  device: Device,
  model: string | undefined,
  batch: number,
  { budget, fmaGflops }: WholeOptions,
): Promise<WholeResult> {
  const { encoder, config, ...loaded } = await loadModel(model ?? DEFAULT_MODEL, { device })
  const { imageSize: side } = config
  const inputs = new Inputs(device)
  const pixels = inputs.random([batch, 3, side, side], 2)
  const tokens = encoder.preparePositions(side, side).shape[0]!
  const classRows = device.tensor(classRowsOf(batch, tokens), [batch])
  const plan = await record(device, {}, () => encoder.forward(pixels, classRows).feature)
  const seconds = await timePlan(device, plan, budget)
  const { dispatches } = plan.stats()
  plan.dispose()
  classRows.dispose()
  inputs.dispose()
  encoder.dispose()
  const gflops = (batch * vitFlops(config)) / seconds / 1e9
  return {
    name: `ViT forward, ${loaded.name}, ${batch} images`,
    seconds,
    dispatches,
    gflops,
    fraction: gflops / fmaGflops,
    imagesPerSecond: batch / seconds,
  }
}

/** One training step of SCP as `cluster` records it: sampling, forward, loss, backward, Adam, trace. */
export async function timeScpStep(
  device: Device,
  { count, dimension, k, batch }: Record<'count' | 'dimension' | 'k' | 'batch', number>,
  { budget, fmaGflops }: WholeOptions,
): Promise<WholeResult> {
  const [views, pairs] = [5, 10]
  const inputs = new Inputs(device)
  const store = inputs.random([views * count, dimension], 0.1)
  const neighbours = inputs.integers([count * pairs], count)
  const config = scpHeadConfig(dimension, k)
  const head = new MlpHead(device, config)
  head.initialize(0)
  const state = new TrainingState(device, head, cosineSchedule(1000, 1e-3))
  state.reset(0)
  const stepsPerEpoch = Math.max(1, Math.floor(count / batch))
  const plan = await record(device, {}, () => {
    scope(() => {
      const rows = device.empty([2 * batch, dimension])
      device.dispatch(
        sampleBatchKernel,
        { store, neighbours, state: state.step, out: rows },
        {
          ...{ batch, count, views, pairs, dimension, stepsPerEpoch },
          ...{ firstRow: 0, rows: views * count, noise: 0.1 },
        },
      )
      scpStep(head, state, rows, { crossEntropy: 1, confidence: 1, entropy: 2 })
    })
  })
  const seconds = await timePlan(device, plan, budget)
  const { dispatches } = plan.stats()
  plan.dispose()
  state.dispose()
  head.dispose()
  inputs.dispose()
  const gflops = headFlops(config.widths, 2 * batch) / seconds / 1e9
  return {
    name: `SCP step, ${count} images, batch 2×${batch}, K ${k}`,
    seconds,
    dispatches,
    gflops,
    fraction: gflops / fmaGflops,
  }
}

/** Forward, gradients of the weights, and those of every layer's input but the first's. */
function headFlops(widths: readonly number[], rows: number): number {
  return widths.slice(1).reduce((sum, width, layer) => {
    return sum + (layer === 0 ? 2 : 3) * 2 * rows * width * widths[layer]!
  }, 0)
}
