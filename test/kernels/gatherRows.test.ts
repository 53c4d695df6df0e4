import { describe, expect, it } from 'vitest'
import { gatherRowsBackwardKernel, gatherRowsKernel } from '../../src/kernels/gatherRows.ts'
import * as reference from '../reference/gatherRows.ts'
import { expectClose } from '../support/compare.ts'
import { useDevice } from '../support/device.ts'
import { runKernel } from '../support/kernels.ts'
import { randomArray } from '../support/random.ts'

describe('gatherRows', () => {
  const device = useDevice()

  async function check(rows: number, columns: number, index: Uint32Array): Promise<void> {
    const count = index.length
    const x = randomArray(rows * columns, 1)
    const dOut = randomArray(count * columns, 2)
    const operand = { data: index, shape: [count] }
    const { out } = await runKernel(
      device(),
      gatherRowsKernel,
      { x: { data: x, shape: [rows, columns] }, index: operand },
      { out: [count, columns] },
      { rows, columns, count, first: 0, held: rows },
    )
    expect([...out!]).toEqual([...reference.gatherRows(x, index, columns)])
    const { dX } = await runKernel(
      device(),
      gatherRowsBackwardKernel,
      { dOut: { data: dOut, shape: [count, columns] }, index: operand },
      { dX: [rows, columns] },
      { rows, columns, count, first: 0, held: rows },
    )
    const expected = reference.gatherRowsBackward(dOut, index, rows, columns)
    expectClose(`${count} of ${rows}×${columns}, backward`, dX!, expected, 1e-6)
  }

  const spread = (count: number, rows: number): Uint32Array =>
    Uint32Array.from({ length: count }, (_, m) => (m * 7919 + 3) % rows)

  it.each([1, 31, 32, 33, 63, 64, 65])('equals loops around a workgroup: %i columns', async (n) => {
    await check(3, n, spread(2, 3))
    await check(n, 2, spread(9, n))
  })

  it('repeats a row, leaves rows out, and clamps', async () => {
    await check(4, 3, Uint32Array.of(2, 2, 0, 2, 4, 0xffffffff))
  })

  it('sums repetitions in ascending order', async () => {
    // 1e8 + 1 − 1e8 is 0 in f32 in this order and 1 in another.
    const { dX } = await runKernel(
      device(),
      gatherRowsBackwardKernel,
      {
        dOut: { data: Float32Array.of(1e8, 1, -1e8), shape: [3, 1] },
        index: { data: Uint32Array.of(0, 0, 0), shape: [3] },
      },
      { dX: [1, 1] },
      { rows: 1, columns: 1, count: 3, first: 0, held: 1 },
    )
    expect([...dX!]).toEqual([0])
  })
})
