import { assertNotAborted } from '../model/ahead.ts'
import type { Device } from '../runtime/device.ts'
import { KeeplightError } from '../runtime/errors.ts'
import { l2Normalize } from '../runtime/ops/l2Normalize.ts'
import { linear } from '../runtime/ops/matmul.ts'
import { topK } from '../runtime/ops/topK.ts'
import { scope, type Tensor } from '../runtime/tensor.ts'

/** N vectors of `dimension` values, on the host. */
export interface Rows {
  readonly count: number
  readonly dimension: number
  /** [count, dimension], of any length: only directions count. */
  readonly data: Float32Array
}

export interface SearchOptions {
  /** What is searched: the features of a collection, or its images in cluster space. */
  readonly features: Rows
  /** What is looked for, of the same space. */
  readonly queries: Rows
  /** Rows to find for each query; fewer where the collection has fewer. */
  readonly k: number
  /** For each query that is of the collection itself, its row, which is left out. */
  readonly own?: readonly (number | undefined)[]
  readonly signal?: AbortSignal | undefined
}

/** The nearest rows to one query. */
export interface Found {
  /** Rows of the collection, nearest first, ties by row. */
  readonly rows: Uint32Array
  /** Their cosines to the query. */
  readonly cosines: Float32Array
  /** How far each stands out from the collection: (cosine − median) / deviation of the background. */
  readonly scores: Float32Array
  readonly background: Background
}

/** How near a query is to a collection as a whole. */
export interface Background {
  /** Median of the cosines. */
  readonly median: number
  /** From the median down to the 15.87th percentile: the deviation of a normal distribution's lower half. */
  readonly deviation: number
  /**
   * The score above which an image stands out: √(2 ln N), about the largest of N normal draws. What scores
   * less is as near as a collection of this size has by chance.
   */
  readonly cutoff: number
}

/** Rows of a part at most: 64 MiB of features of 256 values. */
const PART_ROWS = 65_536
/** Queries that go along at once. */
const QUERIES = 64
/** Rows, evenly spaced, that stand for the collection in the background. */
const SAMPLE = 16_384

/**
 * The rows of a collection that are nearest to each query by cosine, on the GPU: products and the k
 * largest of each part, of which only these are read back; no matrix of N×N.
 *
 * Cosines of features have no scale of their own, so each is also given against the background of this
 * collection. The background's spread is that below the median, where what the query is about is not.
 *
 * @returns one entry for each query
 * @throws KeeplightError `validation` for sizes that don't fit, `aborted` after `signal`
 */
export async function nearestImages(device: Device, options: SearchOptions): Promise<Found[]> {
  const { features, queries, k, own = [], signal } = options
  checkSizes(options)
  const { count: all, dimension } = features
  const height = partRows(device, dimension)
  const parts = partsOf(features, height)
  const sample = sampleOf(features, Math.min(SAMPLE, height))
  const found: Found[] = []
  for (let first = 0; first < queries.count; first += QUERIES) {
    const count = Math.min(QUERIES, queries.count - first)
    const data = queries.data.slice(first * dimension, (first + count) * dimension)
    const search = new Search(device, { count, dimension, data }, Math.min(k + 1, all))
    try {
      for (const part of parts) {
        assertNotAborted(signal)
        await search.add(part)
      }
      const some = await search.finish(sample, all)
      found.push(...some.map((each, i) => withoutRow(each, own[first + i], k)))
    } finally {
      search.dispose()
    }
  }
  return found
}

interface Part {
  readonly first: number
  readonly rows: number
  readonly data: Float32Array
}

/** Rows whose features, and whose cosines to all queries at once, fit one binding. */
function partRows({ limits }: Device, dimension: number): number {
  const values = Math.floor(limits.maxStorageBufferBindingSize / 4)
  return Math.max(1, Math.min(PART_ROWS, Math.floor(values / Math.max(dimension, QUERIES))))
}

function partsOf({ count, dimension, data }: Rows, height: number): Part[] {
  const parts: Part[] = []
  for (let first = 0; first < count; first += height) {
    const rows = Math.min(height, count - first)
    parts.push({ first, rows, data: data.subarray(first * dimension, (first + rows) * dimension) })
  }
  return parts
}

/** The k first without the query's own row. */
function withoutRow(found: Found, own: number | undefined, k: number): Found {
  const places = [...found.rows.keys()].filter((at) => found.rows[at] !== own).slice(0, k)
  return {
    rows: Uint32Array.from(places, (at) => found.rows[at]!),
    cosines: Float32Array.from(places, (at) => found.cosines[at]!),
    scores: Float32Array.from(places, (at) => found.scores[at]!),
    background: found.background,
  }
}

