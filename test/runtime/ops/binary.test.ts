import { describe, expect, it } from 'vitest'
import type { Binary } from '../../../src/kernels/binary.ts'
import * as ops from '../../../src/runtime/ops/binary.ts'
import { power, square } from '../../../src/runtime/ops/unary.ts'
import { sizeOf, type Shape } from '../../../src/runtime/shape.ts'
import { backward } from '../../../src/runtime/tape.ts'
import { broadcast, broadcastShape } from '../../reference/broadcast.ts'
import { expectClose } from '../../support/compare.ts'
import { useDevice } from '../../support/device.ts'
import { errorOf } from '../../support/errorOf.ts'
import { gradcheck } from '../../support/gradcheck.ts'
import { randomArray } from '../../support/random.ts'

const reference: Readonly<Record<Binary, (a: number, b: number) => number>> = {
  add: (a, b) => a + b,
  subtract: (a, b) => a - b,
  multiply: (a, b) => a * b,
  divide: (a, b) => a / b,
  maximum: Math.max,
  minimum: Math.min,
}
const names = Object.keys(reference) as Binary[]

/** Away from zero, so that quotients and their differences stay moderate. */
const values = (shape: Shape, seed: number) => ({
  shape,
  data: randomArray(sizeOf(shape), seed).map((x) => (x < 0 ? x - 0.5 : x + 0.5)),
})

/** Every way of spreading: equal, row in vec4s, scalar, and strides in two to five dimensions. */
const PAIRS: readonly (readonly [Shape, Shape])[] = [
  [
    [3, 43],
    [3, 43],
  ],
  [[5, 8], [8]],
  [[8], [5, 8]],
  [
    [2, 3, 4],
    [3, 4],
  ],
  [[7, 3], [1]],
  [
    [1, 1],
    [7, 3],
  ],
  [[5, 6], [6]],
  [
    [5, 6],
    [5, 1],
  ],
  [
    [5, 1],
    [1, 6],
  ],
  [
    [2, 1, 3],
    [2, 5, 1],
  ],
  [
    [2, 1, 3, 1],
    [1, 4, 1, 5],
  ],
  [
    [2, 1, 3, 1, 2],
    [1, 4, 1, 5, 1],
  ],
]

describe('binary ops', () => {
  const device = useDevice()

  it.each(names)('%s equals f64 loops', async (name) => {
    // The spreads are the same code for every function, so only one that isn't symmetric takes all.
    const pairs = name === 'subtract' ? PAIRS : [PAIRS[0]!, PAIRS[1]!, PAIRS[8]!]
    for (const [a, b] of pairs) {
      const [x, y] = [values(a, 1), values(b, 2)]
      const tensors = [device().tensor(x.data, a), device().tensor(y.data, b)] as const
      const out = ops[name](...tensors)
      const shapes = { a, b }
      expect(out.shape).toEqual(broadcastShape(a, b))
      const expected = broadcast(reference[name], x.data, y.data, shapes)
      expectClose(`${name} ${JSON.stringify(shapes)}`, await out.read(), expected, 1e-6)
      for (const tensor of [...tensors, out]) tensor.dispose()
    }
  })

  it.each(['add', 'subtract', 'multiply', 'divide'] as const)(
    '%s has gradients summed over what repeats',
    async (name) => {
      for (const [a, b] of [PAIRS[0]!, PAIRS[1]!, PAIRS[5]!, PAIRS[8]!, PAIRS[10]!]) {
        await gradcheck(device(), {
          inputs: { a: values(a, 1), b: values(b, 2) },
          op: (inputs) => ops[name](inputs.a, inputs.b),
          reference: (inputs) => broadcast(reference[name], inputs.a, inputs.b, { a, b }),
        })
      }
    },
  )

  it.each(['maximum', 'minimum'] as const)('%s has the gradients of its choice', async (name) => {
    const [a, b] = [[4, 5], [5]]
    await gradcheck(device(), {
      inputs: { a: values(a, 1), b: values(b, 2) },
      op: (inputs) => ops[name](inputs.a, inputs.b),
      reference: (inputs) => broadcast(reference[name], inputs.a, inputs.b, { a, b }),
    })
  })

  it('one input twice', async () => {
    await gradcheck(device(), {
      inputs: { a: [3, 5] },
      op: ({ a }) => ops.divide(a, a),
      reference: ({ a }) => Float64Array.from(a, () => 1),
      tolerance: 1e-3,
    })
  })

  it('maximum and minimum keep NaN and share the gradient of equals', async () => {
    const a = device().tensor(Float32Array.of(NaN, 1, 2, NaN), [4])
    const b = device().tensor(Float32Array.of(1, NaN, 2, NaN), [4])
    expect([...(await ops.maximum(a, b).read())]).toEqual([NaN, NaN, 2, NaN])
    expect([...(await ops.minimum(a, b).read())]).toEqual([NaN, NaN, 2, NaN])
    const [x, y] = [1, 3].map((last) => {
      const leaf = device().tensor(Float32Array.of(last), [1])
      leaf.requiresGrad = true
      return leaf
    })
    const equal = backward(ops.maximum(x!, x!), [x!])
    expect([...(await equal[0]!.read())]).toEqual([1])
    const gradients = backward(ops.minimum(x!, y!), [x!, y!])
    expect((await gradients[0]!.read())[0]).toBe(1)
    expect((await gradients[1]!.read())[0]).toBe(0)
  })

  it('power', async () => {
    const x = { shape: [33], data: randomArray(33, 3).map((value) => value + 1.5) }
    for (const exponent of [2, -1, 0.5, 2.5]) {
      await gradcheck(device(), {
        inputs: { x },
        op: (inputs) => power(inputs.x, exponent),
        reference: (inputs) => Float64Array.from(inputs.x, (value) => value ** exponent),
      })
    }
    const error = errorOf(() => power(device().empty([1]), NaN))
    expect(error.message).toBe('power: exponent is NaN, expected a number')
  })

  it('refuse other dtypes', () => {
    const x = device().empty([3], 'u32')
    const wrong = x as unknown as Parameters<typeof square>[0]
    expect(errorOf(() => square(wrong)).message).toBe('square: x is u32[3], expected f32 or f16')
    expect(errorOf(() => ops.add(wrong, wrong)).message).toBe(
      'add: a is u32[3], expected f32 or f16',
    )
  })

  it('say when shapes alternate too often', () => {
    const [a, b] = [device().empty([2, 1, 2, 1, 2, 1]), device().empty([1, 2, 1, 2, 1, 2])]
    expect(errorOf(() => ops.add(a, b)).message).toBe(
      'add: shapes [2, 1, 2, 1, 2, 1] and [1, 2, 1, 2, 1, 2] alternate between repeated and other ' +
        'dimensions 6 times, expected at most five; split the op',
    )
  })
})
