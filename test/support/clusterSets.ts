import { randomNormal, randomUniform } from '../../src/kernels/random.ts'
import type { FeatureRows } from '../../src/train/codingLength.ts'

/** Made features whose clusters are known. */
export interface ClusterSet extends FeatureRows {
  readonly labels: Int32Array
  readonly k: number
}

interface Shape {
  readonly seed: number
  readonly k: number
  readonly count: number
  readonly dimension: number
  /** Share of cluster j, not normalised. Default equal. */
  readonly weight?: (cluster: number) => number
}

/** Standard normal numbers, [n], of a stream of their own. */
const normals = (seed: number, stream: number, n: number): Float64Array =>
  Float64Array.from({ length: n }, (_, i) => randomNormal(seed, stream, i))

function makeSet(
  { seed, k, count, dimension, weight = () => 1 }: Shape,
  point: (cluster: number, noise: Float64Array, at: number) => number,
): ClusterSet {
  const weights = Array.from({ length: k }, (_, j) => weight(j))
  const total = weights.reduce((sum, w) => sum + w, 0)
  const labels = new Int32Array(count)
  const data = new Float32Array(count * dimension)
  for (let i = 0; i < count; i++) {
    let rest = randomUniform(seed, 1, i) * total
    let cluster = 0
    while (cluster < k - 1 && rest >= weights[cluster]!) rest -= weights[cluster++]!
    labels[i] = cluster
    const noise = normals(seed, 1000 + i, dimension)
    for (let d = 0; d < dimension; d++) data[i * dimension + d] = point(cluster, noise, d)
  }
  return { count, dimension, data, labels, k }
}

/** Round clusters about random centres; `spread` is their deviation beside that of the centres. */
export function blobs(shape: Shape, spread: number): ClusterSet {
  const { seed, k, dimension } = shape
  const centres = normals(seed, 2, k * dimension)
  return makeSet(shape, (cluster, noise, d) => {
    return centres[cluster * dimension + d]! + spread * noise[d]!
  })
}

/** Clusters of unequal sizes, e² : 1, each stretched along its own directions. */
export function stretched(shape: Shape, spread: number): ClusterSet {
  const { seed, k, dimension } = shape
  const centres = normals(seed, 2, k * dimension)
  const lengths = normals(seed, 3, k * dimension).map((x) => spread * Math.exp(0.6 * x))
  const mixing = normals(seed, 4, k * dimension * dimension)
  const weight = (cluster: number): number => Math.exp((-2 * cluster) / (k - 1))
  return makeSet({ ...shape, weight }, (cluster, noise, d) => {
    let sum = centres[cluster * dimension + d]!
    for (let e = 0; e < dimension; e++) {
      const direction = mixing[(cluster * dimension + e) * dimension + d]! / Math.sqrt(dimension)
      sum += direction * lengths[cluster * dimension + e]! * noise[e]!
    }
    return sum
  })
}

/** Clusters that are random subspaces of `rank` dimensions through the origin, with a little noise. */
export function subspaces(shape: Shape, rank: number, spread: number): ClusterSet {
  const { seed, k, dimension } = shape
  const bases = normals(seed, 2, k * rank * dimension)
  return makeSet(shape, (cluster, noise, d) => {
    let sum = spread * noise[d]!
    for (let r = 0; r < rank; r++) {
      const basis = bases[(cluster * rank + r) * dimension + d]! / Math.sqrt(dimension)
      sum += basis * noise[r]!
    }
    return sum
  })
}
