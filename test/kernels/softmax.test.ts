import { describe, expect, it } from 'vitest'
import { rowOptions, type Lanes } from '../../src/kernels/rows.ts'
import {
  packs,
  SHORT,
  softmaxBackwardKernel,
  softmaxKernel,
  softmaxPackedKernel,
} from '../../src/kernels/softmax.ts'
import * as reference from '../reference/softmax.ts'
import { expectClose } from '../support/compare.ts'
import { useDevice } from '../support/device.ts'
import { runKernel } from '../support/kernels.ts'
import { randomArray } from '../support/random.ts'

describe('softmax', () => {
  const device = useDevice()

  async function forward(
    x: Float32Array,
    columns: number,
    log: boolean,
    lanes: Lanes,
    short = false,
  ): Promise<Float32Array> {
    const rows = x.length / columns
    const { out } = await runKernel(
      device(),
      softmaxKernel({ log, lanes, vector: !short && columns % 4 === 0, short }),
      { x: { data: x, shape: [rows, columns] } },
      { out: [rows, columns] },
      { rows, columns },
    )
    return out!
  }

  async function packed(x: Float32Array, columns: number, log: boolean): Promise<Float32Array> {
    const rows = x.length / columns
    const { out } = await runKernel(
      device(),
      softmaxPackedKernel({ log, columns }),
      { x: { data: x, shape: [rows, columns] } },
      { out: [rows, columns] },
      { rows, columns },
    )
    return out!
  }

  async function check(rows: number, columns: number, lanes: Lanes): Promise<void> {
    const x = randomArray(rows * columns, 1, 8)
    const dOut = randomArray(rows * columns, 2)
    const shape = [rows, columns]
    for (const log of [false, true]) {
      const out = (log ? reference.logSoftmax : reference.softmax)(x, columns)
      const name = `${log ? 'log' : ''}softmax ${rows}×${columns}, ${lanes} lanes`
      expectClose(name, await forward(x, columns, log, lanes), out, 3e-6)
      if (columns <= SHORT && lanes === 1) {
        const actual = await forward(x, columns, log, lanes, true)
        expectClose(`${name}, in registers`, actual, out, 3e-6)
      }
      if (packs(rows, columns) && lanes === 1) {
        expectClose(`${name}, packed`, await packed(x, columns, log), out, 3e-6)
      }
      const { dX } = await runKernel(
        device(),
        softmaxBackwardKernel({ log, lanes, vector: columns % 4 === 0 }),
        { out: { data: Float32Array.from(out), shape }, dOut: { data: dOut, shape } },
        { dX: shape },
        { rows, columns },
      )
      const expected = reference.softmaxBackward(out, dOut, columns, log)
      expectClose(`${name}, backward`, dX!, expected, 3e-6)
    }
  }

  it.each([1, 2, 15, 16, 17, 63, 64, 65, 127, 128, 129, 1000])(
    'equals f64 loops around the edges of a row: %i columns',
    async (columns) => {
      await check(3, columns, 1)
      await check(3, columns, 64)
    },
  )

  it.each([1, 63, 64, 65, 129])(
    'equals f64 loops around the edge of a workgroup: %i rows',
    async (rows) => {
      await check(rows, 5, 1)
      await check(rows, 5, 64)
    },
  )

  it('packs rows into whole vec4s around the edge of a workgroup', async () => {
    // Four, two and one rows to a thread of 64.
    for (const [columns, sizes] of [
      [3, [4, 252, 256, 260]],
      [10, [2, 126, 128, 130]],
      [16, [1, 63, 64, 65]],
    ] as const) {
      for (const rows of sizes) await check(rows, columns, 1)
    }
    expect([packs(3, 10), packs(4, 9), packs(2, 14), packs(1, 20)]).toEqual([
      false,
      false,
      true,
      true,
    ])
  })

  it.each([1, 2, 10, 16, 17, 100, 1023, 1024, 1025, 4096])(
    'sums to 1 with logits up to ±1e4: %i columns',
    async (columns) => {
      const rows = 4
      const { lanes } = rowOptions(columns, device().adapter.software)
      const x = randomArray(rows * columns, columns, 1e4)
      x.fill(1e4, 0, columns)
      x.fill(-1e4, columns, 2 * columns)
      const out = await forward(x, columns, false, lanes)
      expectClose('values', out, reference.softmax(x, columns), 1e-5)
      for (let row = 0; row < rows; row++) {
        const values = out.subarray(row * columns, (row + 1) * columns)
        const sum = values.reduce((total, value) => total + value, 0)
        expect(Math.abs(sum - 1), `row ${row}`).toBeLessThanOrEqual(1e-5)
      }
      const logs = await forward(x, columns, true, lanes)
      expectClose('logarithms', logs, reference.logSoftmax(x, columns), 1e-6)
    },
  )

  it.each([3, 8, 10, 70])(
    'masks by −∞, and gives 0 for a row of it: %i columns',
    async (columns) => {
      const x = randomArray(2 * columns, 3)
      x.fill(-Infinity, 0, columns)
      x[columns + 1] = -Infinity
      const expected = reference.softmax(x, columns).fill(0, 0, columns)
      for (const lanes of [1, 64] as const) {
        for (const short of columns <= SHORT && lanes === 1 ? [false, true] : [false]) {
          const out = await forward(x, columns, false, lanes, short)
          expect([...out.subarray(0, columns)]).toEqual(new Array(columns).fill(0))
          expect(out[columns + 1]).toBe(0)
          expectClose(`${lanes} lanes, short ${short}`, out, expected, 1e-6)
        }
        if (!packs(2, columns)) continue
        const out = await packed(x, columns, false)
        expect([...out.subarray(0, columns), out[columns + 1]]).toEqual(
          new Array(columns + 1).fill(0),
        )
        expectClose('packed', out, expected, 1e-6)
      }
    },
  )

  it('gives rows with one far larger logit 0 and 1, and no NaN', async () => {
    const x = Float32Array.of(1e4, -1e4, -1e4, 88.8, 1e4, -88.8)
    for (const lanes of [1, 64] as const) {
      expect([...(await forward(x, 3, false, lanes))]).toEqual([1, 0, 0, 0, 1, 0])
      const logs = await forward(x, 3, true, lanes)
      expectClose('logarithms', logs, [0, -2e4, -2e4, 88.8 - 1e4, 0, -88.8 - 1e4], 1e-7)
    }
  })
})
