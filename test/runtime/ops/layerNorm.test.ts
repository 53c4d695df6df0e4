import { describe, expect, it } from 'vitest'
import { layerNorm } from '../../../src/runtime/ops/layerNorm.ts'
import * as reference from '../../reference/layerNorm.ts'
import { useDevice } from '../../support/device.ts'
import { errorOf } from '../../support/errorOf.ts'
import { gradcheck } from '../../support/gradcheck.ts'

describe('layerNorm', () => {
  const device = useDevice()

  it.each([[[3, 5]], [[2, 3, 16]], [[9, 17]], [[65, 24]], [[3, 130]]])(
    'has the values and gradients of its f64 loops: %j',
    async (shape) => {
      const columns = shape.at(-1)!
      await gradcheck(device(), {
        inputs: { x: shape, weight: [columns], bias: [columns] },
        op: ({ x, weight, bias }) => layerNorm(x, weight, bias, { eps: 1e-3 }),
        reference: ({ x, weight, bias }) => reference.layerNorm(x, weight, bias, 1e-3),
      })
    },
  )

  it('has the default eps of PyTorch', async () => {
    const x = Float32Array.of(1e-3, 2e-3, -1e-3, 5e-4)
    await gradcheck(device(), {
      inputs: { x: { shape: [1, 4], data: x }, weight: [4], bias: [4] },
      op: ({ x, weight, bias }) => layerNorm(x, weight, bias),
      reference: ({ x, weight, bias }) => reference.layerNorm(x, weight, bias, 1e-5),
    })
  })

  it('names a weight that does not fit', () => {
    const x = device().empty([2, 6])
    const weight = device().empty([6])
    const bias = device().empty([5])
    const error = errorOf(() => layerNorm(x, weight, bias))
    expect(error.code).toBe('validation')
    expect(error.message).toBe('layerNorm: bias has shape [5], expected [6]')
  })
})
