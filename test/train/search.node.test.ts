import { describe, expect, it } from 'vitest'
import { clusterSpace, nearestImages } from '../../src/train/search.ts'
import { useDevice } from '../support/device.ts'
import { limitBindings } from '../support/limitBindings.ts'
import { randomArray } from '../support/random.ts'
import { rejectionOf } from '../support/rejectionOf.ts'

const dimension = 12
const rowsOf = (count: number, seed: number) => ({
  ...{ count, dimension, data: randomArray(count * dimension, seed, 2) },
})

/** Cosines of one query to all rows in double precision. */
function cosines(query: Float32Array, data: Float32Array): number[] {
  const length = Math.hypot(...query)
  return Array.from({ length: data.length / dimension }, (_, row) => {
    const line = data.subarray(row * dimension, (row + 1) * dimension)
    const product = line.reduce((sum, value, i) => sum + value * query[i]!, 0)
    return product / length / Math.hypot(...line)
  })
}

describe('nearestImages', () => {
  const device = useDevice()

  it('equals a full search, in one part or several, without a query’s own row', async () => {
    const features = rowsOf(70, 1)
    const queries = rowsOf(3, 2)
    queries.data.set(features.data.subarray(5 * dimension, 6 * dimension), dimension)
    const search = () =>
      nearestImages(device(), { features, queries, k: 6, own: [undefined, 5, undefined] })
    const whole = await search()
    const parts = await limitBindings(device(), 4 * 64 * 32, search)
    for (const found of [whole, parts]) {
      found.forEach(({ rows, cosines: got }, q) => {
        const all = cosines(
          queries.data.subarray(q * dimension, (q + 1) * dimension),
          features.data,
        )
        const order = [...all.keys()].filter((row) => q !== 1 || row !== 5)
        const expected = order.sort((a, b) => all[b]! - all[a]!).slice(0, 6)
        expect([...rows]).toEqual(expected)
        expected.forEach((row, i) => expect(got[i]).toBeCloseTo(all[row]!, 5))
      })
    }
  })

  it('says how far the best stand out from the rest', async () => {
    // 95 rows around nothing, and five near the query: the spread is that of the 95.
    const features = rowsOf(100, 3)
    const query = randomArray(dimension, 4)
    for (let row = 0; row < 5; row++) features.data.set(query, row * dimension)
    const queries = { count: 1, dimension, data: query }
    const [found] = await nearestImages(device(), { features, queries, k: 8 })
    const all = cosines(query, features.data).sort((a, b) => a - b)
    const { median, deviation, cutoff } = found!.background
    expect(median).toBeCloseTo(all[49]!, 5)
    expect(deviation).toBeCloseTo(all[49]! - all[15]!, 5)
    expect(cutoff).toBeCloseTo(Math.sqrt(2 * Math.log(100)))
    expect([...found!.rows].slice(0, 5).sort()).toEqual([0, 1, 2, 3, 4])
    found!.scores.forEach((score, i) => {
      expect(score).toBeCloseTo((found!.cosines[i]! - median) / deviation, 4)
      expect(score > cutoff).toBe(i < 5)
    })
  })

  it('gives what there is of a small collection, and takes a row of zeros', async () => {
    const features = { count: 2, dimension: 2, data: Float32Array.of(0, 0, 3, 4) }
    const queries = { count: 1, dimension: 2, data: Float32Array.of(1, 0) }
    const [found] = await nearestImages(device(), { features, queries, k: 9 })
    expect([[...found!.rows], [...found!.cosines]]).toEqual([
      [1, 0],
      [Math.fround(0.6), 0],
    ])
  })

  it.each([
    [
      'another size',
      { ...rowsOf(1, 1), dimension: 4 },
      1,
      /queries have 4 values, the collection 12/,
    ],
    ['no number of rows', rowsOf(1, 1), 0, /k is 0/],
  ])('refuses %s', async (_, queries, k, message) => {
    const search = nearestImages(device(), { features: rowsOf(3, 1), queries, k })
    expect((await rejectionOf(search)).message).toMatch(message)
  })
})

it('takes what a softmax does not see out of logits', () => {
  const { data, ...sizes } = clusterSpace(Float32Array.of(1, 2, 6, -1, -1, -1), 3)
  expect([sizes, [...data]]).toEqual([{ count: 2, dimension: 3 }, [-2, -1, 3, 0, 0, 0]])
})
