import { expect, it } from 'vitest'
import { inspectBatch, type Activations, type Inspection } from '../../src/model/inspect.ts'
import { readVit } from '../../src/model/vit/names.ts'
import { VisionTransformer } from '../../src/model/vit/vit.ts'
import { attentionWeights, unpackHeads } from '../reference/attention.ts'
import { layerNorm } from '../reference/layerNorm.ts'
import { matmul } from '../reference/matmul.ts'
import { useDevice } from '../support/device.ts'
import { describeGolden, readGoldenTensors } from '../support/golden.ts'

const largestDifference = (actual: ArrayLike<number>, expected: ArrayLike<number>): number => {
  expect(actual.length).toBe(expected.length)
  let worst = 0
  for (let i = 0; i < actual.length; i++) {
    const difference = Math.abs(actual[i]! - expected[i]!)
    if (!(difference <= worst)) worst = difference
  }
  return worst
}

/** Rows of each image from the `first` token on; all of [B, T, D] are those from 0. */
function tokensFrom(first: number, all: Float32Array, [batch, tokens, width]: number[]): number[] {
  return Array.from({ length: batch! }, (_, i) =>
    [...all.subarray(i * tokens! * width!, (i + 1) * tokens! * width!)].slice(first * width!),
  ).flat()
}

describeGolden('inspection', () => {
  const device = useDevice()

  it.each([
    ['clip-tiny', 'pixel_values', 32, 32],
    ['dino-tiny', 'pixel_values_48x40', 48, 40],
    ['dinov2-tiny', 'pixel_values_56x56', 56, 56],
    ['dinov2-registers-tiny', 'pixel_values_42x70', 42, 70],
  ])('%s: block outputs, patch tokens and attention (%s)', async (name, input, height, width) => {
    const expected = await readGoldenTensors(`${name}/expected.safetensors`)
    const { config, weights } = readVit(await readGoldenTensors(`${name}/model.safetensors`))
    const encoder = new VisionTransformer(device(), config, weights)
    const pixels = expected.float32(input)
    const inspect = (from: 'all' | 'class'): Promise<Inspection> =>
      inspectBatch(device(), encoder, pixels, [height, width], {
        blocks: [0, -1],
        patchTokens: true,
        attention: { block: 1, from },
      })
    const result = await inspect('all')
    const [rows, columns] = [height / config.patchSize, width / config.patchSize]
    const first = 1 + config.registers
    const tokens = first + rows * columns
    expect(result.grid).toEqual([rows, columns])
    expect(result.registers).toBe(name === 'dinov2-registers-tiny' ? 4 : 0)

    const suffix = name === 'clip-tiny' ? '' : `_${height}x${width}`
    const hidden = (i: number): Float32Array =>
      expected.float32(name === 'clip-tiny' ? `vision_hidden_${i}` : `hidden${suffix}_${i}`)
    expect([...result.blocks.keys()]).toEqual([0, config.layers - 1])
    expect(result.blocks.get(0)!.shape).toEqual([2, tokens, 128])
    expect(largestDifference(result.blocks.get(0)!.data, hidden(1))).toBeLessThanOrEqual(1e-4)
    // transformers reports the final norm's output as a ViT's last hidden state.
    if (name !== 'dino-tiny') {
      const last = result.blocks.get(config.layers - 1)!.data
      expect(largestDifference(last, hidden(config.layers))).toBeLessThanOrEqual(1e-4)
    }
    const all = expected.float32(
      name === 'clip-tiny' ? 'vision_last_hidden' : `last_hidden${suffix}`,
    )
    expect(result.patchTokens!.shape).toEqual([2, rows * columns, 128])
    expect(
      largestDifference(result.patchTokens!.data, tokensFrom(first, all, [2, tokens, 128])),
    ).toBeLessThanOrEqual(1e-4)
    const feature = expected.float32(name === 'clip-tiny' ? 'image_embeds' : `cls${suffix}`)
    expect(largestDifference(result.features.data, feature)).toBeLessThanOrEqual(1e-4)

    // The attention of block 1, in f64 from the reference's own input of that block.
    const { norm1, qkv } = weights.blocks[1]!
    const normed = layerNorm(hidden(1), norm1.weight, norm1.bias, config.layerNormEps)
    const size = { m: 2 * tokens, n: 3 * 128, k: 128 }
    const packed = matmul(normed, qkv.weight, size, { transposeB: true }).map(
      (sum, i) => sum + qkv.bias[i % (3 * 128)]!,
    )
    const heads = { batches: 2, heads: config.heads, tokens, headSize: 64 }
    const [q, k] = [0, 1].map((part) => unpackHeads(packed, part, 3, heads)) as [
      Float64Array,
      Float64Array,
    ]
    const reference = attentionWeights(q, k, heads)
    const map = result.attention!
    expect(map.shape).toEqual([2, config.heads, tokens, tokens])
    expect(largestDifference(map.data, reference)).toBeLessThanOrEqual(1e-5)
    expect(Math.max(...reference) / (1 / tokens)).toBeGreaterThan(1.5)

    const { attention: fromClass } = (await inspect('class')) as { attention: Activations }
    expect(fromClass.shape).toEqual([2, config.heads, rows, columns])
    const classRows = Array.from({ length: 2 * config.heads }, (_, slice) => [
      ...reference.subarray(slice * tokens * tokens + first, slice * tokens * tokens + tokens),
    ]).flat()
    expect(largestDifference(fromClass.data, classRows)).toBeLessThanOrEqual(1e-5)

    encoder.dispose()
    expect(device().stats().usedBytes).toBe(0)
  })
})
