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

  it('drop the dimensions they run over', () => {
    const x = device().empty([2, 3, 4])
    expect(sum(x).shape).toEqual([1])
    expect(sum(x, 'columns').shape).toEqual([2, 3])
    expect(sum(x, 'rows').shape).toEqual([4])
    expect(mean(device().empty([4]), 'columns').shape).toEqual([1])
  })
})
