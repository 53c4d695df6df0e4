import { describe, it } from 'vitest'
import { embedTokensKernel } from '../../src/kernels/embedTokens.ts'
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
    [65, 1, 4],
    [64, 2, 3],
  ])('equals f64 loops: batch %i, %i patches of dimension %i', async (batch, n, dimension) => {
    const patches = randomArray(batch * n * dimension, 1)
    const classToken = randomArray(dimension, 2)
    const positions = randomArray((n + 1) * dimension, 3)
    for (const lanes of [1, 64] as const) {
      const { out } = await runKernel(
        device(),
        embedTokensKernel({ lanes, vector: dimension % 4 === 0 }),
        {
          patches: { data: patches, shape: [batch, n, dimension] },
          classToken: { data: classToken, shape: [dimension] },
          positions: { data: positions, shape: [n + 1, dimension] },
        },
        { out: [batch, n + 1, dimension] },
        { batch, n, dimension },
      )
      expectClose(`${lanes} lanes`, out!, embedTokens(patches, classToken, positions), 1e-7)
    }
  })
})
