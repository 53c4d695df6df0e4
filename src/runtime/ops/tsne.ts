import type { KernelVariant } from '../../kernels/kernel.ts'
import { tsneGradientKernel, tsneTotalKernel } from '../../kernels/tsneGradient.ts'
import { tsneProbabilitiesKernel } from '../../kernels/tsneProbabilities.ts'
import { repulsionHeight, tsneRepulsionKernel } from '../../kernels/tsneRepulsion.ts'
import { expect, expectShape } from '../shape.ts'
import { scope, type Tensor } from '../tensor.ts'

export interface TsneProbabilitiesOptions {
  /** Neighbours that count, by entropy: 1 to k. */
  readonly perplexity: number
  /** Largest error of the entropy, in nats. Default 1e-5. */
  readonly tolerance?: number
  /** Steps of the bisection at most. Default 50. */
  readonly tries?: number
}

/**
 * Conditional probabilities of t-SNE, by bisection of each row's bandwidth; outside the tape.
 *
 * @param squared [N, k]: squared distances to a row's neighbours, ascending
 * @returns [N, k]; rows sum to 1
 */
export function tsneProbabilities(
  squared: Tensor<'f32'>,
  { perplexity, tolerance = 1e-5, tries = 50 }: TsneProbabilitiesOptions,
): Tensor<'f32'> {
  expect(squared.shape.length === 2, 'tsneProbabilities', () => {
    return `squared is ${squared.toString()}, expected f32[rows, neighbours]`
  })
  const [rows, k] = squared.shape as unknown as [number, number]
  expect(perplexity >= 1 && perplexity <= k, 'tsneProbabilities', () => {
    return `perplexity is ${perplexity}, expected 1 to the ${k} neighbours of a row`
  })
  const probabilities = squared.device.empty(squared.shape)
  squared.device.dispatch(
    tsneProbabilitiesKernel,
    { squared, probabilities },
    { rows, k, entropy: Math.log(perplexity), tolerance, tries },
  )
  return probabilities
}

/** A sparse symmetric matrix of joint probabilities, by rows; columns ascend within a row. */
export interface TsneGraph {
  /** [N + 1]: where each row begins, and the number of entries. */
  readonly starts: Tensor<'u32'>
  /** [E] */
  readonly columns: Tensor<'u32'>
  /** [E], above 0; all of them sum to 1. */
  readonly weights: Tensor<'f32'>
}

export interface TsneGradient {
  /** [N, 2] */
  readonly gradient: Tensor<'f32'>
  /** [N]: Σⱼ p·ln(p/w); the divergence is their sum and ln Z, without exaggeration. */
  readonly divergence: Tensor<'f32'>
  /** [1]: Z, the sum of w = 1/(1 + |yᵢ − yⱼ|²) over all pairs of two points. */
  readonly total: Tensor<'f32'>
}

/** Pairs of one dispatch at most: a fraction of a second on a CPU, about a millisecond on a GPU. */
const PAIRS = 2 ** 26
/** Workgroups that keep a large GPU busy. */
const BUSY = 512

/**
 * Gradient of t-SNE's Kullback-Leibler divergence by the layout, with exact repulsion over all pairs
 * and no N×N matrix; outside the tape. Time grows with N².
 *
 * @param layout [N, 2]
 */
export function tsneGradient(
  layout: Tensor<'f32'>,
  graph: TsneGraph,
  {
    exaggeration = 1,
    variant = layout.device.kernelVariant,
  }: {
    /** Factor on the attraction. Default 1. */
    readonly exaggeration?: number
    /** @internal */
    readonly variant?: KernelVariant
  } = {},
): TsneGradient {
  const { device } = layout
  const count = layout.shape[0] ?? 0
  expectShape('tsneGradient', 'layout', layout.shape, [count, 2])
  expectShape('tsneGradient', 'graph.starts', graph.starts.shape, [count + 1])
  expectShape('tsneGradient', 'graph.weights', graph.weights.shape, graph.columns.shape)
  const out = {
    gradient: device.empty([count, 2]),
    divergence: device.empty([count]),
    total: device.empty([1]),
  }
  scope(() => {
    const height = repulsionHeight(variant)
    const groups = Math.ceil(count / height)
    // On a CPU every workgroup takes a core for long enough as it is.
    const splits = variant === 'tile' ? Math.max(1, Math.min(32, Math.floor(BUSY / groups))) : 1
    const partials = device.empty([splits, count, 4])
    const most = Math.max(1, Math.floor(PAIRS / count / height)) * height
    for (let first = 0; first < count; first += most) {
      device.dispatch(
        tsneRepulsionKernel({ variant }),
        { points: layout, partials },
        { count, first, rows: Math.min(most, count - first), splits },
      )
    }
    const { total } = out
    device.dispatch(tsneTotalKernel, { partials, total }, { count, splits })
    device.dispatch(
      tsneGradientKernel,
      { points: layout, ...graph, partials, ...out },
      { count, splits, exaggeration },
    )
  })
  return out
}
