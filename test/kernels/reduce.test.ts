import { describe, expect, it } from 'vitest'
import {
  SUM_CHUNK,
  sumBackwardKernel,
  sumChunksKernel,
  sumColumnsKernel,
  sumRowsKernel,
} from '../../src/kernels/reduce.ts'
import { sum } from '../reference/reduce.ts'
import { expectClose } from '../support/compare.ts'
import { useDevice } from '../support/device.ts'
import { runKernel } from '../support/kernels.ts'
import { randomArray } from '../support/random.ts'

const scale = 0.75

describe('sumRows and sumColumns', () => {
  const device = useDevice()

  async function check(rows: number, columns: number): Promise<void> {
    const data = randomArray(rows * columns, rows)
    const x = { data, shape: [rows, columns] }
    const params = { rows, columns, scale }
    const down = await runKernel(device(), sumRowsKernel, { x }, { out: [columns] }, params)
    const overRows = sum(data, columns, 'rows').map((total) => total * scale)
    expectClose(`sumRows ${rows}×${columns}`, down.out!, overRows, 2e-6)
    const overColumns = sum(data, columns, 'columns').map((total) => total * scale)
    for (const lanes of [1, 64] as const) {
      const kernel = sumColumnsKernel({ lanes })
      const across = await runKernel(device(), kernel, { x }, { out: [rows] }, params)
      expectClose(`sumColumns ${rows}×${columns}, ${lanes}`, across.out!, overColumns, 2e-6)
    }
  }

  it.each([1, 7, 8, 9, 63, 64, 65, 300])('equal f64 loops: %i columns', async (columns) => {
    await check(10, columns)
  })

  it.each([1, 7, 8, 9, 63, 64, 65, 300])('equal f64 loops: %i rows', async (rows) => {
    await check(rows, 10)
  })
})

describe('sumChunks', () => {
  const device = useDevice()

  it.each([1, 63, 64, 65, SUM_CHUNK - 1, SUM_CHUNK, SUM_CHUNK + 1, 3 * SUM_CHUNK - 1])(
    'equals f64 loops: %i elements',
    async (size) => {
      const data = randomArray(size, 3)
      const chunks = Math.ceil(size / SUM_CHUNK)
      const { out } = await runKernel(
        device(),
        sumChunksKernel,
        { x: { data, shape: [size] } },
        { out: [chunks] },
        { size, scale },
      )
      const expected = Array.from({ length: chunks }, (_, i) => {
        const chunk = data.subarray(i * SUM_CHUNK, (i + 1) * SUM_CHUNK)
        return sum(chunk, chunk.length, 'all')[0]! * scale
      })
      expectClose(`${size}`, out!, expected, 2e-6)
    },
  )
})

describe('sum.backward', () => {
  const device = useDevice()

  it.each([1, 63, 64, 65])('repeats the gradient along what was summed: %i columns', async (n) => {
    const [rows, size] = [3, 3 * n]
    for (const [inner, period] of [
      [size, 1],
      [n, rows],
      [1, n],
    ] as const) {
      const dOut = randomArray(period, 4)
      const { dX } = await runKernel(
        device(),
        sumBackwardKernel,
        { dOut: { data: dOut, shape: [period] } },
        { dX: [rows, n] },
        { size, inner, period, scale },
      )
      const expected = Array.from({ length: size }, (_, i) => {
        return Math.fround(scale * dOut[Math.floor(i / inner) % period]!)
      })
      expect([...dX!]).toEqual(expected)
    }
  })
})
