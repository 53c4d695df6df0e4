import { describe, expect, it } from 'vitest'
import { mean, sum } from '../../../src/runtime/ops/reduce.ts'
import * as reference from '../../reference/reduce.ts'
import { useDevice } from '../../support/device.ts'
import { gradcheck } from '../../support/gradcheck.ts'

describe('sum and mean', () => {
  const device = useDevice()

  it.each([[[1]], [[7]], [[3, 5]], [[2, 3, 17]], [[70, 9]], [[2, 1030]]])(
    'have the values and gradients of their f64 loops: %j',
    async (shape) => {
      const columns = shape.at(-1)!
      const count = shape.reduce((product, n) => product * n)
      for (const over of ['all', 'columns', 'rows'] as const) {
        const terms = { all: count, columns, rows: count / columns }[over]
        await gradcheck(device(), {
          inputs: { x: shape },
          op: ({ x }) => sum(x, over),
          reference: ({ x }) => reference.sum(x, columns, over),
        })
        await gradcheck(device(), {
          inputs: { x: shape },
          op: ({ x }) => mean(x, over),
          reference: ({ x }) => reference.sum(x, columns, over).map((total) => total / terms),
        })
      }
    },
  )

  it('leave out what lies behind a part of a larger tensor', async () => {
    const columns = 65
    const data = Float32Array.from({ length: 2 * columns }, (_, i) => (i < columns ? 1 : 1e6))
    const first = device().tensor(data, [2, columns]).rows(0, 1)
    expect([...(await sum(first).read())]).toEqual([columns])
    expect([...(await sum(first, 'columns').read())]).toEqual([columns])
    expect([...(await sum(first, 'rows').read())]).toEqual(new Array(columns).fill(1))
  })

  it('drop the dimensions they run over', () => {
    const x = device().empty([2, 3, 4])
    expect(sum(x).shape).toEqual([1])
    expect(sum(x, 'columns').shape).toEqual([2, 3])
    expect(sum(x, 'rows').shape).toEqual([4])
    expect(mean(device().empty([4]), 'columns').shape).toEqual([1])
  })
})
