import { describe, expect, it } from 'vitest'
import { attention, attentionPacked } from '../../../src/runtime/ops/attention.ts'
import { record } from '../../../src/runtime/plan.ts'
import { backward } from '../../../src/runtime/tape.ts'
import { sum } from '../../../src/runtime/ops/reduce.ts'
import { scope, type Tensor } from '../../../src/runtime/tensor.ts'
import * as reference from '../../reference/attention.ts'
import { packHeads, unpackHeads, type AttentionCase } from '../../reference/attention.ts'
import { expectClose } from '../../support/compare.ts'
import { useDevice } from '../../support/device.ts'
import { errorOf } from '../../support/errorOf.ts'
import { gradcheck } from '../../support/gradcheck.ts'
import { randomArray } from '../../support/random.ts'

const small = { batches: 2, heads: 2, tokens: 5, headSize: 8 }
const shape = [small.batches, small.heads, small.tokens, small.headSize]

function packedReference(qkv: ArrayLike<number>, size: AttentionCase): Float64Array {
  const [q, k, v] = [0, 1, 2].map((part) => unpackHeads(qkv, part, 3, size))
  const { out } = reference.attention(q!, k!, v!, size)
  return packHeads([out], size)
}

describe('attention', () => {
  const device = useDevice()

  it('has the values and gradients of its f64 loops', async () => {
    await gradcheck(device(), {
      inputs: { q: shape, k: shape, v: shape },
      op: ({ q, k, v }) => attention(q, k, v),
      reference: ({ q, k, v }) => reference.attention(q, k, v, small).out,
    })
  })

  it('takes a scale and a causal mask', async () => {
    const options = { scale: 0.7, causal: true }
    await gradcheck(device(), {
      inputs: { q: shape, k: shape, v: shape },
      op: ({ q, k, v }) => attention(q, k, v, options),
      reference: ({ q, k, v }) => reference.attention(q, k, v, { ...small, ...options }).out,
    })
  })

  it('adds up the gradients of one tensor used as queries, keys and values', async () => {
    await gradcheck(device(), {
      inputs: { x: shape },
      op: ({ x }) => attention(x, x, x),
      reference: ({ x }) => reference.attention(x, x, x, small).out,
    })
  })

  it('makes the gradients that are asked for, and no others', async () => {
    const size = shape.reduce((a, b) => a * b)
    const values = [1, 2, 3].map((seed) => randomArray(size, seed))
    const ones = new Float32Array(size).fill(1)
    const [qData, kData, vData] = values as [Float32Array, Float32Array, Float32Array]
    const expected = reference.attentionBackward(qData, kData, vData, ones, small)
    const before = device().stats().usedBytes
    for (const asked of ['q', 'k', 'v'] as const) {
      const inputs = {
        q: device().tensor(values[0]!, shape),
        k: device().tensor(values[1]!, shape),
        v: device().tensor(values[2]!, shape),
      }
      inputs[asked].requiresGrad = true
      const gradient = scope(() => {
        const { q, k, v } = inputs
        return backward(sum(attention(q, k, v)), [inputs[asked]])[0]!
      })
      const name = `d${asked.toUpperCase()}` as 'dQ' | 'dK' | 'dV'
      expectClose(name, await gradient.read(), expected[name], 1e-5)
      for (const tensor of [gradient, ...Object.values(inputs)]) tensor.dispose()
    }
    expect(device().stats().usedBytes).toBe(before)
  })

  it('names what does not fit', () => {
    const q = device().empty([1, 2, 3, 8])
    const k = device().empty([1, 2, 4, 8])
    expect(errorOf(() => attention(q, k, q)).message).toBe(
      'attention: k has shape [1, 2, 4, 8], expected [1, 2, 3, 8]',
    )
    expect(errorOf(() => attention(q, q, k)).message).toBe(
      'attention: v has shape [1, 2, 4, 8], expected [1, 2, 3, 8]',
    )
    const flat = device().empty([6, 8])
    expect(errorOf(() => attention(flat, flat, flat)).message).toBe(
      'attention: q has shape [6, 8], expected [B, H, T, d]',
    )
    for (const headSize of [6, 132]) {
      const x = device().empty([1, 1, 3, headSize])
      expect(errorOf(() => attention(x, x, x)).message).toBe(
        `attention: head size ${headSize} is not a multiple of 4 up to 128`,
      )
    }
    expect(errorOf(() => attention(q, q, q, { scale: NaN })).message).toBe(
      'attention: scale NaN is not a finite number',
    )
  })
})

describe('attentionPacked', () => {
  const device = useDevice()
  const packed = [small.batches, small.tokens, 3 * small.heads * small.headSize]

  it.each([false, true])(
    'has the values and gradients of its f64 loops: causal %s',
    async (causal) => {
      await gradcheck(device(), {
        inputs: { qkv: packed },
        op: ({ qkv }) => attentionPacked(qkv, { heads: small.heads, causal }),
        reference: ({ qkv }) => packedReference(qkv, { ...small, causal }),
      })
    },
  )

  it('gives the same bits in a recorded plan', async () => {
    const size = packed.reduce((a, b) => a * b)
    const data = [randomArray(size, 5), randomArray(size, 6)]
    const qkv = device().tensor(data[0]!, packed)
    qkv.requiresGrad = true
    const run = (x: Tensor<'f32'>) => {
      const out = attentionPacked(x, { heads: small.heads })
      return { out, gradient: backward(sum(out), [x])[0]! }
    }
    const plan = await record(device(), { qkv }, ({ qkv }) => run(qkv))
    for (const values of data) {
      plan.run({ qkv: values })
      const eager = scope(() => run(qkv))
      expect(await plan.outputs.out.read()).toEqual(await eager.out.read())
      expect(await plan.outputs.gradient.read()).toEqual(await eager.gradient.read())
      eager.out.dispose()
      eager.gradient.dispose()
    }
    plan.dispose()
    qkv.dispose()
  })

  it('names what does not fit', () => {
    const qkv = device().empty([2, 3, 48])
    expect(errorOf(() => attentionPacked(qkv, { heads: 5 })).message).toBe(
      'attentionPacked: qkv has shape [2, 3, 48], expected [B, T, 3·5·d]',
    )
    expect(errorOf(() => attentionPacked(device().empty([3, 48]), { heads: 2 })).message).toBe(
      'attentionPacked: qkv has shape [3, 48], expected [B, T, 3·2·d]',
    )
  })
})
