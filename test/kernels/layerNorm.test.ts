import { describe, expect, it } from 'vitest'
import {
  layerNormBackwardKernel,
  layerNormKernel,
  layerNormWeightBackwardKernel,
} from '../../src/kernels/layerNorm.ts'
import type { Lanes } from '../../src/kernels/rows.ts'
import * as reference from '../reference/layerNorm.ts'
import { expectClose } from '../support/compare.ts'
import { useDevice } from '../support/device.ts'
import { runKernel } from '../support/kernels.ts'
import { randomArray } from '../support/random.ts'

describe('layerNorm', () => {
  const device = useDevice()

  async function check(rows: number, columns: number, lanes: Lanes): Promise<void> {
    const shape = [rows, columns]
    // Without it, the gradient of one or two columns is nothing but rounding.
    const eps = columns < 3 ? 0.5 : 1e-5
    const x = { data: randomArray(rows * columns, 1, 3), shape }
    const weight = { data: randomArray(columns, 2), shape: [columns] }
    const bias = { data: randomArray(columns, 3), shape: [columns] }
    const dOut = { data: randomArray(rows * columns, 4), shape }
    const name = `${rows}×${columns}, ${lanes} lanes`
    const { dX, dWeight, statistics } = reference.layerNormBackward(
      x.data,
      weight.data,
      dOut.data,
      eps,
    )

    const forward = await runKernel(
      device(),
      layerNormKernel({ lanes, vector: columns % 4 === 0 }),
      { x, weight, bias },
      { out: shape, statistics: [rows, 2] },
      { rows, columns, eps },
    )
    const expected = reference.layerNorm(x.data, weight.data, bias.data, eps)
    expectClose(name, forward.out!, expected, 5e-6)
    expectClose(`${name}, statistics`, forward.statistics!, statistics, 2e-6)

    const saved = { data: Float32Array.from(statistics), shape: [rows, 2] }
    const backward = await runKernel(
      device(),
      layerNormBackwardKernel({ lanes, vector: columns % 4 === 0 }),
      { x, weight, statistics: saved, dOut },
      { dX: shape },
      { rows, columns },
    )
    expectClose(`${name}, dX`, backward.dX!, dX, 5e-6)

    const { dWeight: actual } = await runKernel(
      device(),
      layerNormWeightBackwardKernel,
      { x, statistics: saved, dOut },
      { dWeight: [columns] },
      { rows, columns },
    )
    expectClose(`${name}, dWeight`, actual!, dWeight, 5e-6)
  }

  it.each([1, 2, 7, 8, 9, 63, 64, 65, 127, 128, 129, 768])(
    'equals f64 loops around the edges of a row: %i columns',
    async (columns) => {
      await check(5, columns, 1)
      await check(5, columns, 64)
    },
  )

  it.each([1, 7, 8, 9, 63, 64, 65, 129])(
    'equals f64 loops around the edges of a workgroup: %i rows',
    async (rows) => {
      await check(rows, 12, 1)
      await check(rows, 12, 64)
    },
  )

  it('keeps its accuracy when the mean is a thousand deviations', async () => {
    const [rows, columns] = [4, 768]
    // Sums of twelve uniform numbers: normal with deviation 1.
    const uniform = randomArray(rows * columns * 12, 5, 0.5)
    const x = Float32Array.from({ length: rows * columns }, (_, i) =>
      uniform.subarray(i * 12, i * 12 + 12).reduce((sum, value) => sum + value, 1e3),
    )
    const ones = new Float32Array(columns).fill(1)
    const bias = randomArray(columns, 6, 1e-3)
    for (const lanes of [1, 64] as const) {
      const { out } = await runKernel(
        device(),
        layerNormKernel({ lanes, vector: columns % 4 === 0 }),
        {
          x: { data: x, shape: [rows, columns] },
          weight: { data: ones, shape: [columns] },
          bias: { data: bias, shape: [columns] },
        },
        { out: [rows, columns], statistics: [rows, 2] },
        { rows, columns, eps: 1e-5 },
      )
      const expected = reference.layerNorm(x, ones, bias, 1e-5)
      let worst = 0
      out!.forEach((value, i) => (worst = Math.max(worst, Math.abs(value - expected[i]!))))
      expect(worst, `${lanes} lanes`).toBeLessThanOrEqual(1e-4)
    }
  })

  it('gives the bias for a row without variance', async () => {
    const columns = 20
    const bias = randomArray(columns, 7)
    for (const lanes of [1, 64] as const) {
      const { out } = await runKernel(
        device(),
        layerNormKernel({ lanes, vector: columns % 4 === 0 }),
        {
          x: { data: new Float32Array(columns).fill(1e4), shape: [1, columns] },
          weight: { data: randomArray(columns, 8), shape: [columns] },
          bias: { data: bias, shape: [columns] },
        },
        { out: [1, columns], statistics: [1, 2] },
        { rows: 1, columns, eps: 1e-5 },
      )
      expect([...out!]).toEqual([...bias])
    }
  })
})
