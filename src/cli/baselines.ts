import { rawEdge } from '../data/decodeMessages.node.ts'
import type { Features } from '../model/features.ts'
import type { Device } from '../runtime/device.ts'
import { inertiaOf } from '../train/predictRuns.ts'
import { normalizeRows } from '../model/features.ts'
import { assignToCentres } from '../train/assignToCentres.ts'
import { kmeans, type KmeansResult } from '../train/kmeans.ts'
import {
  adjustedRandIndex,
  clusteringAccuracy,
  normalizedMutualInformation,
} from '../train/metrics.ts'
import type { Score } from './report/data.ts'

/** Raw-pixel k-means is fitted on at most this many images, evenly spaced; all are then assigned. */
const rawSample = 5_000

/** N rows of `dimension` numbers. */
export interface Points {
  readonly data: Float32Array | Uint8Array
  readonly count: number
  readonly dimension: number
}

/** Small pictures, N · 32 · 32 · 3 bytes, as points. */
export const rawPoints = (data: Uint8Array): Points => {
  const dimension = rawEdge * rawEdge * 3
  return { data, count: data.length / dimension, dimension }
}

export interface BaselineOptions {
  readonly device: Device
  readonly k: number
  readonly seed: number
  /** Class of each image, where known. */
  readonly labels: Int32Array | undefined
  /** What the trained partition is called. Default SCP. */
  readonly method?: string
  readonly signal?: AbortSignal
}

/**
 * Scores of the trained partition beside k-means on the same features (20 restarts) and, where there are any,
 * on raw pixels (10).
 *
 * @param assignments the trained head's cluster of each image
 * @param raw N · 32 · 32 · 3 bytes, or none
 */
export async function comparePartitions(
  features: Features,
  raw: Uint8Array,
  assignments: Int32Array,
  options: BaselineOptions,
): Promise<Score[]> {
  const { count, dimension, clean } = features
  const points = { data: clean.slice(), count, dimension }
  normalizeRows(points.data, dimension)
  const { assignments: onFeatures } = await fitPartition(points, { ...options, restarts: 20 })
  const onPixels =
    raw.length > 0 &&
    (await fitPartition(rawPoints(raw), { ...options, sample: rawSample, restarts: 10 }))
  const score = (method: string, partition: Int32Array): Score => ({
    method,
    ...(options.labels && {
      accuracy: clusteringAccuracy(options.labels, partition),
      nmi: normalizedMutualInformation(options.labels, partition),
      ari: adjustedRandIndex(options.labels, partition),
    }),
    inertia: inertiaOf(points.data, dimension, partition, options.k),
    agreement: adjustedRandIndex(assignments, partition),
  })
  return [
    score(options.method ?? 'SCP', assignments),
    score('k-means on features', onFeatures),
    ...(onPixels ? [score('k-means on raw pixels', onPixels.assignments)] : []),
  ]
}

/** How {@link fitPartition} clusters. */
export interface FitOptions extends Omit<BaselineOptions, 'labels'> {
  readonly restarts: number
  readonly iterations?: number
  /** Points at most that centres are fitted on, evenly spaced. Default all. */
  readonly sample?: number
  /** Other points that centres are fitted on, in place of those that are assigned. */
  readonly fit?: Points
}

/** k-means fitted on points, or a sample of them, or others; and the nearest centre of every point. */
export async function fitPartition(
  points: Points,
  { device, k, seed, signal, restarts, iterations, sample = Infinity, fit = points }: FitOptions,
): Promise<KmeansResult> {
  const fitted = thin(fit, Math.max(sample, 4 * k))
  const { count, dimension } = fitted
  const settings = { device, count, dimension, k, restarts, iterations, seed, signal }
  const result = await kmeans(Float32Array.from(fitted.data), settings)
  if (fitted === points) return result
  return { ...result, assignments: await assignToCentres(device, points, result.centres) }
}

/** Every n-th row, so that no more than `limit` remain. */
function thin(points: Points, limit: number): Points {
  const { data, count, dimension } = points
  if (count <= limit) return points
  const kept = data.slice(0, limit * dimension)
  for (let i = 0; i < limit; i++) {
    const row = Math.floor((i * count) / limit)
    kept.set(data.subarray(row * dimension, (row + 1) * dimension), i * dimension)
  }
  return { data: kept, count: limit, dimension }
}
