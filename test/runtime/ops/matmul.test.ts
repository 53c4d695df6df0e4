import { describe, expect, it } from 'vitest'
import { floatToHalf, halfToFloat } from '../../../src/model/half.ts'
import { linear } from '../../../src/runtime/ops/linear.ts'
import { matmul } from '../../../src/runtime/ops/matmul.ts'
import { matmulChoice } from '../../../src/runtime/ops/matmulChoice.ts'
import type { Tensor } from '../../../src/runtime/tensor.ts'
import * as reference from '../../reference/matmul.ts'
import { expectClose } from '../../support/compare.ts'
import { useDevice } from '../../support/device.ts'
import { errorOf } from '../../support/errorOf.ts'
import { gradcheck } from '../../support/gradcheck.ts'
import { randomArray } from '../../support/random.ts'

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

  /** op(a)·op(b) of every matrix of a batch; an operand of one matrix is shared. */
  function batched(
    a: ArrayLike<number>,
    b: ArrayLike<number>,
    sizes: { m: number; n: number; k: number },
    layout: { transposeA: boolean; transposeB: boolean },
  ): number[] {
    const { m, n, k } = sizes
    const [countA, countB] = [a.length / (m * k), b.length / (k * n)]
    return Array.from({ length: Math.max(countA, countB) }).flatMap((_, i) => {
      const matrix = (values: ArrayLike<number>, size: number): number[] =>
        Array.from(values).slice((i * size) % values.length, ((i * size) % values.length) + size)
      return [...reference.matmul(matrix(a, m * k), matrix(b, k * n), sizes, layout)]
    })
  }

  it.each([
    [false, false],
    [false, true],
    [true, false],
    [true, true],
  ])(
    'has the values and gradients of a batch, equal or shared by one operand: a %s, b %s',
    async (transposeA, transposeB) => {
      const [m, n, k] = [5, 4, 3]
      const layout = { transposeA, transposeB }
      const [a, b] = [transposeA ? [k, m] : [m, k], transposeB ? [n, k] : [k, n]]
      for (const [batchA, batchB] of [
        [
          [2, 2],
          [2, 2],
        ],
        [[3], []],
        [[], [3]],
      ] as const) {
        await gradcheck(device(), {
          inputs: { a: [...batchA, ...a], b: [...batchB, ...b] },
          op: ({ a, b }) => {
            const out = matmul(a, b, layout)
            expect(out.shape).toEqual([...(batchA.length > 0 ? batchA : batchB), m, n])
            return out
          },
          reference: ({ a, b }) => batched(a, b, { m, n, k }, layout),
        })
      }
    },
  )

  it('reads f16 operands, and lets gradients through to the other', async () => {
    const [m, n, k] = [5, 7, 9]
    const halves = Uint16Array.from(randomArray(k * n, 1), floatToHalf)
    const values = Float32Array.from(halves, halfToFloat)
    const frozen = device().tensor(halves, [n, k])
    await gradcheck(device(), {
      inputs: { a: [m, k] },
      op: ({ a }) => matmul(a, frozen, { transposeB: true }),
      reference: ({ a }) => reference.matmul(a, values, { m, n, k }, { transposeB: true }),
    })
    frozen.dispose()
  })

  // On lavapipe the first takes a dispatch of its own for the last row, the second packs its operands.
  it.each([
    [65, 180, 184],
    [500, 504, 65],
  ])('has the values of f64 loops with bias and residual: %i×%i×%i', async (m, n, k) => {
    const [x, w, bias, residual] = [m * k, n * k, n, m * n].map((size, i) => randomArray(size, i))
    const expected = reference.matmul(x!, w!, { m, n, k }, { transposeB: true })
    expected.forEach((_, i) => (expected[i]! += bias![i % n]! + residual![i]!))
    const [left, weight] = [device().tensor(x!, [m, k]), device().tensor(w!, [n, k])]
    const added = device().tensor(residual!, [m, n])
    const out = linear(left, weight, device().tensor(bias!, [n]), { residual: added })
    expectClose(`linear ${m}×${n}×${k}`, await out.read(), expected, 2e-6)
  })

  it('has the same values and gradients where k is split', async () => {
    const [m, n, k] = [6, 5, 130]
    const problem = { m, n, k, batch: 1, a: 'f32', b: 'f32', out: 'f32' } as const
    const key = (transposeA: boolean): string =>
      matmulChoice.key({ ...problem, transposeA, transposeB: false })
    device().choices.set('matmul', key(false), 'tile16.split2')
    device().choices.set('matmul', key(true), 'rows8.split2')
    const chosen = device().choose(matmulChoice, {
      ...problem,
      transposeA: true,
      transposeB: false,
    })
    expect(chosen).toBe('rows8.split2')
    for (const transposeA of [false, true]) {
      await gradcheck(device(), {
        inputs: { a: transposeA ? [k, m] : [m, k], b: [k, n] },
        op: ({ a, b }) => matmul(a, b, { transposeA }),
        reference: ({ a, b }) => reference.matmul(a, b, { m, n, k }, { transposeA }),
      })
    }
    device().choices.clear()
  })

  it('names what does not fit', () => {
    const a = device().empty([2, 3])
    expect(errorOf(() => matmul(a, device().empty([4, 5]))).message).toBe(
      'matmul: a f32[2, 3] has inner size 3, b f32[4, 5] has 4; expected equal',
    )
    expect(errorOf(() => matmul(a, device().empty([3]))).message).toBe(
      'matmul: b has 1 dimensions, expected 2 or, with a batch, more',
    )
    const batch = device().empty([2, 3, 4])
    expect(errorOf(() => matmul(device().empty([3, 2, 3]), batch)).message).toBe(
      'matmul: a f32[3, 2, 3] and b f32[2, 3, 4] have the batches [3] and [2]; expected equal ones, ' +
        'or one operand of two dimensions for all',
    )
    const bytes = device().empty([3, 4], 'i8') as unknown as Tensor<'f16'>
    expect(errorOf(() => matmul(a, bytes)).message).toBe(
      'matmul: b is i8[3, 4], expected f32 or f16; int8 weights go through linear()',
    )
    const half = device().empty([3, 4], 'f16')
    half.requiresGrad = true
    expect(errorOf(() => matmul(a, half)).message).toBe(
      'matmul: b f16[3, 4] requires a gradient, and only f32 tensors have one; ' +
        'freeze it (requiresGrad = false), or train a copy in f32',
    )
  })
})
