import { describe, expect, it } from 'vitest'
import type { KernelVariant } from '../../../src/kernels/kernel.ts'
import { floatToHalf, halfToFloat } from '../../../src/model/half.ts'
import type { FloatDtype } from '../../../src/runtime/dtype.ts'
import { attentionChoice } from '../../../src/runtime/ops/attentionChoice.ts'
import * as ops from '../../../src/runtime/ops/index.ts'
import { sizeOf, type Shape } from '../../../src/runtime/shape.ts'
import { withoutTape } from '../../../src/runtime/tape.ts'
import { scope, type Tensor } from '../../../src/runtime/tensor.ts'
import { poisonDevice } from '../../catalogue/poison.ts'
import * as attention from '../../reference/attention.ts'
import { broadcast } from '../../reference/broadcast.ts'
import { embedTokens as embedReference } from '../../reference/embedTokens.ts'
import { layerNorm as layerNormReference } from '../../reference/layerNorm.ts'
import { softmax as softmaxReference } from '../../reference/softmax.ts'
import { unary as references } from '../../reference/unary.ts'
import { expectClose } from '../../support/compare.ts'
import { useDevice } from '../../support/device.ts'
import { errorOf } from '../../support/errorOf.ts'
import { kernelVariants } from '../../support/kernels.ts'
import { randomArray } from '../../support/random.ts'
import { supports } from '../../support/leftOut.ts'

/** Half a step of f16 over the largest value, and what f32 adds to it. */
const HALF = 4.9e-4

const NAMES = [
  ...(['abs', 'erf', 'exp', 'gelu', 'log', 'negate', 'quickGelu', 'reciprocal', 'relu'] as const),
  ...(['rsqrt', 'sigmoid', 'silu', 'softplus', 'sqrt', 'square', 'tanh'] as const),
]

/** The distance of neighbours around a value of f16. */
const step = (value: number): number =>
  2 ** (Math.max(-14, Math.floor(Math.log2(Math.abs(value) || 1e-30))) - 10)

