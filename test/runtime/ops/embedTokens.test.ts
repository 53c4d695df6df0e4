import { describe, expect, it } from 'vitest'
import { embedTokens } from '../../../src/runtime/ops/embedTokens.ts'
import { layerNorm as opLayerNorm } from '../../../src/runtime/ops/layerNorm.ts'
import { sum } from '../../../src/runtime/ops/reduce.ts'
import { sizeOf } from '../../../src/runtime/shape.ts'
import { backward } from '../../../src/runtime/tape.ts'
import * as reference from '../../reference/embedTokens.ts'
import { layerNorm } from '../../reference/layerNorm.ts'
import { hashBits } from '../../support/compare.ts'
import { useDevice } from '../../support/device.ts'
import { errorOf } from '../../support/errorOf.ts'
import { gradcheck } from '../../support/gradcheck.ts'
import { randomArray } from '../../support/random.ts'

describe('embedTokens', () => {
  const device = useDevice()

  it.each([
    [1, 1, 0, 1],
    [2, 3, 0, 5],
    [3, 4, 1, 64],
    [2, 7, 5, 65],
  ])(
    'has the values and gradients of its f64 loops: %i×%i, %i prefix rows, ×%i',
    async (batch, n, prefixes, dimension) => {
      await gradcheck(device(), {
        inputs: {
          patches: [batch, n, dimension],
          // One prefix token may come without its dimension.
          prefix: prefixes === 0 ? [dimension] : [prefixes, dimension],
          positions: [n + Math.max(prefixes, 1), dimension],
        },
        op: ({ patches, prefix, positions }) => embedTokens(patches, prefix, positions),
        reference: ({ patches, prefix, positions }) =>
          reference.embedTokens(patches, prefix, positions, dimension),
        forwardTolerance: 1e-7,
      })
    },
  )

  it('normalises its tokens, in one dispatch or with gradients', async () => {
    const [batch, n, dimension, eps] = [2, 3, 8, 1e-5]
    await gradcheck(device(), {
      inputs: {
        patches: [batch, n, dimension],
        prefix: [2, dimension],
        positions: [n + 2, dimension],
        weight: [dimension],
        bias: [dimension],
      },
      op: ({ patches, prefix, positions, weight, bias }) =>
        embedTokens(patches, prefix, positions, { norm: { weight, bias, eps } }),
      reference: ({ patches, prefix, positions, weight, bias }) =>
        layerNorm(reference.embedTokens(patches, prefix, positions, dimension), weight, bias, eps),
    })
    const [patches, prefix, positions, weight, bias] = [
      [batch, n, dimension],
      [2, dimension],
      [n + 2, dimension],
      [dimension],
      [dimension],
    ].map((shape, i) => device().tensor(randomArray(sizeOf(shape), 30 + i), shape))
    const norm = { weight: weight!, bias: bias!, eps }
    const before = device().stats().dispatches
    const fused = embedTokens(patches!, prefix!, positions!, { norm })
    expect(device().stats().dispatches - before).toBe(1)
    const composed = opLayerNorm(embedTokens(patches!, prefix!, positions!), weight!, bias!, {
      eps,
    })
    expect(hashBits(await fused.read())).toBe(hashBits(await composed.read()))
  })

  it('gives the class token its gradient when nothing else asks for one', async () => {
    const before = device().stats().usedBytes
    const patches = device().tensor(randomArray(2 * 3 * 4, 1), [2, 3, 4])
    const classToken = device().tensor(randomArray(4, 2), [4])
    const positions = device().tensor(randomArray(16, 3), [4, 4])
    classToken.requiresGrad = true
    const tokens = embedTokens(patches, classToken, positions)
    const loss = sum(tokens)
    const [gradient] = backward(loss, [classToken])
    expect([...(await gradient!.read())]).toEqual([2, 2, 2, 2])
    for (const tensor of [patches, classToken, positions, tokens, loss, gradient!]) tensor.dispose()
    expect(device().stats().usedBytes).toBe(before)
  })

  it('names positions that do not fit', () => {
    const [patches, classToken] = [device().empty([2, 3, 4]), device().empty([4])]
    expect(errorOf(() => embedTokens(patches, classToken, device().empty([3, 4]))).message).toBe(
      'embedTokens: positions has shape [3, 4], expected [4, 4]',
    )
  })
})
