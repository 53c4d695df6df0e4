import { describe, expect, it } from 'vitest'
import { gather, scatterAdd } from '../../../src/runtime/ops/gather.ts'
import { scatterAddInto } from '../../../src/runtime/ops/scatterAdd.ts'
import * as reference from '../../reference/gatherRows.ts'
import { expectClose } from '../../support/compare.ts'
import { useDevice } from '../../support/device.ts'
import { errorOf } from '../../support/errorOf.ts'
import { gradcheck } from '../../support/gradcheck.ts'
import { randomArray } from '../../support/random.ts'
import { expectSameBytes } from '../../support/sameBytes.ts'

const spread = (count: number, rows: number): Uint32Array<ArrayBuffer> =>
  Uint32Array.from({ length: count }, (_, m) => (m * 7919 + (m >> 3)) % rows)

const bits = (data: Float32Array): Uint32Array => new Uint32Array(data.buffer)

describe('scatterAdd', () => {
  const device = useDevice()

  /** The sums in f32 and in ascending order, which the GPU must give bit for bit. */
  function sums(
    source: Float32Array,
    index: Uint32Array,
    rows: number,
    columns: number,
  ): Float32Array<ArrayBuffer> {
    const out = new Float32Array(rows * columns)
    index.forEach((row, m) => {
      for (let c = 0; c < columns; c++) {
        const at = Math.min(row, rows - 1) * columns + c
        out[at] = Math.fround(out[at]! + source[m * columns + c]!)
      }
    })
    return out
  }

  it.each([1, 2, 63, 64, 65, 66, 200, 2049])(
    'adds in ascending order, whether it scans or sorts: %i parts',
    async (count) => {
      for (const [rows, columns] of [
        [1, 1],
        [3, 4],
        [65, 3],
        [400, 8],
        [70, 48],
      ] as const) {
        const index = spread(count, rows)
        const source = randomArray(count * columns, 7, 1e4)
        const before = device().stats().usedBytes
        const tensors = {
          index: device().tensor(index, [count]),
          source: device().tensor(source, [count, columns]),
          out: device().tensor(new Float32Array(rows * columns).fill(NaN), [rows, columns]),
        }
        scatterAddInto(tensors.source, tensors.index, tensors.out)
        const actual = await tensors.out.read()
        const name = `${count} into ${rows}×${columns}`
        expectSameBytes(bits(actual), bits(sums(source, index, rows, columns)))
        const f64 = reference.gatherRowsBackward(source, index, rows, columns)
        expectClose(name, actual, f64, 1e-5)
        Object.values(tensors).forEach((tensor) => tensor.dispose())
        expect(device().stats().usedBytes).toBe(before)
      }
    },
  )

  it('adds to all of one row, and past the end to the last', async () => {
    for (const count of [3, 500]) {
      const index = device().tensor(new Uint32Array(count).fill(9), [count])
      const source = device().tensor(new Float32Array(count).fill(1), [count, 1])
      const x = device().tensor(Float32Array.of(1, 2, 3), [3, 1])
      expect([...(await scatterAdd(x, index, source).read())]).toEqual([1, 2, 3 + count])
    }
  })

  it.each([5, 130])('has the values and gradients of its f64 loops: %i parts', async (count) => {
    const [rows, columns] = [7, 6]
    const at = spread(count, rows)
    const index = device().tensor(at, [count])
    await gradcheck(device(), {
      inputs: { x: [rows, 2, 3], source: [count, 2, 3] },
      op: ({ x, source }) => scatterAdd(x, index, source),
      reference: ({ x, source }) =>
        reference.gatherRowsBackward(source, at, rows, columns).map((sum, i) => sum + x[i]!),
    })
    index.dispose()
  })

  it('gather takes parts of any rank', async () => {
    const at = spread(130, 5)
    const index = device().tensor(at, [65, 2])
    await gradcheck(device(), {
      inputs: { x: [5, 2, 4] },
      op: ({ x }) => gather(x, index),
      reference: ({ x }) => reference.gatherRows(x, at, 8),
      forwardTolerance: 0,
    })
    expect(gather(device().empty([5, 2, 4]), index).shape).toEqual([65, 2, 2, 4])
    expect(gather(device().empty([5]), index).shape).toEqual([65, 2])
    index.dispose()
  })

  it('names parts that do not fit', () => {
    const [x, index] = [device().empty([4, 2]), device().empty([3], 'u32')]
    const error = errorOf(() => scatterAdd(x, index, device().empty([3, 3])))
    expect(error.message).toBe('scatterAdd: source has shape [3, 3], expected [3, 2]')
  })
})
