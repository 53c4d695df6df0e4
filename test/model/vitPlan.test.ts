import { describe, expect, it } from 'vitest'
import { readVit } from '../../src/model/vit/names.ts'
import { classRowsOf, VisionTransformer } from '../../src/model/vit/vit.ts'
import type { FloatDtype } from '../../src/runtime/dtype.ts'
import { record } from '../../src/runtime/plan.ts'
import { expectClose } from '../support/compare.ts'
import { useDevice } from '../support/device.ts'
import { randomArray } from '../support/random.ts'
import { clipShapes, seededCheckpoint } from '../support/seeded.ts'
import { supports } from '../support/leftOut.ts'

/** A CLIP of the depth and the tokens of ViT-B/32, narrower and of smaller patches. */
const SIZE = { imageSize: 56, patch: 8, width: 64, layers: 12 }
const [BATCH, TOKENS] = [2, 50]

describe('the plan of a 12-block ViT', () => {
  const device = useDevice()

  /**
   * A block needs 7 units of its input's size where most is alive: 4 of the MLP's hidden tokens (or 3 of
   * packed queries, keys and values beside normed ones), and tokens before and after. 1.2 × the two
   * largest, 4 + 3, are 8.4.
   */
  it('keeps to 90 dispatches and 1.2 × its two largest intermediates, and less in f16', async () => {
    const { config, weights } = readVit(seededCheckpoint(clipShapes(SIZE, 32)))
    const vit = new VisionTransformer(device(), config, weights)
    const { imageSize, width } = SIZE
    const pixels = device().tensor(randomArray(BATCH * 3 * imageSize ** 2, 1), [
      ...[BATCH, 3, imageSize, imageSize],
    ])
    const rows = device().tensor(classRowsOf(BATCH, TOKENS), [BATCH])
    const unit = BATCH * TOKENS * width * 4

    const run = async (dtype: FloatDtype) => {
      vit.preparePositions(imageSize, imageSize)
      const plan = await record(device(), { pixels }, () => {
        return { feature: vit.forward(pixels, rows, { dtype }).feature }
      })
      plan.run()
      const feature = await plan.outputs.feature.read()
      const stats = plan.stats()
      plan.dispose()
      return { feature, stats }
    }

    const { feature, stats } = await run('f32')
    const [first, second] = stats.largestBytes
    expect(stats.dispatches).toBeLessThanOrEqual(90)
    expect([first, second]).toEqual([4 * unit, 4 * unit])
    expect(stats.arenaBytes).toBeLessThanOrEqual(1.2 * (4 * unit + 3 * unit))
    // Of a block: 12 D² weights in four matrices; of the model, twelve.
    expect(stats.heldBytes).toBeGreaterThan(SIZE.layers * 12 * width ** 2 * 4)
    const mib = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(3)} MiB`
    for (const figure of [stats.arenaBytes, first, second, 1.2 * (first + second)]) {
      expect(String(stats)).toContain(mib(figure))
    }

    const half = await run('f16')
    expectClose('feature of f16 activations', half.feature, feature, 5e-3)
    expect(cosine(half.feature, feature)).toBeGreaterThan(0.99999)
    // Tokens between blocks, and the pixels of patches, stay f32.
    if (supports(device(), 'shader-f16', 'what native f16 saves')) {
      expect(half.stats.dispatches).toBe(stats.dispatches)
      expect(half.stats.arenaBytes).toBeLessThan(0.8 * stats.arenaBytes)
    }
    vit.dispose()
  })
})

function cosine(a: Float32Array, b: Float32Array): number {
  let [ab, aa, bb] = [0, 0, 0]
  a.forEach((x, i) => {
    ab += x * b[i]!
    aa += x * x
    bb += b[i]! ** 2
  })
  return ab / Math.sqrt(aa * bb)
}
