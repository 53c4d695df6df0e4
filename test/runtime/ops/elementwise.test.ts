import { describe, expect, it } from 'vitest'
import type { Activation } from '../../../src/kernels/activations.ts'
import {
  activate,
  add,
  gelu,
  multiply,
  quickGelu,
  relu,
  reshape,
  scale,
  silu,
} from '../../../src/runtime/ops/elementwise.ts'
import { activations } from '../../reference/activations.ts'
import { useDevice } from '../../support/device.ts'
import { errorOf } from '../../support/errorOf.ts'
import { gradcheck } from '../../support/gradcheck.ts'
import { randomArray } from '../../support/random.ts'

const pairwise = (
  a: ArrayLike<number>,
  b: ArrayLike<number>,
  combine: (a: number, b: number) => number,
): Float64Array => Float64Array.from(a, (value, i) => combine(value, b[i]!))

describe('elementwise ops', () => {
  const device = useDevice()
  const shape = [3, 43]

  it.each(['none', 'relu', 'gelu', 'quickGelu', 'silu'] as const)(
    '%s has the values and gradients of its f64 form',
    async (activation: Activation) => {
      await gradcheck(device(), {
        inputs: { x: { shape, data: randomArray(129, 5, 4) } },
        op: ({ x }) => activate(x, activation),
        reference: ({ x }) => Float64Array.from(x, activations[activation]),
      })
    },
  )

  it('give each activation a name', async () => {
    const x = device().tensor(Float32Array.of(-1.5, 0.5, 2), [3])
    const named = { relu, gelu, quickGelu, silu }
    for (const [name, op] of Object.entries(named)) {
      const expected = await activate(x, name as Activation).read()
      expect([...(await op(x).read())]).toEqual([...expected])
    }
  })

  it('add', async () => {
    await gradcheck(device(), {
      inputs: { a: shape, b: shape },
      op: ({ a, b }) => add(a, b),
      reference: ({ a, b }) => pairwise(a, b, (x, y) => x + y),
    })
    await gradcheck(device(), {
      inputs: { a: shape },
      op: ({ a }) => add(a, a),
      reference: ({ a }) => pairwise(a, a, (x, y) => x + y),
    })
  })

  it('multiply', async () => {
    await gradcheck(device(), {
      inputs: { a: shape, b: shape },
      op: ({ a, b }) => multiply(a, b),
      reference: ({ a, b }) => pairwise(a, b, (x, y) => x * y),
    })
    await gradcheck(device(), {
      inputs: { a: shape },
      op: ({ a }) => multiply(a, a),
      reference: ({ a }) => pairwise(a, a, (x, y) => x * y),
    })
  })

  it('scale', async () => {
    await gradcheck(device(), {
      inputs: { x: shape },
      op: ({ x }) => scale(x, -2.5),
      reference: ({ x }) => Float64Array.from(x, (value) => -2.5 * value),
    })
  })

  it('reshape', async () => {
    await gradcheck(device(), {
      inputs: { x: shape },
      op: ({ x }) => reshape(x, [43, 3]),
      reference: ({ x }) => Float64Array.from(x),
      forwardTolerance: 0,
    })
    const error = errorOf(() => reshape(device().empty([2, 3]), [4]))
    expect(error.message).toBe('view: f32[2, 3] has 6 elements, [4] has 4')
  })

  it('name operands of other shapes', () => {
    const [a, b] = [device().empty([2, 3]), device().empty([2])]
    const problem =
      'a has shape [2, 3] and b [2], which do not broadcast: ' +
      'aligned at the last dimension, two sizes must be equal or one of them 1'
    expect(errorOf(() => add(a, b)).message).toBe(`add: ${problem}`)
    expect(errorOf(() => multiply(a, b)).message).toBe(`multiply: ${problem}`)
  })
})
