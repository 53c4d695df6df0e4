import { randomUniform } from '../kernels/random.ts'
import { assignKernel } from '../kernels/kmeans.ts'
import type { Device } from '../runtime/device.ts'
import { KeeplightError } from '../runtime/errors.ts'
import { matmul } from '../runtime/ops/matmul.ts'
import { scope, type Tensor } from '../runtime/tensor.ts'

export interface KmeansOptions {
  readonly device: Device
  /** N, rows of the data. */
  readonly count: number
  /** D, length of a row. */
  readonly dimension: number
  readonly k: number
  /** Runs from different seeds; the one of lowest inertia is kept. Default 20. */
  readonly restarts?: number
  /** Most Lloyd iterations of a run. Default 300. */
  readonly iterations?: number
  readonly seed?: number
  readonly signal?: AbortSignal | undefined
}

export interface KmeansResult {
  /** [N] */
  readonly assignments: Int32Array
  /** [k, D] */
  readonly centres: Float32Array
  /** Mean squared distance of a row to its centre. */
  readonly inertia: number
  /** Lloyd iterations until no run changed an assignment. */
  readonly iterations: number
}

/** Elements of the products that are held at once: 64 MiB. */
const MAX_PRODUCTS = 2 ** 24

/**
 * Lloyd's k-means with greedy k-means++ seeding (Arthur & Vassilvitskii 2007), all restarts together on the
 * GPU: distances and sums are matrix products. An empty cluster takes the row farthest from its centre.
 *
 * @param data [N, D]
 */
export async function kmeans(data: Float32Array, options: KmeansOptions): Promise<KmeansResult> {
  const { device, count, dimension, k, restarts = 20, iterations = 300, seed = 0, signal } = options
  if (data.length !== count * dimension) {
    throw new KeeplightError(
      'validation',
      `kmeans: data has ${data.length} values, expected ${count}×${dimension}`,
    )
  }
  if (!Number.isInteger(k) || k < 1 || k > count) {
    throw new KeeplightError(
      'usage',
      `kmeans: k is ${k}, expected 1 to ${count}, the number of rows`,
    )
  }
  const rowNorms = squaredNorms(data, dimension)
  const wide = restarts * k
  const centres = new Float32Array(wide * dimension)
  for (let run = 0; run < restarts; run++) {
    const start = run * k * dimension
    seedCentres(data, { count, dimension, k, seed, stream: run }, centres.subarray(start))
  }
  const most = Math.floor(device.limits.maxStorageBufferBindingSize / (dimension * 4))
  const block = Math.max(1, Math.min(count, most, Math.floor(MAX_PRODUCTS / wide)))
  const chunks = Array.from({ length: Math.ceil(count / block) }, (_, i) => {
    const start = i * block
    const rows = Math.min(block, count - start)
    return {
      start,
      rows,
      x: device.tensor(data.subarray(start * dimension, (start + rows) * dimension), [
        rows,
        dimension,
      ]),
      norms: device.tensor(rowNorms.subarray(start, start + rows), [rows]),
    }
  })

  const assignments = new Uint32Array(count * restarts).fill(k)
  const distances = new Float32Array(count * restarts)
  let done = 0
  for (let changed = true; changed && done < iterations; done++) {
    if (signal?.aborted) throw new KeeplightError('aborted', 'kmeans: stopped')
    const sums = new Float64Array(wide * dimension)
    changed = false
    const normsOfCentres = squaredNorms(centres, dimension)
    for (const { start, rows, x, norms } of chunks) {
      const part = scope(() => {
        const targets = device.tensor(centres, [wide, dimension])
        const products = matmul(x, targets, { transposeB: true })
        const nearest = device.empty([rows, restarts], 'u32')
        const distance = device.empty([rows, restarts])
        const oneHot = device.empty([rows, wide])
        device.dispatch(
          assignKernel,
          {
            products,
            centreNorms: device.tensor(normsOfCentres, [wide]),
            rowNorms: norms,
            assignments: nearest,
            distances: distance,
            oneHot,
          },
          { rows, restarts, k },
        )
        return { nearest, distance, sums: matmul(oneHot, x, { transposeA: true }) }
      })
      const [nearest, distance, partSums] = await readAll(part.nearest, part.distance, part.sums)
      for (let i = 0; i < nearest.length; i++) {
        if (assignments[start * restarts + i] !== nearest[i]) changed = true
      }
      assignments.set(nearest, start * restarts)
      distances.set(distance, start * restarts)
      for (let i = 0; i < sums.length; i++) sums[i]! += partSums[i]!
    }
    if (changed)
      moveCentres(centres, sums, data, { assignments, distances, restarts, k, dimension })
  }
  chunks.forEach(({ x, norms }) => {
    x.dispose()
    norms.dispose()
  })

  const inertias = Array.from({ length: restarts }, (_, run) => {
    let sum = 0
    for (let row = 0; row < count; row++) sum += distances[row * restarts + run]!
    return sum / count
  })
  const best = inertias.indexOf(Math.min(...inertias))
  return {
    assignments: Int32Array.from(
      { length: count },
      (_, row) => assignments[row * restarts + best]!,
    ),
    centres: centres.slice(best * k * dimension, (best + 1) * k * dimension),
    inertia: inertias[best]!,
    iterations: done,
  }
}

