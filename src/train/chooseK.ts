import { normalizeRows } from '../model/features.ts'
import type { Device } from '../runtime/device.ts'
import { KeeplightError } from '../runtime/errors.ts'
import {
  clusterMoments,
  DISTORTION,
  makeCoder,
  partitionLengths,
  type Coder,
  type FeatureRows,
  type Moments,
} from './codingLength.ts'
import { kmeansRuns } from './kmeans.ts'
import { mergeClusters } from './mergeClusters.ts'
import { adjustedRandIndex } from './metrics.ts'
import { calinskiHarabasz, silhouettes } from './silhouette.ts'

export interface ChooseKOptions {
  readonly device: Device
  /** Numbers of clusters to try, ascending. Default {@link defaultRange}. */
  readonly range?: readonly number[]
  /** Partitions of each number, from different seeds. Default 5. */
  readonly restarts?: number
  readonly seed?: number
  /** Most rows that are looked at, evenly spaced. Default 10,000. */
  readonly sample?: number
  /** ε, the squared distortion of the code. Default 0.1. */
  readonly epsilon?: number
  readonly signal?: AbortSignal | undefined
  readonly onProgress?: (done: number, total: number) => void
}

/** What is known of one number of clusters. */
export interface KScore {
  readonly k: number
  /** Nats: mean over the partitions, and their standard deviation. */
  readonly codingLength: number
  readonly codingLengthDeviation: number
  /** Mean adjusted Rand index between the partitions: 1 when all restarts find the same. */
  readonly stability: number
  /** Standard error of `stability`. */
  readonly stabilityError: number
  /** Of k-means' best run; Euclidean distances of at most 5,000 rows. */
  readonly silhouette: number
  readonly calinskiHarabasz: number
}

export interface ChooseKResult {
  readonly k: number
  readonly curve: readonly KScore[]
  /** Numbers whose code is as short as the shortest, within its standard deviation. */
  readonly candidates: readonly number[]
  /** Code length of the features as one cluster. */
  readonly single: number
  /** Whether any partition's code is shorter than `single`: otherwise the features show no clusters. */
  readonly structured: boolean
  /** Which partitions have the shorter codes, and are what the curve shows. */
  readonly partitions: 'k-means' | 'merged'
  /** In how many principal directions clusters have codes of their own. */
  readonly directions: number
  readonly sample: number
  readonly restarts: number
}

/** Principal directions at most in which clusters may have codes of their own. */
const MAX_DIRECTIONS = 192
/** The same while clusters are merged, which takes thousands of determinants. */
const MERGE_DIRECTIONS = 128
const SILHOUETTE_ROWS = 5_000

/**
 * Chooses the number of clusters of features without labels, from one set of features.
 *
 * For each K, k-means gives several partitions; others come from merging k-means' smallest clusters by
 * coding length. The number of leading principal directions in which clusters have codes of their own is
 * chosen along with K, as that of the shortest code. That K is the result, unless among those whose codes
 * are about as short (within its standard deviation over restarts) restarts agree clearly more on another.
 * docs/choosing-k.md says why, and where it fails.
 *
 * @throws KeeplightError `usage` when there are too few rows, or the range has no number for them
 */