describe('ops on f16', () => {
  const device = useDevice()

  /** A tensor of these values rounded to a dtype, and what they are then. */
  function stored<D extends FloatDtype>(
    dtype: D,
    values: Float32Array<ArrayBuffer>,
    shape: Shape,
  ): { tensor: Tensor<D>; values: ArrayLike<number> } {
    const bits = Uint16Array.from(values, floatToHalf)
    const half = dtype === 'f16'
    const tensor = half ? device().tensor(bits, shape) : device().tensor(values, shape)
    return {
      tensor: tensor as Tensor as Tensor<D>,
      values: half ? Array.from(bits, halfToFloat) : values,
    }
  }

  const numbers = async (tensor: Tensor): Promise<ArrayLike<number>> => {
    const data = await tensor.read()
    return data instanceof Uint16Array ? Array.from(data, halfToFloat) : data
  }

  /** Runs in memory full of NaN, and sees that nothing is written beside the tensors. */
  async function poisoned(op: () => Tensor): Promise<ArrayLike<number>> {
    const poison = poisonDevice(device(), 'NaN')
    try {
      const out = scope(op)
      const values = await numbers(out)
      await poison.check()
      out.dispose()
      return values
    } finally {
      poison.restore()
    }
  }

  /**
   * The arithmetic is f32, good to a few units of its last place, so that an f16 result is off by the
   * half of a step that rounding takes and a few thousandths. A difference of infinities (silu of −∞)
   * has no reference.
   */
  it('give every one of the 65,536 values of f16 its f64 result, rounded once', async () => {
    const bits = Uint16Array.from({ length: 65_536 }, (_, i) => i)
    const x = device().tensor(bits, [65_536])
    for (const name of NAMES) {
      const y = ops[name](x)
      const out = await y.read()
      y.dispose()
      for (let i = 0; i < out.length; i++) {
        const value = halfToFloat(i)
        const expected = references[name](value)
        const actual = halfToFloat(out[i]!)
        if (Number.isNaN(expected)) {
          if (Number.isNaN(value)) expect(actual, `${name}(NaN ${i})`).toBeNaN()
          continue
        }
        const beyond = Math.abs(expected) >= 65_520
        const right = beyond
          ? actual === Math.sign(expected) * Infinity
          : Math.abs(actual - expected) <= 0.503 * step(expected)
        if (!right) expect.fail(`${name}(${value}): expected ${expected}, got ${actual}`)
      }
    }
    x.dispose()
  })

  it('write any number of elements, and nothing beside them', async () => {
    for (const size of [1, 2, 3, 4, 5, 255, 256, 257, 1023, 4095, 4096, 4097]) {
      const values = Float32Array.from({ length: size }, (_, i) => (i % 2000) - 1000)
      const { tensor } = stored('f16', values, [size])
      const out = await poisoned(() => ops.negate(tensor))
      expect([...(out as number[])]).toEqual([...values.map((value) => -value)])
      tensor.dispose()
    }
  })

  it('broadcast two operands, f16 where both are', async () => {
    const shapes: readonly (readonly [Shape, Shape])[] = [
      [[1003], [1003]],
      [[37, 12], [12]],
      [[129], [1]],
      [
        [7, 1],
        [5, 1, 33],
      ],
      [
        [2, 3, 5],
        [2, 1, 5],
      ],
    ]
    const dtypes = [
      ['f16', 'f16'],
      ['f16', 'f32'],
      ['f32', 'f16'],
    ] as const
    // What is stored how is the same text for every spread: two of them in all three ways.
    for (const [i, [shapeA, shapeB]] of shapes.entries()) {
      for (const [dtypeA, dtypeB] of i % 3 === 1 ? dtypes : dtypes.slice(0, 1)) {
        const a = stored(dtypeA, randomArray(sizeOf(shapeA), 1), shapeA)
        const b = stored(dtypeB, randomArray(sizeOf(shapeB), 2), shapeB)
        const out = await poisoned(() => {
          const y = ops.subtract(a.tensor as Tensor<FloatDtype>, b.tensor as Tensor<FloatDtype>)
          expect(y.dtype).toBe(dtypeA === 'f16' ? dtypeB : 'f32')
          return y
        })
        const expected = broadcast((x, y) => x - y, a.values, b.values, { a: shapeA, b: shapeB })
        const tolerance = dtypeA === dtypeB ? HALF : 1e-6
        expectClose(`${a.tensor.toString()} − ${b.tensor.toString()}`, out, expected, tolerance)
        a.tensor.dispose()
        b.tensor.dispose()
      }
    }
  })

  it('layerNorm: f32 statistics, of rows whose sums and squares f16 can not hold', async () => {
    for (const columns of [3, 63, 64, 65, 768, 4100]) {
      const [weight, bias] = [randomArray(columns, 3), randomArray(columns, 4)]
      const affine = [weight, bias].map((data) => device().tensor(data, [columns]))
      for (const [from, to] of [
        ['f16', 'f16'],
        ['f32', 'f16'],
        ['f16', 'f32'],
      ] as const) {
        if (from !== to && columns !== 768) continue
        const values = randomArray(3 * columns, columns, 2e4).map((x) => x + 3e4)
        const x = stored(from, values, [3, columns])
        const out = await poisoned(() =>
          ops.layerNorm(x.tensor as Tensor<FloatDtype>, affine[0]!, affine[1]!, { dtype: to }),
        )
        const expected = layerNormReference(x.values, weight, bias, 1e-5)
        expectClose(`${from} → ${to}, ${columns}`, out, expected, to === 'f16' ? HALF : 2e-6)
        x.tensor.dispose()
      }
      affine.forEach((tensor) => tensor.dispose())
    }
  })

  it('softmax: rows of 1 to 4,100 logits of ±1e4, and masked ones', async () => {
    for (const columns of [1, 3, 15, 16, 17, 63, 65, 197, 1025, 4096, 4100]) {
      const values = randomArray(3 * columns, columns, columns % 2 === 1 ? 3 : 1e4)
      values.fill(-Infinity, columns, 2 * columns)
      const x = stored('f16', values, [3, columns])
      const out = await poisoned(() => ops.softmax(x.tensor))
      const finite = Float64Array.from(x.values)
      finite.fill(0, columns, 2 * columns)
      const expected = softmaxReference(finite, columns).fill(0, columns, 2 * columns)
      expectClose(`${columns} columns`, out, expected, HALF)
      x.tensor.dispose()
    }
  })

  it('attention: every variant, at one below, at and above its blocks', async () => {
    const d = 36
    for (const tokens of [1, 15, 16, 17, 31, 32, 33, 50]) {
      const size = { batches: 1, heads: 2, tokens, headSize: d }
      const shape = [1, 2, tokens, d]
      const [q, k, v] = [1, 2, 3].map((seed) =>
        stored('f16', randomArray(sizeOf(shape), seed, 3), shape),
      )
      const expected = attention.attention(q!.values, k!.values, v!.values, size).out
      for (const variant of kernelVariants(device())) {
        const out = await poisoned(() =>
          forced(variant, size, () => ops.attention(q!.tensor, k!.tensor, v!.tensor)),
        )
        expectClose(`${variant}, ${tokens} tokens`, out, expected, HALF)
      }
      for (const { tensor } of [q!, k!, v!]) tensor.dispose()
    }
  })

  function forced<R>(variant: KernelVariant, size: attention.AttentionCase, run: () => R): R {
    const { choices } = device()
    const key = attentionChoice.key({ ...size, causal: false })
    choices.set('attention', key, variant)
    try {
      return run()
    } finally {
      choices.delete('attention', key)
    }
  }

  it('embedTokens: with a norm too, whose statistics are of what is not yet rounded', async () => {
    const [batch, n, dimension] = [5, 3, 36]
    const patches = stored('f16', randomArray(batch * n * dimension, 1), [batch, n, dimension])
    const [prefix, positions] = [randomArray(dimension, 2), randomArray((n + 1) * dimension, 3)]
    const [weight, bias] = [randomArray(dimension, 4), randomArray(dimension, 5)]
    const upload = (data: Float32Array<ArrayBuffer>): Tensor<'f32'> =>
      device().tensor(data, data.length === dimension ? [dimension] : [n + 1, dimension])
    const norm = { weight: upload(weight), bias: upload(bias), eps: 1e-5 }
    const tokens = embedReference(patches.values, prefix, positions, dimension)
    const normed = layerNormReference(tokens, weight, bias, 1e-5)
    for (const dtype of ['f32', 'f16'] as const) {
      const tolerance = dtype === 'f16' ? HALF : 2e-6
      const plain = await poisoned(() =>
        ops.embedTokens(patches.tensor, upload(prefix), upload(positions), { dtype }),
      )
      expectClose(dtype, plain, tokens, tolerance)
      const out = await poisoned(() =>
        ops.embedTokens(patches.tensor, upload(prefix), upload(positions), { dtype, norm }),
      )
      expectClose(`${dtype}, normed`, out, normed, tolerance)
    }
  })

  it('are one dispatch where the adapter has f16', () => {
    const x = device().empty([8, 64], 'f16')
    const affine = device().empty([64])
    const qkv = device().empty([1, 8, 96], 'f16')
    const run: readonly (() => Tensor)[] = [
      () => ops.gelu(x),
      () => ops.add(x, x),
      () => ops.softmax(x),
      () => ops.layerNorm(x, affine, affine),
      () => ops.attentionPacked(qkv, { heads: 2 }),
    ]
    for (const op of run) {
      const before = device().stats().dispatches
      scope(op).dispose()
      const native = supports(device(), 'shader-f16', 'one dispatch for an op of f16')
      const expected = native ? 1 : 3
      expect(device().stats().dispatches - before).toBe(expected)
    }
  })

  it('name dtypes that do not fit, and gradients that there are not', () => {
    const x = device().empty([2, 4], 'f16')
    const words = device().empty([2, 4], 'u32') as Tensor as Tensor<'f32'>
    const weight = device().empty([4])
    expect(errorOf(() => ops.gelu(words)).message).toBe('gelu: x is u32[2, 4], expected f32 or f16')
    expect(errorOf(() => ops.add(x, words)).message).toBe(
      'add: b is u32[2, 4], expected f32 or f16',
    )
    const halves = device().empty([4], 'f16') as Tensor as Tensor<'f32'>
    expect(errorOf(() => ops.layerNorm(x, halves, weight)).message).toBe(
      'layerNorm: weight is f16[4], expected f32',
    )
    const heads = device().empty([1, 1, 2, 4])
    const half = device().empty([1, 1, 2, 4], 'f16') as Tensor as Tensor<'f32'>
    expect(errorOf(() => ops.attention(heads, half, heads)).message).toBe(
      'attention: k is f16[1, 1, 2, 4], expected f32',
    )
    weight.requiresGrad = true
    const message =
      'layerNorm: an f16 output carries no gradient; ask for f32, or wrap the call in '
    expect(errorOf(() => ops.layerNorm(x, weight, weight)).message).toContain(message)
    expect(withoutTape(() => ops.layerNorm(x, weight, weight)).dtype).toBe('f16')
    expect(ops.layerNorm(x, weight, weight, { dtype: 'f32' }).node).toBeDefined()
    x.requiresGrad = true
    expect(errorOf(() => ops.gelu(x)).message).toMatch(/^gelu: an f16 output carries no gradient/)
    expect(errorOf(() => ops.add(x, weight)).message).toMatch(
      /^toF32: f16\[2, 4\] requires a gradient, which would end here/,
    )
  })
})
