import type { Device } from '../runtime/device.ts'
import { KeeplightError } from '../runtime/errors.ts'
import { gatherRows } from '../runtime/ops/gather.ts'
import { matmul } from '../runtime/ops/matmul.ts'
import { withRecovery } from '../runtime/recovery.ts'
import { scope, type Tensor } from '../runtime/tensor.ts'
import { logDeterminants } from './cholesky.ts'
import { symmetricEigen } from './symmetricEigen.ts'

/** Squared distortion up to which features are coded; CPP's. */
export const DISTORTION = 0.1

/** Rows of features on the host. */
export interface FeatureRows {
  /** N */
  readonly count: number
  /** D */
  readonly dimension: number
  /** [N, D], each row of length 1. */
  readonly data: Float32Array
}

export interface CodingLengthOptions {
  readonly device: Device
  /** ε, the squared distortion. Default 0.1. */
  readonly epsilon?: number
}

/**
 * The length, in nats, of a lossy code of the features by a partition (Ma, Derksen, Hong and Wright
 * 2007; as CPP uses it to choose K): Σⱼ [(mⱼ + D)/2 · ln det(I + D/(ε·mⱼ)·ZⱼᵀZⱼ) − mⱼ·ln(mⱼ/N)]. A
 * shorter code is a better partition, whatever its number of clusters.
 *
 * Second moments are products on the GPU, determinants Cholesky factorisations on the host in f64.
 *
 * @param assignments cluster of each row, from 0; empty clusters cost nothing
 * @throws KeeplightError `validation` for unequal lengths or values that aren't finite
 */
export async function codingLength(
  features: FeatureRows,
  assignments: ArrayLike<number>,
  { device, epsilon = DISTORTION }: CodingLengthOptions,
): Promise<number> {
  const { count, dimension } = features
  if (assignments.length !== count || features.data.length !== count * dimension) {
    throw new KeeplightError(
      'validation',
      `codingLength: got ${assignments.length} assignments and ${features.data.length} values, ` +
        `expected ${count} and ${count}×${dimension}`,
    )
  }
  const z = device.constant(features.data, [count, dimension])
  try {
    const moments = await clusterMoments(z, assignments)
    const model = { count, dimension, epsilon, shared: new Float64Array(dimension) }
    return partitionLengths(moments, model).at(-1)!
  } finally {
    z.dispose()
  }
}

/** The number of a cluster's rows, and the sum of their outer products z·zᵀ [width, width]. */
export interface Moments {
  readonly size: number
  readonly products: ArrayLike<number>
}

/** What a code of features needs to know beside a partition's moments. */
export interface CodingModel {
  readonly count: number
  readonly dimension: number
  readonly epsilon: number
  /**
   * [width]: element p − 1 is the length of the code for all directions behind the first p, which the
   * clusters share.
   */
  readonly shared: Float64Array
}

/**
 * Lengths of a partition's code when the clusters have codes of their own for the first p directions
 * only and share one code for the others, for p = 1 … width.
 */
export function partitionLengths(
  clusters: readonly Moments[],
  model: CodingModel,
): Float64Array<ArrayBuffer> {
  const total = Float64Array.from(model.shared)
  for (const { size, products } of clusters) {
    const lengths = clusterLengths(size, products, model, model.shared.length)
    lengths.forEach((length, p) => (total[p]! += length))
  }
  return total
}

/** One cluster's part of {@link partitionLengths}, with the cost of its rows' membership. */
export function clusterLengths(
  size: number,
  products: ArrayLike<number>,
  { count, dimension, epsilon, shared }: CodingModel,
  directions: number,
): Float64Array {
  const scale = dimension / (epsilon * size)
  const determinants = logDeterminants(products, directions, scale, shared.length)
  const membership = size * Math.log(size / count)
  return determinants.map((value, p) => ((size + p + 1) / 2) * value - membership)
}

/**
 * Moments of each cluster that has rows.
 *
 * @param z [N, width], a constant: after a loss of the device it comes back
 */
export async function clusterMoments(
  z: Tensor<'f32'>,
  assignments: ArrayLike<number>,
): Promise<Moments[]> {
  const groups = rowsByCluster(assignments)
  const read = async (): Promise<Moments[]> => {
    const products = groups.map((rows) => {
      const product = scope(() => {
        const members = gatherRows(z, z.device.tensor(rows, [rows.length]))
        return matmul(members, members, { transposeA: true })
      })
      z.device.flush()
      return product
    })
    try {
      const moments: Moments[] = []
      for (const [i, product] of products.entries()) {
        moments.push({ size: groups[i]!.length, products: await product.read() })
      }
      return moments
    } finally {
      products.forEach((product) => product.dispose())
    }
  }
  return withRecovery(z.device, read)
}

function rowsByCluster(assignments: ArrayLike<number>): Uint32Array<ArrayBuffer>[] {
  const groups = new Map<number, number[]>()
  for (let row = 0; row < assignments.length; row++) {
    const cluster = assignments[row]!
    const rows = groups.get(cluster)
    if (rows) rows.push(row)
    else groups.set(cluster, [row])
  }
  const clusters = [...groups.keys()].sort((a, b) => a - b)
  return clusters.map((cluster) => Uint32Array.from(groups.get(cluster)!))
}

/** Features turned to their principal directions, on the GPU, and the model of their codes. */
export interface Coder extends CodingModel {
  /** [N, width], a constant: coordinates along the directions of largest second moment. */
  readonly z: Tensor<'f32'>
  readonly width: number
}

/**
 * Turns features to the eigenvectors of their second moments. What lies behind the first `width` of
 * them, all clusters share the code of.
 */
export async function makeCoder(
  device: Device,
  { count, dimension, data }: FeatureRows,
  epsilon: number,
  width: number,
): Promise<Coder> {
  const x = device.constant(data, [count, dimension])
  try {
    const [all] = await clusterMoments(x, new Uint8Array(count))
    const { values, vectors } = symmetricEigen(all!.products, dimension)
    const basis = Float32Array.from(vectors.subarray(0, width * dimension))
    const turned = await withRecovery(device, async () => {
      const product = scope(() =>
        matmul(x, device.tensor(basis, [width, dimension]), { transposeB: true }),
      )
      try {
        return await product.read()
      } finally {
        product.dispose()
      }
    })
    const shared = sharedLengths(values, { count, dimension, epsilon }).subarray(0, width)
    const z = device.constant(turned, [count, width])
    return { z, width, count, dimension, epsilon, shared }
  } finally {
    x.dispose()
  }
}

/** Length of one code of the directions behind the first p, whose second moments are eigenvalues. */
function sharedLengths(
  values: Float64Array,
  { count, dimension, epsilon }: Omit<CodingModel, 'shared'>,
): Float64Array {
  const lengths = new Float64Array(dimension)
  let sum = 0
  for (let p = dimension - 1; p > 0; p--) {
    sum += Math.log1p((dimension / (epsilon * count)) * Math.max(0, values[p]!))
    lengths[p - 1] = ((count + dimension - p) / 2) * sum
  }
  return lengths
}
