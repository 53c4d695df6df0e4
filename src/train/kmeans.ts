import { SEED_BLOCK } from '../kernels/kmeans.ts'
import type { Device } from '../runtime/device.ts'
import { KeeplightError } from '../runtime/errors.ts'
import { nearestCentre } from '../runtime/ops/distance.ts'
import { withRecovery } from '../runtime/recovery.ts'
import { scope } from '../runtime/tensor.ts'
import { seedCentres, type Chunk } from './kmeansSeeding.ts'

export interface KmeansOptions {
  readonly device: Device
  /** N, rows of the data. */
  readonly count: number
  /** D, length of a row. */
  readonly dimension: number
  readonly k: number
  /** Runs from different seeds; the one of lowest inertia is kept. Default 20. */
  readonly restarts?: number
  /** [restarts·k, D]: centres to start from in place of drawn ones; `restarts` is 1 by default then. */
  readonly initial?: Float32Array
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

/** Differences that one dispatch computes at most: a second or so on a CPU, milliseconds on a GPU. */
const MAX_WORK = 2 ** 33

/**
 * Lloyd's k-means with greedy k-means++ seeding (Arthur & Vassilvitskii 2007), all restarts together.
 *
 * The GPU seeds and assigns. Sums of clusters are kept on the host in f64 and follow the rows that
 * changed their cluster, few after the first iterations. An empty cluster takes the row farthest from
 * its centre. After a loss of the device it is recovered, and the step in progress starts again.
 *
 * @param data [N, D]
 */
export async function kmeans(data: Float32Array, options: KmeansOptions): Promise<KmeansResult> {
  const { clusters, iterations } = await runAll(data, options)
  const { inertias } = clusters
  return { ...clusters.result(inertias.indexOf(Math.min(...inertias))), iterations }
}

/** All runs of {@link kmeans}, in the order of their inertia, best first; equal ones by number. */
export async function kmeansRuns(
  data: Float32Array,
  options: KmeansOptions,
): Promise<KmeansResult[]> {
  const { clusters, iterations } = await runAll(data, options)
  const { inertias } = clusters
  const order = inertias.map((_, run) => run).sort((a, b) => inertias[a]! - inertias[b]! || a - b)
  return order.map((run) => ({ ...clusters.result(run), iterations }))
}

async function runAll(
  data: Float32Array,
  options: KmeansOptions,
): Promise<{ clusters: Clusters; iterations: number }> {
  const { device, count, dimension, k, initial, iterations = 300, seed = 0, signal } = options
  const { restarts = initial ? 1 : 20 } = options
  check(data, options, restarts)
  const chunks = upload(device, data, count, dimension, restarts * k)
  try {
    const centres =
      initial?.slice() ??
      (await withRecovery(device, () => seeded(device, data, chunks, options, restarts, seed), {
        signal,
      }))
    const clusters = new Clusters(data, centres, { count, dimension, k, restarts })
    let done = 0
    while (clusters.active.length > 0 && done < iterations) {
      if (signal?.aborted) throw new KeeplightError('aborted', 'kmeans: stopped')
      // What a step that was cut short has assigned already, the next one assigns alike.
      await withRecovery(device, () => assign(device, chunks, clusters), { signal })
      clusters.move()
      done++
    }
    return { clusters, iterations: done }
  } finally {
    chunks.forEach(({ x }) => x.dispose())
  }
}

function check(
  data: Float32Array,
  { count, dimension, k, initial }: KmeansOptions,
  restarts: number,
): void {
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
  if (!Number.isInteger(restarts) || restarts < 1) {
    throw new KeeplightError('usage', `kmeans: restarts is ${restarts}, expected 1 or more`)
  }
  if (initial && initial.length !== restarts * k * dimension) {
    throw new KeeplightError(
      'validation',
      `kmeans: initial has ${initial.length} values, expected ${restarts}×${k}×${dimension}`,
    )
  }
}

/** The data in chunks that fit one binding, with their results, and that no dispatch takes too long over. */
function upload(
  device: Device,
  data: Float32Array,
  count: number,
  dimension: number,
  centres: number,
): Chunk[] {
  const widest = Math.max(dimension, centres)
  const fitting = Math.floor(device.limits.maxStorageBufferBindingSize / (widest * 4))
  const quick = Math.ceil(MAX_WORK / (centres * dimension))
  const most = Math.max(1, Math.floor(Math.min(fitting, quick) / SEED_BLOCK)) * SEED_BLOCK
  const chunks: Chunk[] = []
  for (let start = 0; start < count; start += most) {
    const rows = Math.min(most, count - start)
    const part = data.subarray(start * dimension, (start + rows) * dimension)
    chunks.push({ start, rows, x: device.constant(part, [rows, dimension]) })
  }
  return chunks
}

async function seeded(
  device: Device,
  data: Float32Array,
  chunks: readonly Chunk[],
  { count, dimension, k }: KmeansOptions,
  restarts: number,
  seed: number,
): Promise<Float32Array> {
  const centres = seedCentres(device, data, chunks, { count, dimension, k, restarts, seed })
  try {
    return await centres.read()
  } finally {
    centres.dispose()
  }
}

/** One assignment step of the runs that still change. */
async function assign(device: Device, chunks: readonly Chunk[], clusters: Clusters): Promise<void> {
  const { k, dimension } = clusters.sizes
  const restarts = clusters.active.length
  const found = scope(() => {
    const centres = device.tensor(clusters.activeCentres(), [restarts * k, dimension])
    return chunks.map(({ x }) => {
      const nearest = nearestCentre(x, centres, { restarts })
      device.flush()
      return nearest
    })
  })
  try {
    for (const [i, { nearest, squared }] of found.entries()) {
      clusters.assign(chunks[i]!.start, await nearest.read(), await squared.read())
    }
  } finally {
    found.forEach((results) => Object.values(results).forEach((tensor) => tensor.dispose()))
  }
}

interface Sizes {
  readonly count: number
  readonly dimension: number
  readonly k: number
  readonly restarts: number
}

/** Centres of all restarts, with the sums and numbers of their rows. */
class Clusters {
  readonly sizes: Sizes
  /** [restarts·k, D] */
  readonly centres: Float32Array<ArrayBuffer>
  /** Runs whose last step changed an assignment. */
  active: readonly number[]
  /** [N, restarts]: squared distances to the nearest centres. */
  readonly #squared: Float32Array
  readonly #data: Float32Array
  /** [N, restarts]; k: in no cluster yet. */
  readonly #assignments: Uint32Array
  readonly #sums: Float64Array
  readonly #members: Uint32Array
  readonly #changed = new Set<number>()

