import { describe, expect, it } from 'vitest'
import { add, multiply, relu, reshape, scale } from '../../src/runtime/ops/elementwise.ts'
import { matmul } from '../../src/runtime/ops/matmul.ts'
import { sum } from '../../src/runtime/ops/reduce.ts'
import { Parameters } from '../../src/runtime/parameters.ts'
import { apply, backward, needsGradient, withoutTape, type Op } from '../../src/runtime/tape.ts'
import { scope, type Tensor } from '../../src/runtime/tensor.ts'
import { useDevice } from '../support/device.ts'
import { errorOf } from '../support/errorOf.ts'

type F32 = Tensor<'f32'>

describe('backward', () => {
  const device = useDevice()

  const leaf = (...values: number[]): F32 => {
    const tensor = device().tensor(Float32Array.from(values), [values.length])
    tensor.requiresGrad = true
    return tensor
  }

  /** Gradients of what `body` returns, read; everything else is freed. */
  async function gradientsOf(leaves: F32[], body: () => F32): Promise<number[][]> {
    const gradients = scope(() => backward(body(), leaves))
    const values = []
    for (const gradient of gradients) values.push([...(await gradient.read())])
    return values
  }

  it('adds what flows from both uses of one input', async () => {
    const x = leaf(2, -3)
    expect(await gradientsOf([x], () => sum(multiply(x, x)))).toEqual([[4, -6]])
    expect(await gradientsOf([x], () => sum(add(x, x)))).toEqual([[2, 2]])
  })

  it('adds what flows through both sides of a diamond', async () => {
    const x = leaf(2, -3)
    const diamond = (): F32 => {
      const y = scale(x, 3)
      return sum(multiply(relu(y), scale(y, 2)))
    }
    // 2·relu(3x)·3x: 36x where x is positive, 0 elsewhere.
    expect(await gradientsOf([x], diamond)).toEqual([[72, 0]])
  })

  it('adds many uses, of unequal depth', async () => {
    const x = leaf(1, 1)
    const body = (): F32 => {
      let total: F32 = scale(x, 1)
      for (let i = 0; i < 10; i++) total = add(total, x)
      return sum(total)
    }
    expect(await gradientsOf([x], body)).toEqual([[11, 11]])
  })

  it('reaches several leaves at once', async () => {
    const [x, y] = [leaf(2, 3), leaf(5, 7)]
    expect(await gradientsOf([y, x], () => sum(multiply(x, y)))).toEqual([
      [2, 3],
      [5, 7],
    ])
  })

  it('passes a chain that is deeper than a call stack', async () => {
    const x = leaf(1)
    const chain = (): F32 => {
      let y: F32 = x
      for (let i = 0; i < 5000; i++) y = reshape(y, i % 2 === 0 ? [1, 1] : [1])
      return y
    }
    expect(await gradientsOf([x], chain)).toEqual([[1]])
  })

  it('gives the loss itself the gradient 1', async () => {
    const x = leaf(4)
    expect(await gradientsOf([x], () => reshape(x, [1, 1]))).toEqual([[1]])
  })

  it('gives a leaf that the loss does not depend on zeros', async () => {
    const [x, unused] = [leaf(2), leaf(1, 2, 3)]
    expect(await gradientsOf([x, unused], () => sum(scale(x, 5)))).toEqual([[5], [0, 0, 0]])
  })

  it('leaves inputs without requiresGrad alone', async () => {
    const x = leaf(2, 3)
    const constant = device().tensor(Float32Array.of(5, 7), [2])
    expect(await gradientsOf([x], () => sum(multiply(x, constant)))).toEqual([[5, 7]])
    expect(errorOf(() => backward(sum(x), [constant])).message).toBe(
      'backward: leaf f32[2] has requiresGrad = false',
    )
  })

  it('refuses a loss of more than one element', () => {
    const x = leaf(2, 3)
    const error = errorOf(() => backward(scale(x, 2), [x]))
    expect(error.code).toBe('validation')
    expect(error.message).toBe('backward: loss is f32[2], expected one element')
  })

  it('refuses to walk the same tape twice', () => {
    const x = leaf(2, 3)
    scope(() => {
      const loss = sum(multiply(x, x))
      backward(loss, [x])
      const error = errorOf(() => backward(loss, [x]))
      expect(error.code).toBe('usage')
      expect(error.message).toBe('backward: the tape of sum was used already')
    })
  })

  it('refuses a new loss on top of a part that was walked', () => {
    const x = leaf(2, 3)
    scope(() => {
      const y = multiply(x, x)
      backward(sum(y), [x])
      expect(errorOf(() => backward(sum(y), [x])).message).toBe(
        'backward: the tape of multiply was used already',
      )
    })
  })

  it('refuses a disposed loss and disposed inputs', () => {
    const x = leaf(2, 3)
    const loss = sum(x)
    loss.dispose()
    expect(errorOf(() => backward(loss, [x])).code).toBe('disposed')
    x.dispose()
    const error = errorOf(() => scale(x, 2))
    expect(error.code).toBe('disposed')
    expect(error.message).toContain('scale: f32[2] was disposed')
  })

  it('works after the intermediate tensors were disposed', async () => {
    const x = leaf(2, 3)
    const y = multiply(x, x)
    const z = multiply(y, x)
    const loss = sum(z)
    y.dispose()
    z.dispose()
    const [gradient] = backward(loss, [x])
    expect([...(await gradient!.read())]).toEqual([12, 27])
  })

  it('frees everything, walked or not, asked for or not', () => {
    const before = device().stats().usedBytes
    const [x, other] = [leaf(2, 3), leaf(1, 1)]
    for (const walk of [true, false]) {
      const y = multiply(x, other)
      const z = relu(y)
      const loss = sum(z)
      // `other` needs a gradient on the way, but nobody asks for it.
      const gradients = walk ? backward(loss, [x]) : []
      for (const tensor of [y, z, loss, ...gradients]) tensor.dispose()
    }
    x.dispose()
    other.dispose()
    expect(device().stats().usedBytes).toBe(before)
  })

  it('keeps what a rule saved only as long as the tape needs it', () => {
    const x = leaf(2, 3)
    const y = scale(x, 2)
    const before = device().stats().usedBytes
    const z = relu(y)
    y.dispose()
    const loss = sum(z)
    const held = device().stats().usedBytes
    backward(loss, [x])[0]!.dispose()
    // relu saved y: its bytes come back with the walk, before z and loss do.
    expect(device().stats().usedBytes).toBeLessThan(held)
    z.dispose()
    loss.dispose()
    expect(device().stats().usedBytes).toBeLessThan(before)
  })

  it('checks that a rule returns what its inputs need', () => {
    const none: Op<{ x: F32 }, undefined, undefined> = {
      name: 'noGradient',
      forward: ({ x }) => ({ out: x.view(x.shape), saved: undefined }),
      backward: () => ({ x: null }),
    }
    const wrong: Op<{ x: F32 }, undefined, undefined> = {
      ...none,
      name: 'wrongShape',
      backward: ({ gradient }) => ({ x: gradient.view([1, 2]) }),
    }
    const x = leaf(2, 3)
    expect(errorOf(() => backward(sum(apply(none, { x }, undefined)), [x])).message).toBe(
      'noGradient: x has no gradient',
    )
    expect(errorOf(() => backward(sum(apply(wrong, { x }, undefined)), [x])).message).toBe(
      'wrongShape: gradient f32[1, 2] does not fit input f32[2]',
    )
  })
})

