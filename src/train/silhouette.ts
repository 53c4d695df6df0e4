import { normalizeRows } from '../model/features.ts'
import type { Device } from '../runtime/device.ts'
import { KeeplightError } from '../runtime/errors.ts'
import { add, maximum, reshape, scale, sqrt, subtract } from '../runtime/ops/elementwise.ts'
import { gather } from '../runtime/ops/gather.ts'
import { matmul } from '../runtime/ops/matmul.ts'
import { withRecovery } from '../runtime/recovery.ts'
import { scope, type Tensor } from '../runtime/tensor.ts'
import { inertiaOf } from './predictRuns.ts'

export interface SilhouetteOptions {
  readonly device: Device
  /** N, rows of the data. */
  readonly count: number
  /** D, length of a row. */
  readonly dimension: number
  /** Distance between rows; the cosine distance is that of normalised rows. Default `euclidean`. */
  readonly metric?: 'euclidean' | 'cosine'
}

/** Distances that exist at a time: 32 MiB. */
const BLOCK_DISTANCES = 2 ** 23

/**
 * Mean silhouettes of several partitions of the same rows (Rousseeuw 1987): (b − a)/max(a, b), where a
 * is a row's mean distance to the others of its cluster and b that to the nearest other cluster; 0 for
 * a row alone in its cluster.
 *
 * Every distance is computed once for all partitions, in blocks of rows on the GPU: sums over clusters
 * are a product with the partitions' indicator columns, so N×N distances are never stored. Distances come
 * from products, so those far below the data's spread are less exact.
 *
 * @param data [N, D]
 * @param partitions clusters of the rows, from 0, [N] each
 * @returns −1 to 1 for each partition; NaN where it has fewer than two clusters, or only single rows
 */
export async function silhouettes(
  data: Float32Array,
  partitions: readonly ArrayLike<number>[],
  options: SilhouetteOptions,
): Promise<number[]> {
  check(data, partitions, options)
  const { device, count } = options
  const columns = partitions.map(indicatorColumns)
  const width = columns.reduce((sum, { sizes }) => sum + sizes.length, 0)
  const indicator = new Float32Array(count * width)
  let first = 0
  for (const { cluster, sizes } of columns) {
    for (let row = 0; row < count; row++) indicator[row * width + first + cluster[row]!] = 1
    first += sizes.length
  }
  const sums = await withRecovery(device, () =>
    distanceSums(centred(data, options), indicator, width, options),
  )
  first = 0
  return columns.map(({ cluster, sizes }) => {
    const value = meanSilhouette(sums, cluster, sizes, first, width)
    first += sizes.length
    return value
  })
}

function check(
  data: Float32Array,
  partitions: readonly ArrayLike<number>[],
  { count, dimension }: SilhouetteOptions,
): void {
  const wrong = partitions.find((partition) => partition.length !== count)
  if (data.length !== count * dimension || wrong) {
    throw new KeeplightError(
      'validation',
      `silhouettes: got ${data.length} values and ${wrong?.length ?? count} clusters, expected ` +
        `${count}×${dimension} and ${count}`,
    )
  }
}

interface Columns {
  /** Place of each row's cluster among those that occur. */
  readonly cluster: Int32Array
  readonly sizes: readonly number[]
}

function indicatorColumns(partition: ArrayLike<number>): Columns {
  const place = new Map<number, number>()
  const sizes: number[] = []
  const cluster = Int32Array.from(partition, (value) => {
    const at = place.get(value) ?? place.set(value, place.size).size - 1
    sizes[at] = (sizes[at] ?? 0) + 1
    return at
  })
  return { cluster, sizes }
}

/** Rows about their mean, which distances don't see but the rounding of products does. */
function centred(
  data: Float32Array,
  { count, dimension, metric }: SilhouetteOptions,
): Float32Array<ArrayBuffer> {
  const rows = Float32Array.from(data)
  // Half the squared distance of rows of length 1 is 1 − cosine.
  if (metric === 'cosine') normalizeRows(rows, dimension)
  for (let d = 0; d < dimension; d++) {
    let mean = 0
    for (let row = 0; row < count; row++) mean += data[row * dimension + d]! / count
    for (let row = 0; row < count; row++) rows[row * dimension + d]! -= mean
  }
  return rows
}