  constructor(data: Float32Array, centres: Float32Array, sizes: Sizes) {
    const { count, k, restarts } = sizes
    this.sizes = sizes
    this.#data = data
    this.centres = Float32Array.from(centres)
    this.active = Array.from({ length: restarts }, (_, run) => run)
    this.#squared = new Float32Array(count * restarts)
    this.#assignments = new Uint32Array(count * restarts).fill(k)
    this.#sums = new Float64Array(centres.length)
    this.#members = new Uint32Array(restarts * k)
  }

  /** [active·k, D]: the centres of the runs that still change. */
  activeCentres(): Float32Array {
    const size = this.sizes.k * this.sizes.dimension
    const centres = new Float32Array(this.active.length * size)
    this.active.forEach((run, i) => {
      centres.set(this.centres.subarray(run * size, (run + 1) * size), i * size)
    })
    return centres
  }

  /** Takes the clusters of the rows from `start` on in the runs that still change: [rows, active]. */
  assign(start: number, nearest: Uint32Array, squared: Float32Array): void {
    const { restarts, k } = this.sizes
    const width = this.active.length
    for (let i = 0; i < nearest.length; i++) {
      const row = start + Math.floor(i / width)
      const run = this.active[i % width]!
      const item = row * restarts + run
      this.#squared[item] = squared[i]!
      const [before, after] = [this.#assignments[item]!, nearest[i]!]
      if (before === after) continue
      this.#changed.add(run)
      this.#assignments[item] = after
      if (before < k) this.#add(row, run * k + before, -1)
      this.#add(row, run * k + after, 1)
    }
  }

  #add(row: number, cluster: number, sign: 1 | -1): void {
    const { dimension } = this.sizes
    this.#members[cluster]! += sign
    const [from, to] = [row * dimension, cluster * dimension]
    for (let d = 0; d < dimension; d++) this.#sums[to + d]! += sign * this.#data[from + d]!
  }

  /**
   * Ends a step: in runs that changed, every centre becomes the mean of its rows, an empty one the row
   * that lies farthest from its own. The other runs are done.
   */
  move(): void {
    const { dimension, k } = this.sizes
    this.active = this.active.filter((run) => this.#changed.has(run))
    this.#changed.clear()
    for (const run of this.active) {
      for (let c = run * k; c < (run + 1) * k; c++) {
        const members = this.#members[c]!
        const start = c * dimension
        if (members > 0) {
          for (let d = 0; d < dimension; d++) {
            this.centres[start + d] = this.#sums[start + d]! / members
          }
        } else {
          const row = this.#takeFarthest(run)
          this.centres.set(this.#data.subarray(row * dimension, (row + 1) * dimension), start)
        }
      }
    }
  }

  #takeFarthest(run: number): number {
    const { restarts } = this.sizes
    let farthest = run
    for (let i = run; i < this.#squared.length; i += restarts) {
      if (this.#squared[i]! > this.#squared[farthest]!) farthest = i
    }
    this.#squared[farthest] = 0
    return Math.floor(farthest / restarts)
  }

  /** Mean squared distance of a row to its centre, of each restart. */
  get inertias(): number[] {
    const { count, restarts } = this.sizes
    return Array.from({ length: restarts }, (_, run) => {
      let sum = 0
      for (let row = 0; row < count; row++) sum += this.#squared[row * restarts + run]!
      return sum / count
    })
  }

  /** One restart's clusters. */
  result(run: number): Omit<KmeansResult, 'iterations'> {
    const { count, dimension, k, restarts } = this.sizes
    return {
      assignments: Int32Array.from(
        { length: count },
        (_, row) => this.#assignments[row * restarts + run]!,
      ),
      centres: this.centres.slice(run * k * dimension, (run + 1) * k * dimension),
      inertia: this.inertias[run]!,
    }
  }
}
