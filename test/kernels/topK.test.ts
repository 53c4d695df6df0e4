import { describe, expect, it } from 'vitest'
import { topKKernel } from '../../src/kernels/topK.ts'
import { useDevice } from '../support/device.ts'
import { randomArray } from '../support/random.ts'

describe('topK', () => {
  const device = useDevice()

  it.each([
    [3, 1, 1],
    [2, 63, 5],
    [2, 64, 11],
    [3, 65, 11],
    [1, 500, 64],
  ])('equals sorting: %i×%i, k %i, ties by column', async (rows, columns, k) => {
    // Coarse values, so that there are ties.
    const x = randomArray(rows * columns, 3).map((value) => Math.round(value * 20) / 20)
    const tensors = {
      x: device().tensor(x, [rows, columns]),
      values: device().tensor(new Float32Array(rows * k).fill(NaN), [rows, k]),
      indices: device().empty([rows, k], 'u32'),
    }
    device().dispatch(topKKernel, tensors, { rows, columns, k })
    const expected = Array.from({ length: rows }, (_, row) => {
      const line = x.subarray(row * columns, (row + 1) * columns)
      return Array.from(line.keys())
        .sort((i, j) => line[j]! - line[i]! || i - j)
        .slice(0, k)
    })
    expect([...(await tensors.indices.read())]).toEqual(expected.flat())
    const values = expected.flatMap((line, row) => line.map((i) => x[row * columns + i]!))
    expect([...(await tensors.values.read())]).toEqual(values)
  })
})

describe('topK of odd values', () => {
  const device = useDevice()

  it('takes NaN for the largest, −∞ for a number, and names what a row lacks', async () => {
    const [rows, columns, k] = [2, 4, 5]
    const x = Float32Array.of(1, NaN, -Infinity, 3, 0, -0, Infinity, NaN)
    const tensors = {
      x: device().tensor(x, [rows, columns]),
      values: device().empty([rows, k]),
      indices: device().empty([rows, k], 'u32'),
    }
    device().dispatch(topKKernel, tensors, { rows, columns, k })
    const none = 0xffffffff
    expect([...(await tensors.indices.read())]).toEqual([1, 3, 0, 2, none, 3, 2, 0, 1, none])
    const lowest = Math.fround(-3e38)
    const values = [NaN, 3, 1, -Infinity, lowest, NaN, Infinity, 0, -0, lowest]
    expect([...(await tensors.values.read())]).toEqual(values)
  })
})