/** A search for some queries, part by part. */
class Search {
  readonly #device: Device
  readonly #queries: Tensor<'f32'>
  readonly #k: number
  readonly #found: { row: number; cosine: number }[][]

  constructor(device: Device, { count, dimension, data }: Rows, k: number) {
    this.#device = device
    this.#queries = scope(() => l2Normalize(device.tensor(data, [count, dimension])))
    this.#k = k
    this.#found = Array.from({ length: count }, () => [])
  }

  /** The best of a part join those of the parts before. */
  async add({ first, rows, data }: Part): Promise<void> {
    const k = Math.min(this.#k, rows)
    const best = scope(() => {
      const { values, indices } = topK(this.#cosines(data, rows), k)
      return [values, indices] as const
    })
    try {
      const [values, indices] = await Promise.all([best[0].read(), best[1].read()])
      this.#found.forEach((all, query) => {
        for (let at = query * k; at < (query + 1) * k; at++) {
          all.push({ row: first + indices[at]!, cosine: values[at]! })
        }
        // Parts come in the order of their rows, and sorting is stable: ties stay by row.
        all.sort((a, b) => b.cosine - a.cosine)
        all.length = Math.min(all.length, this.#k)
      })
    } finally {
      best.forEach((tensor) => tensor.dispose())
    }
  }

  async finish(sample: Rows, count: number): Promise<Found[]> {
    const cosines = scope(() => this.#cosines(sample.data, sample.count))
    try {
      const all = await cosines.read()
      return this.#found.map((best, query) => {
        const own = all.subarray(query * sample.count, (query + 1) * sample.count)
        const background = backgroundOf(own, count)
        const { median, deviation } = background
        return {
          rows: Uint32Array.from(best, ({ row }) => row),
          cosines: Float32Array.from(best, ({ cosine }) => cosine),
          scores: Float32Array.from(best, ({ cosine }) => (cosine - median) / deviation),
          background,
        }
      })
    } finally {
      cosines.dispose()
    }
  }

  /** [queries, rows] */
  #cosines(data: Float32Array, rows: number): Tensor<'f32'> {
    const part = this.#device.tensor(data, [rows, data.length / rows])
    return linear(this.#queries, l2Normalize(part))
  }

  dispose(): void {
    this.#queries.dispose()
  }
}

/** At most `most` rows, evenly spaced. */
function sampleOf({ count, dimension, data }: Rows, most: number): Rows {
  if (count <= most) return { count, dimension, data }
  const some = new Float32Array(most * dimension)
  for (let i = 0; i < most; i++) {
    const row = Math.floor((i * count) / most)
    some.set(data.subarray(row * dimension, (row + 1) * dimension), i * dimension)
  }
  return { count: most, dimension, data: some }
}

/** Below a normal distribution's mean less its deviation lies this share of it. */
const LOWER = 0.15865525
/** Cosines in f32 are no finer. */
const LEAST_DEVIATION = 1e-6

/**
 * The background of one query.
 *
 * @param cosines those to a sample of the collection
 * @param count images of the whole collection
 */
export function backgroundOf(cosines: Float32Array, count: number): Background {
  const sorted = cosines.slice().sort()
  const at = (share: number): number => sorted[Math.floor(share * (sorted.length - 1))]!
  const median = at(0.5)
  return {
    median,
    deviation: Math.max(median - at(LOWER), LEAST_DEVIATION),
    cutoff: Math.sqrt(2 * Math.log(Math.max(count, 2))),
  }
}

function checkSizes({ features, queries, k }: SearchOptions): void {
  const problem =
    features.dimension !== queries.dimension
      ? `queries have ${queries.dimension} values, the collection ${features.dimension}; embed both ` +
        'with one model'
      : features.count === 0
        ? 'the collection is empty'
        : !Number.isInteger(k) || k < 1
          ? `k is ${k}, expected a whole number from 1`
          : undefined
  if (problem) throw new KeeplightError('validation', `nearestImages: ${problem}`)
}

/**
 * Rows in which images are near when a head sorts them alike: their logits, each less its mean, which a
 * softmax does not see. Unlike probabilities they still tell images of one cluster apart.
 *
 * @param logits [count, k]
 */
export function clusterSpace(logits: Float32Array, k: number): Rows {
  const data = new Float32Array(logits.length)
  for (let start = 0; start < logits.length; start += k) {
    let sum = 0
    for (let j = 0; j < k; j++) sum += logits[start + j]!
    for (let j = 0; j < k; j++) data[start + j] = logits[start + j]! - sum / k
  }
  return { count: logits.length / k, dimension: k, data }
}
