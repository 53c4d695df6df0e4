import { describe, expect, it } from 'vitest'
import { quantizeScalesKernel, quantizeValuesKernel } from '../../src/kernels/quantize.ts'
import { quantize as reference } from '../reference/quantize.ts'
import { expectClose } from '../support/compare.ts'
import { useDevice } from '../support/device.ts'
import { runKernel } from '../support/kernels.ts'
import { randomArray } from '../support/random.ts'

describe('quantize', () => {
  const device = useDevice()

  async function run(
    x: Float32Array<ArrayBuffer>,
    columns: number,
  ): Promise<{ scales: Float32Array<ArrayBuffer>; values: Int8Array }> {
    const rows = x.length / columns
    const operand = { data: x, shape: [rows, columns] }
    const first = await runKernel(
      device(),
      quantizeScalesKernel,
      { x: operand },
      { scales: [rows] },
      { rows, columns },
    )
    const scales = Float32Array.from(first.scales!)
    const { values } = await runKernel(
      device(),
      quantizeValuesKernel,
      { x: operand, scales: { data: scales, shape: [rows] } },
      { values: [Math.ceil(x.length / 4)] },
      { size: x.length, columns },
    )
    return { scales, values: new Int8Array(values!.buffer, values!.byteOffset) }
  }

  it.each([
    [1, 1],
    [3, 5],
    [2, 63],
    [5, 64],
    [3, 65],
    [67, 7],
    [2, 515],
  ])('equals plain loops at %i × %i, over the edges of words too', async (rows, columns) => {
    const x = randomArray(rows * columns, 1, 3)
    const { scales, values } = await run(x, columns)
    const expected = reference(x, columns)
    expectClose('scales', scales, expected.scales, 3e-7)
    expect(Array.from(values.subarray(0, x.length))).toEqual(expected.values)
    // What fills up the last word is zero, so that equal weights are equal bytes.
    expect(Array.from(values.subarray(x.length)).every((value) => value === 0)).toBe(true)
  })

  it('rounds ties to even, and uses the whole range on both sides', async () => {
    const { scales, values } = await run(Float32Array.of(127, -127, 0.5, 1.5, -2.5, 0.49, 63.5), 7)
    expect([...scales]).toEqual([1])
    expect([...values.subarray(0, 7)]).toEqual([127, -127, 0, 2, -2, 0, 64])
  })

  it('takes rows of zeros, and gives a row that is not finite the scale NaN', async () => {
    const rows = [0, -0, 0, 1, NaN, 2, 1, -Infinity, 2, 1, 2, 4]
    const { scales, values } = await run(Float32Array.from(rows), 3)
    expectClose('scale of a finite row', scales.subarray(3), [4 / 127], 3e-7)
    expect([...scales.subarray(0, 3)]).toEqual([0, NaN, NaN])
    expect([...values]).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 64, 127])
  })
})
