import { describe, it } from 'vitest'
import { logSoftmax, softmax } from '../../../src/runtime/ops/softmax.ts'
import * as reference from '../../reference/softmax.ts'
import { useDevice } from '../../support/device.ts'
import { gradcheck } from '../../support/gradcheck.ts'

describe('softmax', () => {
  const device = useDevice()

  it.each([[[1]], [[3, 5]], [[2, 2, 16]], [[3, 17]], [[70, 20]], [[2, 130]]])(
    'has the values and gradients of its f64 loops: %j',
    async (shape) => {
      const columns = shape.at(-1)!
      await gradcheck(device(), {
        inputs: { x: shape },
        op: ({ x }) => softmax(x),
        reference: ({ x }) => reference.softmax(x, columns),
      })
      await gradcheck(device(), {
        inputs: { x: shape },
        op: ({ x }) => logSoftmax(x),
        reference: ({ x }) => reference.logSoftmax(x, columns),
      })
    },
  )
})
