import { expect, it } from 'vitest'
import type { Checkpoint } from '../../src/model/checkpoint.ts'
import { parseSafetensors } from '../../src/model/safetensors.ts'
import { readVit } from '../../src/model/vit/names.ts'
import { classRowsOf, VisionTransformer } from '../../src/model/vit/vit.ts'
import { useDevice } from '../support/device.ts'
import { describeGolden, readGolden } from '../support/golden.ts'
import {
  clipShapes,
  dinoShapes,
  dinov2Shapes,
  seededCheckpoint,
  uniform,
} from '../support/seeded.ts'

/**
 * Published architectures in full size, with weights by the goldens' formula: one model in every run,
 * the others by `npm run test:full`, as a software adapter takes a minute for them.
 */
interface FullModel {
  readonly name: string
  /** Side of the input in pixels. */
  readonly side: number
  readonly batch: number
  readonly checkpoint: () => Checkpoint
}

const inEveryRun: readonly FullModel[] = [
  {
    name: 'clip-vit-b-32',
    side: 224,
    batch: 2,
    checkpoint: () =>
      seededCheckpoint(clipShapes({ imageSize: 224, patch: 32, width: 768, layers: 12 }, 512)),
  },
]
const dinoSmall = (): Checkpoint =>
  seededCheckpoint(dinoShapes({ imageSize: 224, patch: 16, width: 384, layers: 12 }))
const inFullRuns: readonly FullModel[] = [
  { name: 'dino-vit-s-16', side: 224, batch: 2, checkpoint: dinoSmall },
  { name: 'dino-vit-s-16', side: 96, batch: 2, checkpoint: dinoSmall },
  {
    name: 'dinov2-vit-s-14',
    side: 224,
    batch: 2,
    checkpoint: () =>
      seededCheckpoint(dinov2Shapes({ imageSize: 518, patch: 14, width: 384, layers: 12 })),
  },
  {
    name: 'dino-vit-b-8',
    side: 224,
    batch: 1,
    checkpoint: () =>
      seededCheckpoint(dinoShapes({ imageSize: 224, patch: 8, width: 768, layers: 12 })),
  },
  {
    name: 'clip-vit-l-14',
    side: 224,
    batch: 1,
    checkpoint: () =>
      seededCheckpoint(clipShapes({ imageSize: 224, patch: 14, width: 1024, layers: 24 }, 768)),
  },
]
const models = process.env.KEEPLIGHT_FULL ? [...inEveryRun, ...inFullRuns] : inEveryRun

function agreement(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
): { largest: number; cosine: number } {
  let [largest, dot, a, b] = [0, 0, 0, 0]
  for (let i = 0; i < expected.length; i++) {
    const [x, y] = [actual[i]!, expected[i]!]
    if (!(Math.abs(x - y) <= largest)) largest = Math.abs(x - y)
    dot += x * y
    a += x * x
    b += y * y
  }
  return { largest, cosine: dot / Math.sqrt(a * b) }
}

describeGolden('full-size models', () => {
  const device = useDevice()

  it('makes weights by the formula', () => {
    expect([...uniform('check', [2], 1)]).toEqual([0.7580955028533936, 0.16387128829956055])
    expect([...uniform('check', [4], 0.2, { seed: 7, mean: 1 })].at(-1)).toBe(0.81910640001297)
  })

  it.each(models)('$name at $side pixels', async ({ name, side, batch, checkpoint }) => {
    const expected = parseSafetensors(await readGolden(`${name}/expected.safetensors`))
    const { config, weights } = readVit(checkpoint())
    const vit = new VisionTransformer(device(), config, weights)
    const clip = config.family === 'clip'
    const shape = [batch, 3, side, side]
    const pixels = uniform(clip ? 'pixel_values' : `pixel_values_${side}x${side}`, shape, 2)
    const tokens = (side / config.patchSize) ** 2 + 1
    const input = device().tensor(pixels, shape)
    const rows = device().tensor(classRowsOf(batch, tokens), [batch])
    const out = vit.forward(input, rows)

    const feature = expected.float32(clip ? 'image_embeds' : `cls_${side}x${side}`)
    const found = agreement(await out.feature.read(), feature)
    expect(found.largest).toBeLessThanOrEqual(1e-3)
    expect(found.cosine).toBeGreaterThanOrEqual(0.99999)

    // The first three tokens, as the reference reports them: normed for DINO, not for CLIP.
    const last = await (clip ? out.tokens : vit.normalize(out.tokens)).read()
    const reference = expected.float32(clip ? 'vision_last_hidden' : `last_hidden_${side}x${side}`)
    const three = 3 * config.hiddenSize
    for (let i = 0; i < batch; i++) {
      const start = i * tokens * config.hiddenSize
      const { largest } = agreement(
        last.subarray(start, start + three),
        reference.subarray(i * three, (i + 1) * three),
      )
      expect(largest, `tokens of image ${i}`).toBeLessThanOrEqual(1e-3)
    }
    vit.dispose()
    device().trim()
  })
})