export async function chooseK(
  { count, dimension, data }: FeatureRows,
  options: ChooseKOptions,
): Promise<ChooseKResult> {
  const { device, restarts = 5, seed = 0, epsilon = DISTORTION, signal } = options
  if (data.length !== count * dimension) {
    throw new KeeplightError(
      'validation',
      `chooseK: data has ${data.length} values, expected ${count}×${dimension}`,
    )
  }
  if (!Number.isInteger(restarts) || restarts < 2) {
    throw new KeeplightError('usage', `chooseK: restarts is ${restarts}, expected 2 or more`)
  }
  const rows = evenRows({ count, dimension, data }, options.sample ?? 10_000)
  normalizeRows(rows.data, dimension)
  const range = checkRange(options.range ?? defaultRange(rows.count), rows.count)
  const total = range.length + restarts
  let done = 0
  const step = async (): Promise<void> => {
    options.onProgress?.(++done, total)
    // The host's part is long: in a page, others get their turn.
    await new Promise((resolve) => setTimeout(resolve))
    if (signal?.aborted) throw new KeeplightError('aborted', 'chooseK: stopped')
  }

  const coder = await makeCoder(device, rows, epsilon, Math.min(dimension, MAX_DIRECTIONS))
  try {
    const scan: Partitions[] = []
    let last: Moments[][] = []
    for (const k of range) {
      const settings = { device, count: rows.count, dimension, k, restarts, seed, signal }
      const runs = (await kmeansRuns(rows.data, settings)).map((run) => run.assignments)
      last = []
      for (const run of runs) last.push(await clusterMoments(coder.z, run))
      scan.push({ k, runs, lengths: last.map((moments) => partitionLengths(moments, coder)) })
      await step()
    }
    const byKmeans = shortest(scan)
    const merged = range.map((k): Partitions => ({ k, runs: [], lengths: [] }))
    for (const [i, moments] of last.entries()) {
      addMerged(merged, scan.at(-1)!.runs[i]!, moments, coder, byKmeans.directions)
      await step()
    }
    const byMerging = shortest(merged)
    const useMerged = byMerging.length < byKmeans.length
    const { directions } = useMerged ? byMerging : byKmeans
    const whole = await clusterMoments(coder.z, new Uint8Array(rows.count))
    const single = partitionLengths(whole, coder)[directions - 1]!
    const best = scan.map(({ runs }) => runs[0]!)
    const indices = await otherIndices(rows, best, device)
    const curve = describe(useMerged ? merged : scan, directions, indices)
    const { k, candidates } = decide(curve)
    return {
      ...{ k, candidates, curve, single, directions, restarts },
      structured: Math.min(...curve.map(({ codingLength }) => codingLength)) < single,
      partitions: useMerged ? 'merged' : 'k-means',
      sample: rows.count,
    }
  } finally {
    coder.z.dispose()
  }
}

/** Every number to 14, then steps of a tenth, to √(N/2) and at most 50. */
export function defaultRange(count: number): number[] {
  const most = Math.max(2, Math.min(50, Math.floor(Math.sqrt(count / 2))))
  const range: number[] = []
  for (let k = 2; k < most; k += Math.max(1, Math.floor(k / 8))) range.push(k)
  range.push(most)
  return range
}

function checkRange(range: readonly number[], count: number): readonly number[] {
  const fine = range.filter((k) => Number.isInteger(k) && k >= 2 && k < count)
  const rising = fine.every((k, i) => i === 0 || k > fine[i - 1]!)
  if (fine.length === 0 || fine.length < range.length || !rising) {
    throw new KeeplightError(
      'usage',
      `chooseK: range is [${range.join(', ')}], expected rising whole numbers from 2 to ` +
        `${count - 1}, one less than there are rows`,
    )
  }
  return fine
}

/** Some rows of all, evenly spaced. */
export interface Sample extends FeatureRows {
  /** [count]: which rows they are. */
  readonly rows: Uint32Array
}

/** Every n-th row, so that no more than `limit` remain; always a copy. */
export function evenRows({ count: all, dimension, data }: FeatureRows, limit: number): Sample {
  const count = Math.min(all, limit)
  const rows = Uint32Array.from({ length: count }, (_, i) => Math.floor((i * all) / count))
  const kept = new Float32Array(count * dimension)
  rows.forEach((row, i) => {
    kept.set(data.subarray(row * dimension, (row + 1) * dimension), i * dimension)
  })
  return { count, dimension, data: kept, rows }
}

/** Several partitions into k clusters, and their lengths by number of directions. */
interface Partitions {
  readonly k: number
  readonly runs: Int32Array[]
  readonly lengths: Float64Array[]
}

