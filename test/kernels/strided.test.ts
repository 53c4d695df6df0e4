import { describe, expect, it } from 'vitest'
import { STRIDED_GROUP, stridedCopyKernel } from '../../src/kernels/strided.ts'
import { transposeKernel } from '../../src/kernels/transpose.ts'
import { placeValues, walkValues } from '../../src/kernels/walk.ts'
import { useDevice } from '../support/device.ts'
import { runKernel } from '../support/kernels.ts'
import { randomArray } from '../support/random.ts'

describe('transpose', () => {
  const device = useDevice()

  it.each([1, 4] as const)('moves every element around a tile: %i tiles', async (tiles) => {
    const edges = [4, 28, 32, 36, 32 * tiles - 4, 32 * tiles, 32 * tiles + 4]
    const sizes = [...edges.map((n) => [n, 8] as const), ...edges.map((n) => [8, n] as const)]
    for (const [rows, columns] of sizes) {
      const [outer, inner] = [2, 3]
      // Matrices [columns, rows] whose two batch dimensions are exchanged.
      const [outerStride, innerStride] = [rows * columns, outer * rows * columns]
      const size = outer * inner * rows * columns
      const data = randomArray(size, rows + columns)
      const read = new Float32Array(size)
      const written = new Float32Array(size)
      for (let i = 0; i < size; i++) {
        const [c, r] = [i % columns, Math.floor(i / columns) % rows]
        const batch = Math.floor(i / (rows * columns))
        const at = Math.floor(batch / inner) * outerStride + (batch % inner) * innerStride
        read[i] = data[at + c * rows + r]!
        written[at + c * rows + r] = data[i]!
      }
      const params = { outer, inner, rows, columns, outerStride, innerStride, columnStride: rows }
      for (const [direction, expected] of Object.entries({ read, write: written })) {
        const { out } = await runKernel(
          device(),
          transposeKernel({ direction: direction as 'read' | 'write', tiles }),
          { x: { data, shape: [size] } },
          { out: [size] },
          { ...params, offset: 0 },
        )
        expect(out, `${direction} ${rows}×${columns}`).toEqual(expected)
      }
    }
  })
})

describe('stridedCopy', () => {
  const device = useDevice()

  it('carries coordinates over every dimension, around a workgroup', async () => {
    for (const shape of [
      [1, 1, 1],
      [3, 7, 9],
      [4, 16, 4],
      [5, 5, 41],
      [2, 3, 171],
      [1025, 1, 1],
    ]) {
      const [a, b, c] = shape as [number, number, number]
      const size = a * b * c
      // x [b, a, c + 2], whose columns from 1 on are read as [a, b, c].
      const strides = [c + 2, a * (c + 2), 1]
      const data = randomArray(a * b * (c + 2), size)
      const place = (i: number): number => {
        const [k, j] = [i % c, Math.floor(i / c) % b]
        return 1 + Math.floor(i / (b * c)) * strides[0]! + j * strides[1]! + k
      }
      for (const each of [4, 16] as const) {
        const { out } = await runKernel(
          device(),
          stridedCopyKernel({ rank: 3, direction: 'read', vector: false, each }),
          { x: { data, shape: [data.length] } },
          { out: [size] },
          {
            size,
            offset: 1,
            ...walkValues(shape, STRIDED_GROUP),
            ...placeValues('s', shape, strides, STRIDED_GROUP),
          },
        )
        expect(out, `${shape.join('×')}`).toEqual(
          data.slice(0, size).map((_, i) => data[place(i)]!),
        )
      }
    }
  })
})
