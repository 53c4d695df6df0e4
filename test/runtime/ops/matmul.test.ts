import { describe, expect, it } from 'vitest'
import { linear, matmul } from '../../../src/runtime/ops/matmul.ts'
import { activations } from '../../reference/activations.ts'
import * as reference from '../../reference/matmul.ts'
import { useDevice } from '../../support/device.ts'
import { errorOf } from '../../support/errorOf.ts'
import { gradcheck } from '../../support/gradcheck.ts'

describe('matmul', () => {
  const device = useDevice()

  it.each([
    [false, false],
    [false, true],
    [true, false],
    [true, true],
  ])(
    'has the values and gradients of its f64 loops: a %s, b %s',
    async (transposeA, transposeB) => {
      const [m, n, k] = [5, 7, 6]
      const layout = { transposeA, transposeB }
      await gradcheck(device(), {
        inputs: { a: transposeA ? [k, m] : [m, k], b: transposeB ? [n, k] : [k, n] },
        op: ({ a, b }) => matmul(a, b, layout),
        reference: ({ a, b }) => reference.matmul(a, b, { m, n, k }, layout),
      })
    },
  )

  it('multiplies a matrix with itself', async () => {
    await gradcheck(device(), {
      inputs: { a: [4, 4] },
      op: ({ a }) => matmul(a, a, { transposeB: true }),
      reference: ({ a }) => reference.matmul(a, a, { m: 4, n: 4, k: 4 }, { transposeB: true }),
    })
  })

  it('names what does not fit', () => {
    const a = device().empty([2, 3])
    expect(errorOf(() => matmul(a, device().empty([4, 5]))).message).toBe(
      'matmul: a f32[2, 3] has inner size 3, b f32[4, 5] has 4; expected equal',
    )
    expect(errorOf(() => matmul(a, device().empty([3]))).message).toBe(
      'matmul: b has 1 dimensions, expected 2 or, with a batch, more',
    )
  })
})

describe('linear', () => {
  const device = useDevice()

  it.each(['none', 'relu', 'gelu', 'quickGelu', 'silu'] as const)(
    'has the values and gradients of its f64 loops with bias, %s and residual',
    async (activation) => {
      const [m, n, k] = [6, 5, 4]
      await gradcheck(device(), {
        inputs: { x: [2, 3, k], weight: [n, k], bias: [n], residual: [2, 3, n] },
        op: ({ x, weight, bias, residual }) => linear(x, weight, bias, { activation, residual }),
        reference: ({ x, weight, bias, residual }) =>
          reference
            .matmul(x, weight, { m, n, k }, { transposeB: true })
            .map((sum, i) => activations[activation](sum + bias[i % n]!) + residual[i]!),
      })
    },
  )

  it('needs neither bias nor residual', async () => {
    await gradcheck(device(), {
      inputs: { x: [3, 4], weight: [2, 4] },
      op: ({ x, weight }) => linear(x, weight),
      reference: ({ x, weight }) =>
        reference.matmul(x, weight, { m: 3, n: 2, k: 4 }, { transposeB: true }),
    })
  })

  it('names what does not fit', () => {
    const [x, weight] = [device().empty([2, 3]), device().empty([5, 3])]
    expect(errorOf(() => linear(x, device().empty([3, 5]))).message).toMatch(
      /^linear: x f32\[2, 3\] and weight f32\[3, 5\]: expected x \[..., in\] and weight \[out, in\]/,
    )
    expect(errorOf(() => linear(x, weight, device().empty([3]))).message).toBe(
      'linear: bias has shape [3], expected [5]',
    )
    const residual = device().empty([2, 3])
    expect(errorOf(() => linear(x, weight, undefined, { residual })).message).toBe(
      'linear: residual has shape [2, 3], expected [2, 5]',
    )
  })
})
