import { MlpHead, parameterShapes, type HeadWeights, type MlpHeadConfig } from '../model/mlpHead.ts'
import type { Device } from '../runtime/device.ts'
import type { Shape } from '../runtime/shape.ts'
import type { Tensor } from '../runtime/tensor.ts'

/** A head on a device, for prediction alone. */
export interface OpenHead {
  /** L2-normalised features [rows, D] → logits [rows, K], enqueued. */
  logits(features: Tensor<'f32'>): Tensor<'f32'>
  dispose(): void
}

/** How the saved heads of a method are checked and run. */
export interface HeadKind {
  /**
   * Finds D and K by the shapes of a file's tensors.
   *
   * @returns the sizes, or what is wrong in words that follow "it"
   */
  sizesOf(shapes: ReadonlyMap<string, Shape>): HeadSizes | string
  open(device: Device, weights: HeadWeights): OpenHead
}

export interface HeadSizes {
  /** D, size of one feature. */
  readonly dimension: number
  /** K, number of clusters. */
  readonly k: number
}

/** MLPs under the names of PyTorch's `Sequential`: linear layers, with or without BatchNorm, and ReLU. */
const mlp: HeadKind = {
  sizesOf(shapes) {
    const config = mlpConfigOf(shapes)
    if (typeof config === 'string') return config
    for (const [name, expected] of headShapes(config)) {
      const found = shapes.get(name)
      if (!found) return `lacks the tensor ${name}`
      if (found.join() !== expected.join()) {
        return `has ${name} of shape [${found.join(', ')}], expected [${expected.join(', ')}]`
      }
    }
    return { dimension: config.widths[0]!, k: config.widths.at(-1)! }
  },
  open(device, weights) {
    const shapes = new Map(Array.from(weights, ([name, { shape }]) => [name, shape]))
    const head = new MlpHead(device, mlpConfigOf(shapes) as MlpHeadConfig)
    head.write(weights)
    return {
      logits: (features) => head.forward(features, false),
      dispose: () => head.dispose(),
    }
  },
}

/** By the `method` in a head's file. */
export const headKinds: Readonly<Record<string, HeadKind>> = { scp: mlp, 'linear-probe': mlp }

/** The sizes of an MLP's layers by its matrices, whose distance in the `Sequential` tells of BatchNorm. */
function mlpConfigOf(shapes: ReadonlyMap<string, Shape>): MlpHeadConfig | string {
  const matrices = [...shapes]
    .flatMap(([name, shape]) => {
      const place = /^(\d+)\.weight$/.exec(name)?.[1]
      return place !== undefined && shape.length === 2 ? [{ place: Number(place), shape }] : []
    })
    .sort((a, b) => a.place - b.place)
  if (matrices[0]?.place !== 0) return 'lacks the matrix 0.weight of the first layer'
  const step = matrices[1]?.place ?? 2
  if ((step !== 2 && step !== 3) || matrices.some(({ place }, i) => place !== i * step)) {
    return `has matrices at ${matrices.map(({ place }) => place).join(', ')}, expected every second or third place`
  }
  const widths = [matrices[0].shape[1]!, ...matrices.map(({ shape }) => shape[0]!)]
  return { widths, batchNorm: step === 3 }
}

/** Parameters and running statistics. */
function headShapes(config: MlpHeadConfig): Map<string, Shape> {
  const shapes = parameterShapes(config)
  config.widths.slice(1, config.batchNorm ? -1 : 1).forEach((width, layer) => {
    shapes.set(`${3 * layer + 1}.running_mean`, [width])
    shapes.set(`${3 * layer + 1}.running_var`, [width])
  })
  return shapes
}
