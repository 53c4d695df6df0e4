import type { Device } from '../runtime/device.ts'
import { matmul } from '../runtime/ops/matmul.ts'
import { randomNormal } from '../kernels/random.ts'
import { scope } from '../runtime/tensor.ts'

/** Iterations on the covariance at most; a gap of 5 % between variances is resolved by then. */
const ITERATIONS = 300
/** Largest change of an axis's entry that ends the iteration. */
const STILL = 1e-10
const STREAM = 77

export interface PrincipalComponents {
  /** [N, components]: projections of the centred rows. */
  readonly scores: Float64Array
  /** Standard deviation of each component, descending. */
  readonly deviations: readonly number[]
}

/**
 * The first principal components of data, for a start of t-SNE: the covariance on the GPU, orthogonal
 * iteration on the host in f64 from a fixed start. Each axis is turned so that its largest entry is
 * above 0. Axes of nearly equal variance may be mixed.
 *
 * @param data [count, dimension]
 */
export async function principalComponents(
  device: Device,
  data: Float32Array,
  { count, dimension, components }: { count: number; dimension: number; components: number },
): Promise<PrincipalComponents> {
  const centred = centre(data, dimension)
  const covariance = await covarianceOf(device, centred, count, dimension)
  const axes = iterate(covariance, dimension, components)
  const scores = new Float64Array(count * components)
  for (let row = 0; row < count; row++) {
    for (const [c, axis] of axes.entries()) {
      let sum = 0
      for (let d = 0; d < dimension; d++) sum += centred[row * dimension + d]! * axis[d]!
      scores[row * components + c] = sum
    }
  }
  const deviations = axes.map((_, c) => {
    let squares = 0
    for (let row = 0; row < count; row++) squares += scores[row * components + c]! ** 2
    return Math.sqrt(squares / count)
  })
  return { scores, deviations }
}

function centre(data: Float32Array, dimension: number): Float32Array<ArrayBuffer> {
  const count = data.length / dimension
  const means = new Float64Array(dimension)
  for (let i = 0; i < data.length; i++) means[i % dimension]! += data[i]! / count
  return Float32Array.from(data, (value, i) => value - means[i % dimension]!)
}

async function covarianceOf(
  device: Device,
  centred: Float32Array,
  count: number,
  dimension: number,
): Promise<Float64Array> {
  const product = scope(() => {
    const x = device.tensor(centred, [count, dimension])
    return matmul(x, x, { transposeA: true })
  })
  try {
    return Float64Array.from(await product.read(), (value) => value / count)
  } finally {
    product.dispose()
  }
}

/** Orthogonal iteration; axes past the rank are 0. */
function iterate(matrix: Float64Array, size: number, components: number): Float64Array[] {
  let axes: Float64Array[] = Array.from({ length: components }, (_, c) =>
    Float64Array.from({ length: size }, (__, d) => randomNormal(c, STREAM, d)),
  )
  const scale = Math.max(...Array.from({ length: size }, (_, d) => matrix[d * size + d]!))
  for (let i = 0; i < ITERATIONS; i++) {
    const images = axes.map((axis) => multiply(matrix, axis))
    const next = orthonormal(images, scale * 1e-9)
    const still = next.every((axis, c) =>
      axis.every((value, d) => Math.abs(value - axes[c]![d]!) < STILL),
    )
    axes = next
    if (still) break
  }
  return axes.map(turn)
}

function multiply(matrix: Float64Array, vector: Float64Array): Float64Array {
  const size = vector.length
  return vector.map((_, row) => {
    let sum = 0
    for (let d = 0; d < size; d++) sum += matrix[row * size + d]! * vector[d]!
    return sum
  })
}

/** Gram-Schmidt; vectors that are no longer than `least` become 0. */
function orthonormal(vectors: readonly Float64Array[], least: number): Float64Array[] {
  const done: Float64Array[] = []
  for (const vector of vectors) {
    let rest = vector
    for (const axis of done) {
      const along = dot(rest, axis)
      rest = rest.map((value, d) => value - along * axis[d]!)
    }
    const length = Math.sqrt(dot(rest, rest))
    done.push(rest.map((value) => (length > least ? value / length : 0)))
  }
  return done
}

const dot = (a: Float64Array, b: Float64Array): number =>
  a.reduce((sum, value, d) => sum + value * b[d]!, 0)

function turn(axis: Float64Array): Float64Array {
  const largest = axis.reduce((best, value) => (Math.abs(value) > Math.abs(best) ? value : best), 0)
  return largest < 0 ? axis.map((value) => -value) : axis
}
