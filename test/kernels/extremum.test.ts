import { describe, expect, it } from 'vitest'
import {
  extremumBackwardKernel,
  extremumKernel,
  extremumRowsKernel,
} from '../../src/kernels/extremum.ts'
import { MAX_WORKGROUPS } from '../../src/kernels/kernel.ts'
import { useDevice } from '../support/device.ts'
import { runKernel } from '../support/kernels.ts'
import { randomArray } from '../support/random.ts'

describe('extremum kernels', () => {
  const device = useDevice()

  it.each([1, 3, 4, 63, 64, 65, 256, 260])(
    'find the first of equals in every segment: inner %i',
    async (inner) => {
      const [outer, n, length] = [2, 11, 4]
      const x = randomArray(outer * n * inner, 1).map((value) => Math.round(value * 5))
      for (const extremum of ['max', 'min'] as const) {
        const shape = [outer, 3, inner]
        const vector = inner % 4 === 0
        const { values, positions } = await runKernel(
          device(),
          extremumKernel({ extremum, positioned: false, vector }),
          { x: { data: x, shape: [outer, n, inner] } },
          { values: shape, positions: shape },
          { outer, n, inner, length },
        )
        const expected = Array.from({ length: outer * 3 * inner }, (_, i) => {
          const [column, segment] = [i % inner, Math.floor(i / inner) % 3]
          const start = Math.floor(i / (3 * inner)) * n
          const at = (r: number): number => x[(start + r) * inner + column]!
          let best = segment * length
          for (let r = best + 1; r < Math.min((segment + 1) * length, n); r++) {
            if (extremum === 'max' ? at(r) > at(best) : at(r) < at(best)) best = r
          }
          return { value: at(best), position: best }
        })
        // −0 and 0 are equal, and either may come first.
        expect([...values!].map((value) => value + 0)).toEqual(
          expected.map(({ value }) => value + 0),
        )
        const places = new Uint32Array(positions!.buffer)
        expect([...places]).toEqual(expected.map(({ position }) => position))
      }
    },
  )

  it.each([1, 3, 4, 5, 8, 10, 192])(
    'find the first of equals of every row: %i columns',
    async (columns) => {
      for (const rows of [1, 31, 32, 33]) {
        const data = randomArray(rows * columns, columns).map((value) => Math.round(value * 5) / 5)
        // NaN of either sign wins, the first of several.
        if (columns > 3) data.set([NaN, 2, NaN], columns * (rows - 1) + 1)
        for (const extremum of ['max', 'min'] as const) {
          const { values, positions } = await runKernel(
            device(),
            extremumRowsKernel({ extremum, vector: columns % 4 === 0 }),
            { x: { data, shape: [rows, columns] } },
            { values: [rows], positions: [rows] },
            { rows, columns },
          )
          const best = extremum === 'max' ? Math.max : Math.min
          for (let row = 0; row < rows; row++) {
            const own = data.subarray(row * columns, (row + 1) * columns)
            const expected = best(...own)
            const first = own.findIndex((value) => Object.is(value + 0, expected + 0))
            expect(values![row]! + 0).toBe(expected + 0)
            expect(new Uint32Array(positions!.buffer)[row]).toBe(first)
          }
        }
      }
    },
  )

  it('write every element when workgroups spill into y', async () => {
    const n = 64 * MAX_WORKGROUPS + 1
    const tensors = {
      positions: device().tensor(Uint32Array.of(n - 1), [1]),
      dOut: device().tensor(Float32Array.of(3), [1]),
      dX: device().tensor(new Float32Array(n).fill(NaN), [n]),
    }
    device().dispatch(extremumBackwardKernel, tensors, { outer: 1, n, inner: 1 })
    const values = await tensors.dX.read()
    Object.values(tensors).forEach((tensor) => tensor.dispose())
    device().trim()
    expect(values.subarray(0, n - 1).every((value) => value === 0)).toBe(true)
    expect(values[n - 1]).toBe(3)
  })
})
