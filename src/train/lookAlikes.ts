import type { ClosePair } from '../data/duplicates.ts'
import { normalizeRows, type Features } from '../model/features.ts'
import type { Device } from '../runtime/device.ts'
import { nearestNeighbours } from './neighbours.ts'

/** Nearest images that are looked at for each. */
const NEIGHBOURS = 8

export interface LookAlikeOptions {
  /**
   * Share of the collection's background, the mean squared distance of two of its images, under which two
   * are look-alikes. Default 0.1. A cosine would not do: CLIP's are above 0.5 for any two photographs.
   */
  readonly share?: number
}

export interface LookAlikes {
  /** Each pair once. */
  readonly pairs: readonly ClosePair[]
  /** Mean cosine of two different images of the collection. */
  readonly background: number
  /** Cosine from which two are look-alikes: 1 − share · (1 − background). */
  readonly threshold: number
}

/**
 * Pairs of images whose features lie much closer than those of two images as a rule: of the 8 nearest
 * neighbours of each, found on the GPU without a matrix of distances.
 *
 * For unit vectors with mean m the mean cosine of two different ones is (N ‖m‖² − 1) / (N − 1), exactly.
 */
export async function findLookAlikes(
  device: Device,
  { count, dimension, clean }: Pick<Features, 'count' | 'dimension' | 'clean'>,
  { share = 0.1 }: LookAlikeOptions = {},
): Promise<LookAlikes> {
  const data = clean.slice()
  normalizeRows(data, dimension)
  const background = meanCosine(data, count, dimension)
  const threshold = 1 - share * (1 - background)
  const options = { count, dimension, neighbours: NEIGHBOURS }
  const nearest = await nearestNeighbours(device, data, options)
  const pairs: ClosePair[] = []
  const seen = new Set<number>()
  for (let a = 0; a < count; a++) {
    for (let n = 0; n < NEIGHBOURS; n++) {
      const b = nearest[a * NEIGHBOURS + n]
      const [first, second] = [Math.min(a, b), Math.max(a, b)]
      const pair = first * count + second
      if (a === b || seen.has(pair)) continue
      const cosine = dot(data, first * dimension, second * dimension, dimension)
      // Neighbours come nearest first.
      if (cosine < threshold) break
      seen.add(pair)
      pairs.push({ a: first, b: second, cosine })
    }
  }
  return { pairs, background, threshold }
}

function meanCosine(data: Float32Array, count: number, dimension: number): number {
  if (count < 2) return 0
  let square = 0
  for (let column = 0; column < dimension; column++) {
    let sum = 0
    for (let row = 0; row < count; row++) sum += data[row * dimension + column]
    square += (sum / count) ** 2
  }
  return (count * square - 1) / (count - 1)
}

function dot(data: Float32Array, a: number, b: number, length: number): number {
  let sum = 0
  for (let i = 0; i < length; i++) sum += data[a + i] * data[b + i]
  return sum
}
