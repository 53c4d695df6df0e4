import { describe, expect, it } from 'vitest'
import { l2NormalizeBackwardKernel, l2NormalizeKernel } from '../../src/kernels/l2Normalize.ts'
import type { Lanes } from '../../src/kernels/rows.ts'
import * as reference from '../reference/l2Normalize.ts'
import { expectClose } from '../support/compare.ts'
import { useDevice } from '../support/device.ts'
import { runKernel } from '../support/kernels.ts'
import { randomArray } from '../support/random.ts'

describe('l2Normalize', () => {
  const device = useDevice()

  async function check(
    rows: number,
    columns: number,
    lanes: Lanes,
    scale = 1,
    eps = 1e-12,
  ): Promise<void> {
    const shape = [rows, columns]
    const x = randomArray(rows * columns, 1, scale)
    const dOut = randomArray(rows * columns, 2)
    const name = `${rows}×${columns}, ${lanes} lanes`
    const { out, norms } = await runKernel(
      device(),
      l2NormalizeKernel({ lanes, vector: columns % 4 === 0 }),
      { x: { data: x, shape } },
      { out: shape, norms: [rows] },
      { rows, columns, eps },
    )
    expectClose(name, out!, reference.l2Normalize(x, columns, eps), 2e-6)
    const { dX } = await runKernel(
      device(),
      l2NormalizeBackwardKernel({ lanes, vector: columns % 4 === 0 }),
      {
        out: { data: out!, shape },
        norms: { data: norms!, shape: [rows] },
        dOut: { data: dOut, shape },
      },
      { dX: shape },
      { rows, columns, eps },
    )
    const expected = reference.l2NormalizeBackward(x, dOut, columns, eps)
    // The only direction of a single column is the one that the length takes out.
    if (columns > 1) expectClose(`${name}, backward`, dX!, expected, 5e-6)
    else for (const [i, value] of dX!.entries()) expect(Math.abs(value * x[i]!)).toBeLessThan(1e-6)
  }

  it.each([1, 2, 15, 16, 17, 63, 64, 65, 127, 128, 129, 768])(
    'equals f64 loops around the edges of a row: %i columns',
    async (columns) => {
      await check(3, columns, 1)
      await check(3, columns, 64)
    },
  )

  it.each([1, 63, 64, 65, 129])(
    'equals f64 loops around the edge of a workgroup: %i rows',
    async (rows) => {
      await check(rows, 6, 1)
      await check(rows, 6, 64)
    },
  )

  it('divides rows that are shorter than eps by eps', async () => {
    for (const lanes of [1, 64] as const) {
      await check(4, 32, lanes, 1e-3, 0.1)
      await check(4, 32, lanes, 0, 0.1)
    }
  })

  it.each([1e-6, 1e6, 1e15])('takes rows of any length: about %d', async (scale) => {
    await check(4, 32, 1, scale)
    await check(4, 32, 64, scale)
  })
})
