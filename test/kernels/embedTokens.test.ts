import { describe, expect, it } from 'vitest'
import {
  embedTokensKernel,
  embedTokensPatchesBackwardKernel,
} from '../../src/kernels/embedTokens.ts'
import { embedTokens } from '../reference/embedTokens.ts'
import { expectClose } from '../support/compare.ts'
import { useDevice } from '../support/device.ts'
import { runKernel } from '../support/kernels.ts'
import { randomArray } from '../support/random.ts'

describe('embedTokens', () => {
  const device = useDevice()

  it.each([
    [1, 1, 1],
    [1, 1, 32],
    [1, 2, 21],
    [1, 4, 13],
    [3, 4, 5],
    [2, 3, 64],
    [5, 2, 65],
  ])('equals f64 loops: batch %i, %i patches of dimension %i', async (batch, n, dimension) => {
    const patches = randomArray(batch * n * dimension, 1)
    const classToken = randomArray(dimension, 2)
    const positions = randomArray((n + 1) * dimension, 3)
    const { out } = await runKernel(
      device(),
      embedTokensKernel,
      {
        patches: { data: patches, shape: [batch, n, dimension] },
        classToken: { data: classToken, shape: [dimension] },
        positions: { data: positions, shape: [n + 1, dimension] },
      },
      { out: [batch, n + 1, dimension] },
      { batch, n, dimension },
    )
    expectClose('tokens', out!, embedTokens(patches, classToken, positions), 1e-7)

    const dOut = randomArray(batch * (n + 1) * dimension, 4)
    const { dPatches } = await runKernel(
      device(),
      embedTokensPatchesBackwardKernel,
      { dOut: { data: dOut, shape: [batch, n + 1, dimension] } },
      { dPatches: [batch, n, dimension] },
      { batch, n, dimension },
    )
    const expected = Array.from({ length: batch }, (_, b) => [
      ...dOut.subarray((b * (n + 1) + 1) * dimension, (b + 1) * (n + 1) * dimension),
    ])
    expect([...dPatches!]).toEqual(expected.flat())
  })
})
