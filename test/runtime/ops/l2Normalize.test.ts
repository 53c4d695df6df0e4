import { describe, expect, it } from 'vitest'
import { l2Normalize } from '../../../src/runtime/ops/l2Normalize.ts'
import { sum } from '../../../src/runtime/ops/reduce.ts'
import { backward } from '../../../src/runtime/tape.ts'
import { scope } from '../../../src/runtime/tensor.ts'
import * as reference from '../../reference/l2Normalize.ts'
import { useDevice } from '../../support/device.ts'
import { gradcheck } from '../../support/gradcheck.ts'

describe('l2Normalize', () => {
  const device = useDevice()

  it.each([[[1]], [[4, 3]], [[2, 3, 16]], [[5, 17]], [[65, 24]], [[3, 1030]]])(
    'has the values and gradients of its f64 loops: %j',
    async (shape) => {
      const columns = shape.at(-1)!
      await gradcheck(device(), {
        inputs: { x: shape },
        op: ({ x }) => l2Normalize(x),
        reference: ({ x }) => reference.l2Normalize(x, columns, 1e-12),
      })
    },
  )

  it('only divides rows shorter than eps, and differentiates that', async () => {
    await gradcheck(device(), {
      inputs: { x: { shape: [2, 3], data: Float32Array.of(0.1, -0.2, 0.05, 3, 4, -2) } },
      op: ({ x }) => l2Normalize(x, { eps: 1 }),
      reference: ({ x }) => reference.l2Normalize(x, 3, 1),
    })
  })

  it('leaves a row of zeros at zero, with the gradient that PyTorch gives', async () => {
    const x = device().tensor(new Float32Array(6), [2, 3])
    x.requiresGrad = true
    const [out, gradient] = scope(() => {
      const y = l2Normalize(x, { eps: 0.25 })
      return [y, backward(sum(y), [x])[0]!]
    }) as [typeof x, typeof x]
    expect([...(await out.read())]).toEqual([0, 0, 0, 0, 0, 0])
    expect([...(await gradient.read())]).toEqual([4, 4, 4, 4, 4, 4])
  })
})
