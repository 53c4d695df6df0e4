import { describe, expect, it } from 'vitest'
import { calinskiHarabasz, silhouettes } from '../../src/train/silhouette.ts'
import { useDevice } from '../support/device.ts'
import { randomArray } from '../support/random.ts'
import { rejectionOf } from '../support/rejectionOf.ts'

/** The definition, pair by pair. */
function byPairs(
  data: Float32Array,
  dimension: number,
  partition: readonly number[],
  distance: (a: Float32Array, b: Float32Array) => number,
): number {
  const rows = partition.map((_, i) => data.subarray(i * dimension, (i + 1) * dimension))
  const values = rows.map((row, i) => {
    const meanTo = (cluster: number): number => {
      const others = rows.filter((__, j) => j !== i && partition[j] === cluster)
      return others.reduce((sum, other) => sum + distance(row, other), 0) / others.length
    }
    const own = meanTo(partition[i])
    if (Number.isNaN(own)) return 0
    const others = [...new Set(partition)].filter((cluster) => cluster !== partition[i])
    const nearest = Math.min(...others.map(meanTo))
    return (nearest - own) / Math.max(own, nearest)
  })
  return values.reduce((sum, value) => sum + value, 0) / values.length
}

const dot = (a: Float32Array, b: Float32Array): number =>
  a.reduce((sum, value, i) => sum + value * b[i], 0)

describe('silhouettes', () => {
  const device = useDevice()
  const [count, dimension] = [37, 5]
  const data = randomArray(count * dimension, 4).map((value) => value + 3)
  const partitions = [
    Array.from({ length: count }, (_, i) => (data[i * dimension] > 3 ? 1 : 0)),
    // Gaps in the numbers, and a cluster of one row.
    Array.from({ length: count }, (_, i) => (i === 0 ? 7 : 2 * (i % 3))),
  ]

  it('are the definition for each partition, Euclidean and by cosines', async () => {
    const options = { device: device(), count, dimension }
    const before = device().stats().usedBytes
    const euclidean = await silhouettes(data, partitions, options)
    const cosine = await silhouettes(data, partitions, { ...options, metric: 'cosine' })
    partitions.forEach((partition, i) => {
      const length = (a: Float32Array, b: Float32Array): number =>
        Math.sqrt(a.reduce((sum, value, d) => sum + (value - b[d]) ** 2, 0))
      expect(euclidean[i]).toBeCloseTo(byPairs(data, dimension, partition, length), 5)
      const angle = (a: Float32Array, b: Float32Array): number =>
        1 - dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b))
      expect(cosine[i]).toBeCloseTo(byPairs(data, dimension, partition, angle), 4)
    })
    expect(device().stats().usedBytes).toBe(before)
  })

  it('are NaN where the definition has no value, and refuse lengths that do not fit', async () => {
    const options = { device: device(), count: 3, dimension: 1 }
    const line = Float32Array.of(0, 1, 5)
    const found = await silhouettes(
      line,
      [
        [0, 0, 0],
        [0, 1, 2],
        [4, 4, 4],
      ],
      options,
    )
    expect(found).toEqual([NaN, NaN, NaN])
    const error = await rejectionOf(silhouettes(line, [[0, 1]], options))
    expect(error.message).toMatch(/got 3 values and 2 clusters, expected 3×1 and 3/)
  })
})

describe('calinskiHarabasz', () => {
  it('by hand, and NaN where it has no value', () => {
    // Means 1 and 9 of 5: B = 2·16 + 2·16, W = 4·1; [64/1]/[4/2].
    const line = Float32Array.of(0, 2, 8, 10)
    expect(calinskiHarabasz(line, 1, [0, 0, 3, 3])).toBeCloseTo(32, 10)
    expect(calinskiHarabasz(line, 1, [1, 1, 1, 1])).toBeNaN()
    expect(calinskiHarabasz(line, 1, [0, 1, 2, 3])).toBeNaN()
  })
})
