import { describe, expect, it } from 'vitest'
import { gatherRowsKernel } from '../../src/kernels/gatherRows.ts'
import * as reference from '../reference/gatherRows.ts'
import { useDevice } from '../support/device.ts'
import { runKernel } from '../support/kernels.ts'
import { randomArray } from '../support/random.ts'

describe('gatherRows', () => {
  const device = useDevice()

  async function check(rows: number, columns: number, index: Uint32Array): Promise<void> {
    const count = index.length
    const x = randomArray(rows * columns, 1)
    const vector = columns % 4 === 0
    const { out } = await runKernel(
      device(),
      gatherRowsKernel({ vector }),
      {
        x: { data: x, shape: [rows, columns] },
        index: { data: index, shape: [count] },
      },
      { out: [count, columns] },
      { rows, columns: vector ? columns / 4 : columns, count, first: 0, held: rows },
    )
    expect([...out!]).toEqual([...reference.gatherRows(x, index, columns)])
  }

  const spread = (count: number, rows: number): Uint32Array =>
    Uint32Array.from({ length: count }, (_, m) => (m * 7919 + 3) % rows)

  it.each([1, 3, 4, 5, 63, 64, 65])('equals loops around a vec4: %i columns', async (n) => {
    await check(3, n, spread(2, 3))
    await check(n, 2, spread(9, n))
  })

  it.each([255, 256, 257])('equals loops around a workgroup: %i elements', async (n) => {
    await check(20, 1, spread(n, 20))
    await check(20, 4, spread(n, 20))
  })

  it('repeats a row, leaves rows out, and clamps', async () => {
    await check(4, 3, Uint32Array.of(2, 2, 0, 2, 4, 0xffffffff))
  })
})
