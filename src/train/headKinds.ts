import { MlpHead, parameterShapes, type HeadWeights, type MlpHeadConfig } from '../model/mlpHead.ts'
import { temiHeadShapes, temiLogits, type TemiHeadsConfig } from '../model/temiHeads.ts'
import type { Device } from '../runtime/device.ts'
import { formatShape, sameShape, type Shape } from '../runtime/shape.ts'
import { keep, scope, type Tensor } from '../runtime/tensor.ts'

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
      const problem = misshapen(shapes, name, expected)
      if (problem !== undefined) return problem
    }
    return { dimension: config.widths[0]!, k: config.widths.at(-1)! }
  },
  open(device, weights) {
    const shapes = new Map(Array.from(weights, ([name, { shape }]) => [name, shape]))
    const head = new MlpHead(device, mlpConfigOf(shapes) as MlpHeadConfig)
    head.write(weights)
    return {
      logits: (features) =>
        scope(() => {
          const logits = head.forward(features, false)
          return logits.view(logits.shape.slice(1))
        }),
      dispose: () => head.dispose(),
    }
  },
}

/** One head of TEMI's, under the names of its authors' code, with the temperature of its softmax. */
const temi: HeadKind = {
  sizesOf(shapes) {
    const config = temiConfigOf(shapes)
    if (typeof config === 'string') return config
    for (const [name, expected] of [...temiHeadShapes(config), ['temperature', [1]] as const]) {
      const problem = misshapen(shapes, name, expected)
      if (problem !== undefined) return problem
    }
    return { dimension: config.dimension, k: config.clusters }
  },
  open(device, weights) {
    const shapes = new Map(Array.from(weights, ([name, { shape }]) => [name, shape]))
    const config = temiConfigOf(shapes) as Omit<TemiHeadsConfig, 'heads'>
    const tensors = new Map(
      Array.from(weights, ([name, { shape, data }]) => {
        return [name, keep(device.constant(Float32Array.from(data), shape))]
      }),
    )
    const [temperature = 1] = weights.get('temperature')!.data
    return {
      logits: (features) => temiLogits(features, tensors, config, temperature),
      dispose: () => tensors.forEach((tensor) => tensor.dispose()),
    }
  },
}

function temiConfigOf(shapes: ReadonlyMap<string, Shape>): Omit<TemiHeadsConfig, 'heads'> | string {
  const [hidden, dimension] = shapes.get('mlp.0.weight') ?? []
  const [clusters, bottleneck] = shapes.get('last_layer.weight_v') ?? []
  if (hidden === undefined || dimension === undefined) return 'lacks the matrix mlp.0.weight'
  if (clusters === undefined || bottleneck === undefined) {
    return 'lacks the matrix last_layer.weight_v'
  }
  return { hidden, dimension, clusters, bottleneck }
}

/** What is wrong with a tensor, in words that follow "it". */
function misshapen(
  shapes: ReadonlyMap<string, Shape>,
  name: string,
  expected: Shape,
): string | undefined {
  const found = shapes.get(name)
  if (!found) return `lacks the tensor ${name}`
  if (sameShape(found, expected)) return undefined
  return `has ${name} of shape ${formatShape(found)}, expected ${formatShape(expected)}`
}

/** By the `method` in a head's file. */
export const headKinds: Readonly<Record<string, HeadKind>> = {
  scp: mlp,
  'linear-probe': mlp,
  temi,
}

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
  // A linear layer before a BatchNorm has no bias.
  const norm = step === 2 ? 'none' : shapes.has('0.bias') && widths.length > 2 ? 'layer' : 'batch'
  return { widths, norm }
}

/** Parameters and running statistics. */
function headShapes(config: MlpHeadConfig): Map<string, Shape> {
  const shapes = parameterShapes(config)
  config.widths.slice(1, config.norm === 'batch' ? -1 : 1).forEach((width, layer) => {
    shapes.set(`${3 * layer + 1}.running_mean`, [width])
    shapes.set(`${3 * layer + 1}.running_var`, [width])
  })
  return shapes
}
