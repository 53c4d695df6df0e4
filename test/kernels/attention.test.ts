import { describe, expect, it } from 'vitest'
import { attentionKernel, type AttentionOptions } from '../../src/kernels/attention.ts'
import {
  attentionBackwardKernel,
  attentionDeltaKernel,
} from '../../src/kernels/attentionBackward.ts'
import { packedLayout, separateLayout } from '../../src/kernels/attentionLayout.ts'
import * as reference from '../reference/attention.ts'
import { packHeads, unpackHeads, type AttentionCase } from '../reference/attention.ts'
import { expectClose } from '../support/compare.ts'
import { useDevice } from '../support/device.ts'
import { kernelVariants, runKernel, type Operand } from '../support/kernels.ts'
import { randomArray } from '../support/random.ts'

/** One below, at and above the blocks of 4, 8, 16, 32 and 64 rows, and more than one of each. */
const TOKENS = [1, 7, 8, 9, 15, 16, 17, 31, 33, 50, 63, 64, 65, 197]

type Operands = Readonly<Record<'q' | 'k' | 'v', Operand>>

describe('attention', () => {
  const device = useDevice()

  function layouts(size: AttentionCase) {
    const { batches, heads, tokens, headSize, scale = 1 / Math.sqrt(headSize) } = size
    const separate = [batches, heads, tokens, headSize]
    const packed = (parts: number): number[] => [batches, tokens, parts * heads * headSize]
    const sizes = { batches, heads, tokens, headSize }
    return [
      {
        name: 'separate',
        params: separateLayout(sizes, scale),
        shape: separate,
        operands: (q: Float32Array, k: Float32Array, v: Float32Array): Operands => ({
          q: { data: q, shape: separate },
          k: { data: k, shape: separate },
          v: { data: v, shape: separate },
        }),
        pack: (out: ArrayLike<number>) => out,
      },
      {
        name: 'packed',
        params: packedLayout(sizes, scale),
        shape: packed(1),
        operands: (q: Float32Array, k: Float32Array, v: Float32Array): Operands => {
          const qkv = { data: Float32Array.from(packHeads([q, k, v], size)), shape: packed(3) }
          return { q: qkv, k: qkv, v: qkv }
        },
        pack: (out: ArrayLike<number>) => packHeads([out], size),
      },
    ]
  }

  const inputs = ({ batches, heads, tokens, headSize }: AttentionCase, logits = 4) => {
    const length = batches * heads * tokens * headSize
    // A score is a sum of headSize products of numbers in [−1, 1), times scale.
    const q = randomArray(length, 1, Math.sqrt(logits))
    const k = randomArray(length, 2, Math.sqrt(logits))
    return { q, k, v: randomArray(length, 3) }
  }

  async function check(
    size: AttentionCase,
    options: Omit<AttentionOptions, 'variant' | 'headSize' | 'causal'>,
    { logits = 4, tolerance = 5e-6 } = {},
  ): Promise<void> {
    const { batches, heads, tokens, headSize, causal = false } = size
    const { q, k, v } = inputs(size, logits)
    const expected = reference.attention(q, k, v, size)
    for (const variant of kernelVariants(device())) {
      for (const { name, params, shape, operands, pack } of layouts(size)) {
        const result = await runKernel(
          device(),
          attentionKernel({ ...options, headSize, causal, variant }),
          operands(q, k, v),
          { out: shape, lse: [batches, heads, tokens] },
          params,
        )
        const label = `${name} ${variant} ${shape.join('×')}${causal ? ' causal' : ''}`
        expectClose(label, result.out!, pack(expected.out), tolerance)
        if (options.logSumExp) {
          expectClose(`${label}, lse`, result.lse!, expected.logSumExp, tolerance)
        }
      }
    }
  }

  it.each(TOKENS)('equals f64 loops around the block edges: %i tokens', async (tokens) => {
    const size = { batches: 1, heads: 2, tokens, headSize: 64 }
    await check(size, { logSumExp: true })
  })

  it.each(TOKENS)('hides later tokens: %i tokens', async (tokens) => {
    await check({ batches: 2, heads: 1, tokens, headSize: 32, causal: true }, { logSumExp: true })
  })

  it.each([20, 128])('takes heads of size %i', async (headSize) => {
    for (const tokens of [1, 16, 41]) {
      await check(
        { batches: 1, heads: 3, tokens, headSize, scale: 0.3 },
        { logSumExp: headSize > 64 },
      )
    }
  })

  it('stays exact to rounding at logits of ±1000, and finite at ±10000', async () => {
    const size = { batches: 1, heads: 2, tokens: 40, headSize: 32, scale: 1, causal: true }
    const { q, k } = inputs(size, 100)
    let largest = 0
    for (let i = 0; i < q.length; i += 32) {
      let score = 0
      for (let j = 0; j < 32; j++) score += q[i + j]! * k[i + j]!
      largest = Math.max(largest, Math.abs(score))
    }
    expect(largest).toBeGreaterThan(500)
    // A score of 1000 is rounded by 3e-5, and so is the logarithm of a probability.
    await check(size, { logSumExp: true }, { logits: 100, tolerance: 1e-3 })
    await check(size, { logSumExp: true }, { logits: 1000, tolerance: 1e-2 })
  })

  it('spills workgroups into y past the limit of one dimension', () => {
    for (const variant of ['tile', 'subgroup8', 'subgroup4'] as const) {
      const kernel = attentionKernel({ headSize: 64, causal: false, logSumExp: false, variant })
      const sizes = { batches: 70_000, heads: 1, tokens: 8, headSize: 64 }
      const [x, y] = kernel.workgroups(packedLayout(sizes, 1))
      expect(x).toBeLessThanOrEqual(65_535)
      expect(x * y).toBeGreaterThanOrEqual(70_000)
    }
  })

  async function checkBackward(layout: string, size: AttentionCase): Promise<void> {
    const { batches, heads, tokens, headSize, causal = false } = size
    const { q, k, v } = inputs(size)
    const dOutData = randomArray(q.length, 4)
    const expected = reference.attentionBackward(q, k, v, dOutData, size)
    const { out, logSumExp } = reference.attention(q, k, v, size)
    const statistics = [batches, heads, tokens]
    const lse = { data: Float32Array.from(logSumExp), shape: statistics }
    for (const { name, params, shape, operands, pack } of layouts(size)) {
      if (name !== layout) continue
      const label = `${name} ${shape.join('×')}${causal ? ' causal' : ''}`
      const dOut = { data: Float32Array.from(pack(dOutData)), shape }
      const { delta } = await runKernel(
        device(),
        attentionDeltaKernel,
        { out: { data: Float32Array.from(pack(out)), shape }, dOut },
        { delta: statistics },
        params,
      )
      const packed = name === 'packed'
      const operandsOfBackward = {
        ...operands(q, k, v),
        dOut,
        lse,
        delta: { data: delta!, shape: statistics },
      }
      for (const variant of kernelVariants(device())) {
        const [byQuery, byKey] = await Promise.all(
          (['query', 'key'] as const).map((owner) =>
            runKernel(
              device(),
              attentionBackwardKernel({ headSize, causal, owner, packed, variant }),
              operandsOfBackward,
              packed
                ? { dX: operandsOfBackward.q.shape }
                : owner === 'query'
                  ? { dX: shape }
                  : { dX: shape, dV: shape },
              params,
            ),
          ),
        )
        const gradients = packed
          ? {
              dQ: unpackHeads(byQuery!.dX!, 0, 3, size),
              dK: unpackHeads(byKey!.dX!, 1, 3, size),
              dV: unpackHeads(byKey!.dX!, 2, 3, size),
            }
          : { dQ: byQuery!.dX!, dK: byKey!.dX!, dV: byKey!.dV! }
        for (const gradient of ['dQ', 'dK', 'dV'] as const) {
          expectClose(
            `${gradient} ${label} ${variant}`,
            gradients[gradient],
            expected[gradient],
            1e-5,
          )
        }
      }
    }
  }

  // 72 is no multiple of 32, and its rows do not fit the workgroup memory all at once.
  it.each([1, 7, 8, 9, 15, 17, 31, 32, 33, 65])(
    'has the gradients of f64 loops: %i tokens',
    async (tokens) => {
      await checkBackward('separate', { batches: 2, heads: 1, tokens, headSize: 72 })
      await checkBackward('packed', { batches: 1, heads: 2, tokens, headSize: 72, causal: true })
    },
  )
})