describe('the gradient slot of a leaf', () => {
  const device = useDevice()

  async function slotAfter(body: (weight: F32) => F32): Promise<number[]> {
    const parameters = new Parameters(device(), new Map([['weight', [2, 2]]]))
    const weight = parameters.get('weight')
    weight.write(Float32Array.of(1, 2, 3, 4))
    weight.gradient!.write(new Float32Array(4).fill(NaN))
    scope(() => {
      const [gradient] = backward(body(weight), [weight])
      expect(gradient).toBe(weight.gradient)
    })
    const values = [...(await weight.gradient!.read())]
    parameters.dispose()
    return values
  }

  it('is written when the leaf is used once', async () => {
    const ones = device().tensor(new Float32Array(4).fill(1), [2, 2])
    expect(await slotAfter((weight) => sum(matmul(ones, weight)))).toEqual([2, 2, 2, 2])
  })

  it('is written without a copy when the rule can', async () => {
    const ones = device().tensor(new Float32Array(4).fill(1), [2, 2])
    const before = device().stats().dispatches
    await slotAfter((weight) => sum(scale(multiply(weight, ones), 2)))
    // multiply, scale, sum; seed 1, and one rule each.
    expect(device().stats().dispatches - before).toBe(7)
  })

  it('is written when the leaf is used twice', async () => {
    expect(await slotAfter((weight) => sum(multiply(weight, weight)))).toEqual([2, 4, 6, 8])
  })

  it('is written when the gradient only passes through', async () => {
    expect(await slotAfter((weight) => sum(reshape(weight, [4])))).toEqual([1, 1, 1, 1])
  })

  it('is zeroed when the leaf is not used', async () => {
    const one = device().tensor(Float32Array.of(3), [1])
    one.requiresGrad = true
    expect(await slotAfter(() => scale(one, 2))).toEqual([0, 0, 0, 0])
  })
})

describe('withoutTape', () => {
  const device = useDevice()

  it('saves nothing, and turns the tape on again, after errors too', () => {
    const x = device().tensor(Float32Array.of(1, 2), [2])
    x.requiresGrad = true
    const y = withoutTape(() => {
      expect(needsGradient(x)).toBe(false)
      return multiply(x, x)
    })
    expect(y.node).toBeUndefined()
    expect(() =>
      withoutTape(() => {
        throw new Error('stop')
      }),
    ).toThrow('stop')
    expect(needsGradient(x)).toBe(true)
    expect(multiply(x, x).node).toBeDefined()
  })
})
