import { describe, expect, it } from 'vitest'
import { gatherRows } from '../../../src/runtime/ops/gatherRows.ts'
import * as reference from '../../reference/gatherRows.ts'
import { useDevice } from '../../support/device.ts'
import { errorOf } from '../../support/errorOf.ts'
import { gradcheck } from '../../support/gradcheck.ts'

describe('gatherRows', () => {
  const device = useDevice()

  it.each([
    { rows: 1, columns: 1, index: [0] },
    { rows: 5, columns: 3, index: [4, 0, 4, 2, 4] },
    { rows: 3, columns: 65, index: [2, 1] },
    { rows: 70, columns: 4, index: Array.from({ length: 130 }, (_, m) => (m * 37) % 70) },
  ])('has the values and gradients of its f64 loops: $rows × $columns', async (sizes) => {
    const { rows, columns } = sizes
    const index = device().tensor(Uint32Array.from(sizes.index), [sizes.index.length])
    await gradcheck(device(), {
      inputs: { x: [rows, columns] },
      op: ({ x }) => gatherRows(x, index),
      reference: ({ x }) => reference.gatherRows(x, sizes.index, columns),
      forwardTolerance: 0,
    })
    index.dispose()
  })

  it('takes the last row for an index past the end', async () => {
    const x = device().tensor(Float32Array.of(1, 2, 3, 4), [2, 2])
    const index = device().tensor(Uint32Array.of(2, 0, 0xffffffff), [3])
    expect([...(await gatherRows(x, index).read())]).toEqual([3, 4, 1, 2, 3, 4])
  })

  it('refuses other ranks and dtypes', () => {
    const x = device().empty([4, 2])
    const index = device().empty([3], 'u32')
    expect(errorOf(() => gatherRows(device().empty([4, 2, 2]), index)).message).toBe(
      'gatherRows: x is f32[4, 2, 2], expected [rows, columns]',
    )
    expect(errorOf(() => gatherRows(x, device().empty([3, 1], 'u32'))).message).toBe(
      'gatherRows: index is u32[3, 1], expected u32[count]',
    )
  })
})