async function readAll(
  nearest: Tensor<'u32'>,
  distance: Tensor<'f32'>,
  sums: Tensor<'f32'>,
): Promise<[Uint32Array, Float32Array, Float32Array]> {
  const values: [Uint32Array, Float32Array, Float32Array] = [
    await nearest.read(),
    await distance.read(),
    await sums.read(),
  ]
  for (const tensor of [nearest, distance, sums]) tensor.dispose()
  return values
}

function squaredNorms(data: Float32Array, dimension: number): Float32Array {
  return Float32Array.from({ length: data.length / dimension }, (_, row) => {
    let sum = 0
    for (let i = row * dimension; i < (row + 1) * dimension; i++) sum += data[i]! ** 2
    return sum
  })
}

/**
 * Greedy k-means++, as scikit-learn's: each next centre is the best of 2 + ⌊ln k⌋ rows drawn with
 * probability in proportion to their squared distance, best meaning the smallest sum afterwards.
 */
function seedCentres(
  data: Float32Array,
  {
    count,
    dimension,
    k,
    seed,
    stream,
  }: Record<'count' | 'dimension' | 'k' | 'seed' | 'stream', number>,
  centres: Float32Array,
): void {
  let drawn = 0
  const draw = (): number => randomUniform(seed, stream, drawn++)
  /** Squared distances of all rows to the nearest centre, were `row` one more. */
  const withCentre = (row: number, before: Float64Array | undefined): Float64Array => {
    const distances = new Float64Array(count)
    const centre = row * dimension
    for (let i = 0; i < count; i++) {
      const start = i * dimension
      let distance = 0
      for (let d = 0; d < dimension; d++) distance += (data[start + d]! - data[centre + d]!) ** 2
      distances[i] = before ? Math.min(distance, before[i]!) : distance
    }
    return distances
  }
  let row = Math.floor(draw() * count)
  let nearest = withCentre(row, undefined)
  let total = nearest.reduce((sum, distance) => sum + distance, 0)
  const trials = 2 + Math.floor(Math.log(k))
  for (let c = 0; c < k; c++) {
    centres.set(data.subarray(row * dimension, (row + 1) * dimension), c * dimension)
    if (c === k - 1) return
    let best = Infinity
    const before = nearest
    const beforeTotal = total
    for (let trial = 0; trial < trials; trial++) {
      let target = draw() * beforeTotal
      let candidate = 0
      while (candidate < count - 1 && (target -= before[candidate]!) > 0) candidate++
      const distances = withCentre(candidate, before)
      const sum = distances.reduce((all, distance) => all + distance, 0)
      if (sum < best) {
        best = sum
        row = candidate
        nearest = distances
        total = sum
      }
    }
  }
}

/** Every centre becomes the mean of its rows; an empty one the row that lies farthest from its own. */
function moveCentres(
  centres: Float32Array,
  sums: Float64Array,
  data: Float32Array,
  {
    assignments,
    distances,
    restarts,
    k,
    dimension,
  }: {
    assignments: Uint32Array
    distances: Float32Array
    restarts: number
    k: number
    dimension: number
  },
): void {
  const sizes = new Uint32Array(restarts * k)
  assignments.forEach((cluster, i) => sizes[(i % restarts) * k + cluster]!++)
  for (let c = 0; c < restarts * k; c++) {
    const size = sizes[c]!
    const start = c * dimension
    if (size > 0) {
      for (let d = 0; d < dimension; d++) centres[start + d] = sums[start + d]! / size
      continue
    }
    const run = Math.floor(c / k)
    let farthest = run
    for (let i = run; i < distances.length; i += restarts) {
      if (distances[i]! > distances[farthest]!) farthest = i
    }
    distances[farthest] = 0
    const row = Math.floor(farthest / restarts)
    centres.set(data.subarray(row * dimension, (row + 1) * dimension), start)
  }
}
