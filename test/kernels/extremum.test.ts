import { describe, expect, it } from 'vitest'
import { extremumBackwardKernel, extremumKernel } from '../../src/kernels/extremum.ts'
import { MAX_WORKGROUPS } from '../../src/kernels/kernel.ts'
import { useDevice } from '../support/device.ts'
import { runKernel } from '../support/kernels.ts'
import { randomArray } from '../support/random.ts'

describe('extremum kernels', () => {
  const device = useDevice()

  it.each([1, 3, 63, 64, 65])(
    'find the first of equals in every segment: inner %i',
    async (inner) => {
      const [outer, n, length] = [2, 11, 4]
      const x = randomArray(outer * n * inner, 1).map((value) => Math.round(value * 5))
      for (const extremum of ['max', 'min'] as const) {
        const shape = [outer, 3, inner]
        const { values, positions } = await runKernel(
          device(),
          extremumKernel({ extremum, positioned: false }),
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
        expect([...values!]).toEqual(expected.map(({ value }) => value))
        const places = new Uint32Array(positions!.buffer)
        expect([...places]).toEqual(expected.map(({ position }) => position))
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
