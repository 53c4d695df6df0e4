import { expect, it } from 'vitest'
import { dequantizeRows, quantizeRows } from '../../src/model/quantizeRows.ts'
import { quantize as reference } from '../reference/quantize.ts'
import { randomArray } from '../support/random.ts'

it('quantises rows as the op does, ties to even, and back within half a scale', () => {
  const [rows, columns] = [7, 33]
  const values = randomArray(rows * columns, 3, 2)
  values.fill(0, columns, 2 * columns)
  // Scale 1, so that halves are ties.
  values.set([127, 0.5, 1.5, 2.5, -0.5, -1.5, -126.5, 3.49], 2 * columns)
  values.fill(1e-45, 3 * columns, 4 * columns)
  const found = quantizeRows(values, rows, columns)
  const expected = reference(values, columns)
  expect([...found.scales]).toEqual(expected.scales)
  expect([...found.values]).toEqual(expected.values)
  expect([...found.values.subarray(2 * columns, 2 * columns + 8)]).toEqual([
    127, 0, 2, 2, 0, -2, -126, 3,
  ])
  const back = dequantizeRows(found)
  values.forEach((value, i) => {
    const scale = found.scales[Math.floor(i / columns)]!
    expect(Math.abs(back[i]! - value)).toBeLessThanOrEqual(scale / 2 + 1e-7)
  })
})