/** [N, width]: sums of each row's distances to the rows of each indicator column. */
async function distanceSums(
  rows: Float32Array,
  indicator: Float32Array,
  width: number,
  { device, count, dimension, metric = 'euclidean' }: SilhouetteOptions,
): Promise<Float32Array> {
  const sums = new Float32Array(count * width)
  const held: Tensor[] = []
  const hold = (data: Float32Array, shape: readonly number[]): Tensor<'f32'> => {
    const tensor = device.tensor(data, shape)
    held.push(tensor)
    return tensor
  }
  try {
    const x = hold(rows, [count, dimension])
    const members = hold(indicator, [count, width])
    const squares = squaredLengths(rows, dimension)
    const across = hold(squares, [1, count])
    const block = Math.max(1, Math.min(count, Math.floor(BLOCK_DISTANCES / count)))
    for (let start = 0; start < count; start += block) {
      const height = Math.min(block, count - start)
      const found = scope(() => {
        const part = rows.subarray(start * dimension, (start + height) * dimension)
        const products = matmul(device.tensor(part, [height, dimension]), x, { transposeB: true })
        const own = device.tensor(squares.slice(start, start + height), [height, 1])
        const squared = subtract(add(own, across), scale(products, 2))
        const positive = maximum(squared, device.tensor(new Float32Array(1), [1]))
        const distances = metric === 'cosine' ? scale(positive, 0.5) : sqrt(positive)
        const diagonal = Uint32Array.from({ length: height }, (_, i) => i * count + start + i)
        const flat = reshape(distances, [height * count])
        return {
          sums: matmul(distances, members),
          selves: gather(flat, device.tensor(diagonal, [height])),
        }
      })
      device.flush()
      try {
        const block = await found.sums.read()
        // A row's distance to itself is 0, of which rounding leaves a trace.
        const selves = await found.selves.read()
        for (let i = 0; i < block.length; i++) {
          const row = Math.floor(i / width)
          const at = (start + row) * width + (i % width)
          sums[at] = block[i]! - indicator[at]! * selves[row]!
        }
      } finally {
        found.sums.dispose()
        found.selves.dispose()
      }
    }
    return sums
  } finally {
    held.forEach((tensor) => tensor.dispose())
  }
}

function squaredLengths(rows: Float32Array, dimension: number): Float32Array<ArrayBuffer> {
  return Float32Array.from({ length: rows.length / dimension }, (_, row) => {
    let sum = 0
    for (let i = row * dimension; i < (row + 1) * dimension; i++) sum += rows[i]! ** 2
    return sum
  })
}

/** The mean for one partition, whose columns of `sums` [N, width] begin at `first`. */
function meanSilhouette(
  sums: Float32Array,
  cluster: Int32Array,
  sizes: readonly number[],
  first: number,
  width: number,
): number {
  const count = cluster.length
  if (sizes.length < 2 || sizes.length === count) return NaN
  let total = 0
  for (let row = 0; row < count; row++) {
    const own = cluster[row]!
    if (sizes[own] === 1) continue
    const at = row * width + first
    const within = sums[at + own]! / (sizes[own]! - 1)
    let nearest = Infinity
    for (let c = 0; c < sizes.length; c++) {
      if (c !== own) nearest = Math.min(nearest, sums[at + c]! / sizes[c]!)
    }
    const larger = Math.max(within, nearest)
    if (larger > 0) total += (nearest - within) / larger
  }
  return total / count
}

/**
 * Calinski and Harabasz's index (1974): [B/(K − 1)] / [W/(N − K)], where W is the sum of squared distances
 * to the clusters' means and B that of the means to the mean of all, by size. In f64.
 *
 * @param data [N, dimension]
 * @returns NaN where fewer than two clusters, or only single rows
 */
export function calinskiHarabasz(
  data: Float32Array,
  dimension: number,
  partition: ArrayLike<number>,
): number {
  const { cluster, sizes } = indicatorColumns(partition)
  const [count, k] = [cluster.length, sizes.length]
  if (k < 2 || k === count) return NaN
  const within = inertiaOf(data, dimension, cluster, k)
  const all = inertiaOf(data, dimension, new Int32Array(count), 1)
  return (all - within) / (k - 1) / (within / (count - k))
}
