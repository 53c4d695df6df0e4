import { describe, expect, it } from 'vitest'
import { patchifyBackwardKernel, patchifyKernel } from '../../src/kernels/patchify.ts'
import { patchify } from '../reference/patchEmbed.ts'
import { useDevice } from '../support/device.ts'
import { runKernel } from '../support/kernels.ts'
import { randomArray } from '../support/random.ts'

describe('patchify', () => {
  const device = useDevice()

  it.each([
    // [batch, channels, height, width, patch]; lines of patches one below, at and above a workgroup
    [1, 1, 1, 1, 1],
    [1, 1, 7, 9, 1],
    [1, 1, 8, 8, 1],
    [1, 1, 5, 13, 1],
    [2, 3, 8, 16, 4],
    [3, 3, 12, 6, 6],
    [1, 2, 14, 28, 7],
    [2, 3, 32, 16, 8],
  ])('cuts and puts together again: %i×%i×%i×%i by %i', async (...sizes) => {
    const [batch, channels, height, width, patch] = sizes
    const x = randomArray(batch * channels * height * width, 1)
    const imageShape = [batch, channels, height, width]
    const patchShape = [batch, (height / patch) * (width / patch), channels * patch * patch]
    const expected = patchify(x, { batch, channels, height, width, patch })
    const vector = patch % 4 === 0
    for (const lines of patch === 1 ? [1] : [1, patch]) {
      const params = { batch, channels, height, width, side: patch, lines }
      const { out } = await runKernel(
        device(),
        patchifyKernel({ vector }),
        { x: { data: x, shape: imageShape } },
        { out: patchShape },
        params,
      )
      expect([...out!]).toEqual([...expected])
      const { dX } = await runKernel(
        device(),
        patchifyBackwardKernel({ vector }),
        { dOut: { data: out!, shape: patchShape } },
        { dX: imageShape },
        params,
      )
      expect([...dX!]).toEqual([...x])
    }
  })
})
