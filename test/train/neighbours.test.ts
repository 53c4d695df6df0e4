import { describe, expect, it } from 'vitest'
import { nearestNeighbours } from '../../src/train/neighbours.ts'
import { smallest, squaredDistances } from '../reference/distance.ts'
import { useDevice } from '../support/device.ts'
import { limitBindings } from '../support/limitBindings.ts'
import { randomArray } from '../support/random.ts'

describe('nearestNeighbours', () => {
  const device = useDevice()

  it('equals a full search, without the row itself', async () => {
    const [count, dimension, neighbours] = [70, 12, 5]
    const data = randomArray(count * dimension, 4)
    const all = squaredDistances(data, data, dimension)
    const expected = smallest(all, count, neighbours, (row) => row)
    const actual = await nearestNeighbours(device(), data, { count, dimension, neighbours })
    expect([...actual]).toEqual(expected.flat())
  })

  it('gives the same for data that lie in several bindings', async () => {
    const [count, dimension] = [150, 5]
    const data = randomArray(count * dimension, 7)
    const search = () => nearestNeighbours(device(), data, { count, dimension, neighbours: 6 })
    const whole = await search()
    const parts = await limitBindings(device(), 64 * 6 * 4, search)
    expect([...parts]).toEqual([...whole])
  })

  it('gives the same for data that the GPU does not hold as a whole', async () => {
    const [count, dimension] = [150, 5]
    const data = randomArray(count * dimension, 7)
    // Equal distances across parts, rows that are not finite, and a last part smaller than the lists.
    for (const to of [70, 140]) data.copyWithin(to * dimension, 3 * dimension, 4 * dimension)
    data.fill(NaN, 100 * dimension, 101 * dimension)
    const options = { count, dimension, neighbours: 30 }
    const before = device().stats().usedBytes
    const whole = await nearestNeighbours(device(), data, options)
    const memory = data.byteLength / 2
    const parts = await nearestNeighbours(device(), data, { ...options, memory })
    expect([...parts]).toEqual([...whole])
    expect(device().stats().usedBytes).toBe(before)
  })

  it('repeats what there is when the collection is smaller than the neighbourhood', async () => {
    const data = Float32Array.from([1, 0, 0.8, 0.6, 0, 1])
    const actual = await nearestNeighbours(device(), data, {
      count: 3,
      dimension: 2,
      neighbours: 4,
    })
    expect([...actual]).toEqual([1, 2, 1, 2, 0, 2, 0, 2, 1, 0, 1, 0])
  })

  it('gives a row that is not finite to itself alone', async () => {
    const data = Float32Array.from([1, 0, NaN, 0, 0, 1])
    const sizes = { count: 3, dimension: 2, neighbours: 1 }
    expect([...(await nearestNeighbours(device(), data, sizes))]).toEqual([2, 1, 0])
  })

  it('takes a single row as its own neighbour', async () => {
    const sizes = { count: 1, dimension: 2, neighbours: 2 }
    const data = Float32Array.of(1, 2)
    expect([...(await nearestNeighbours(device(), data, sizes))]).toEqual([0, 0])
  })
})