/** Adds to each k what merging the clusters of one partition gives there. */
function addMerged(
  partitions: readonly Partitions[],
  from: Int32Array,
  moments: readonly Moments[],
  coder: Coder,
  directions: number,
): void {
  const path = mergeClusters(moments, coder, Math.min(directions, MERGE_DIRECTIONS))
  const place = new Map([...new Set(from)].sort((a, b) => a - b).map((value, i) => [value, i]))
  for (const { k, runs, lengths } of partitions) {
    const names = path[Math.min(k, path.length) - 1]!
    lengths.push(partitionLengths(joinMoments(moments, names), coder))
    runs.push(from.map((cluster) => names[place.get(cluster)!]!))
  }
}

function joinMoments(moments: readonly Moments[], names: Int32Array): Moments[] {
  const joint: { size: number; products: Float64Array }[] = []
  moments.forEach(({ size, products }, i) => {
    const target = (joint[names[i]!] ??= {
      size: 0,
      products: new Float64Array(products.length),
    })
    target.size += size
    for (let at = 0; at < products.length; at++) target.products[at]! += products[at]!
  })
  return joint
}

/** The number of directions, and the length, of the code that is shortest over all k, by means. */
function shortest(partitions: readonly Partitions[]): { directions: number; length: number } {
  let best = { directions: 1, length: Infinity }
  for (const { lengths } of partitions) {
    for (let p = 0; p < lengths[0]!.length; p++) {
      const length = mean(lengths.map((of) => of[p]!))
      if (length < best.length) best = { directions: p + 1, length }
    }
  }
  return best
}

async function otherIndices(
  rows: FeatureRows,
  partitions: readonly Int32Array[],
  device: Device,
): Promise<Pick<KScore, 'silhouette' | 'calinskiHarabasz'>[]> {
  const { dimension } = rows
  const sample = evenRows(rows, SILHOUETTE_ROWS)
  const sampled = partitions.map((partition) =>
    Int32Array.from(sample.rows, (row) => partition[row]!),
  )
  const { count, data } = sample
  const found = await silhouettes(data, sampled, { device, count, dimension })
  return partitions.map((partition, i) => ({
    silhouette: found[i]!,
    calinskiHarabasz: calinskiHarabasz(rows.data, dimension, partition),
  }))
}

function describe(
  partitions: readonly Partitions[],
  directions: number,
  indices: readonly Pick<KScore, 'silhouette' | 'calinskiHarabasz'>[],
): KScore[] {
  return partitions.map(({ k, runs, lengths }, i) => {
    const values = lengths.map((of) => of[directions - 1]!)
    const codingLength = mean(values)
    const codingLengthDeviation = deviation(values)
    const pairs = runs.flatMap((a, j) => runs.slice(0, j).map((b) => adjustedRandIndex(a, b)))
    return {
      ...{ k, codingLength, codingLengthDeviation, stability: mean(pairs) },
      // Pairs share runs: there are no more independent ones than runs.
      stabilityError: deviation(pairs) / Math.sqrt(runs.length),
      ...indices[i]!,
    }
  })
}

type Decisive = 'k' | 'codingLength' | 'codingLengthDeviation' | 'stability' | 'stabilityError'

/**
 * The rule of {@link chooseK}: the shortest code, unless among those within its deviation restarts agree
 * clearly more on another, by more than both standard errors. The smaller of equal ones.
 */
export function decide(curve: readonly Pick<KScore, Decisive>[]): {
  k: number
  candidates: number[]
} {
  const shortest = curve.reduce((a, b) => (b.codingLength < a.codingLength ? b : a))
  const limit = shortest.codingLength + shortest.codingLengthDeviation
  const near = curve.filter(({ codingLength }) => codingLength <= limit)
  const stable = near.reduce((a, b) => (b.stability > a.stability ? b : a))
  const errors = stable.stabilityError + shortest.stabilityError
  const clear = stable.stability - shortest.stability > errors
  return { k: (clear ? stable : shortest).k, candidates: near.map(({ k }) => k) }
}

const mean = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length

const deviation = (values: readonly number[]): number => {
  const middle = mean(values)
  return Math.sqrt(mean(values.map((value) => (value - middle) ** 2)))
}
