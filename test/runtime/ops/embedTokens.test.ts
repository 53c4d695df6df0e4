import { describe, expect, it } from 'vitest'
import { embedTokens } from '../../../src/runtime/ops/embedTokens.ts'
import { sum } from '../../../src/runtime/ops/reduce.ts'
import { backward } from '../../../src/runtime/tape.ts'
import * as reference from '../../reference/embedTokens.ts'
import { useDevice } from '../../support/device.ts'
import { errorOf } from '../../support/errorOf.ts'
import { gradcheck } from '../../support/gradcheck.ts'
import { randomArray } from '../../support/random.ts'

describe('embedTokens', () => {
  const device = useDevice()

  it.each([
    [1, 1, 1],
    [2, 3, 5],
    [3, 4, 64],
    [2, 7, 65],
  ])('has the values and gradients of its f64 loops: %i×%i×%i', async (batch, n, dimension) => {
    await gradcheck(device(), {
      inputs: {
        patches: [batch, n, dimension],
        classToken: [dimension],
        positions: [n + 1, dimension],
      },
      op: ({ patches, classToken, positions }) => embedTokens(patches, classToken, positions),
      reference: ({ patches, classToken, positions }) =>
        reference.embedTokens(patches, classToken, positions),
      forwardTolerance: 1e-7,
    })
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
