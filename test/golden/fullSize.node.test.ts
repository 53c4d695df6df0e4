import { expect, it } from 'vitest'
import { loadVit } from '../../src/model/loadTowers.ts'
import { parseSafetensors } from '../../src/model/safetensors.ts'
import { classRowsOf } from '../../src/model/vit/vit.ts'
import type { Shape } from '../../src/runtime/shape.ts'
import { cosine } from '../support/compare.ts'
import { useDevice } from '../support/device.ts'
import { describeGolden, readGolden } from '../support/golden.ts'
import { clipShapes, dinoShapes, dinov2Shapes, uniform } from '../support/seeded.ts'
import { seededSource } from '../support/seededSource.ts'

/**
 * Published architectures in full size, with weights by the goldens' formula: one model in every run,
 * the others by `npm run test:full`, as a software adapter takes a minute for them.
 */
interface FullModel {
  readonly name: string
  /** Side of the input in pixels. */
  readonly side: number
  readonly batch: number
  readonly shapes: Record<string, Shape>
}

const inEveryRun: readonly FullModel[] = [
  {
    name: 'clip-vit-b-32',
    side: 224,
    batch: 2,
    shapes: clipShapes({ imageSize: 224, patch: 32, width: 768, layers: 12 }, 512),
  },
]
const dinoSmall = dinoShapes({ imageSize: 224, patch: 16, width: 384, layers: 12 })
const inFullRuns: readonly FullModel[] = [
  { name: 'dino-vit-s-16', side: 224, batch: 2, shapes: dinoSmall },
  { name: 'dino-vit-s-16', side: 96, batch: 2, shapes: dinoSmall },
  {
    name: 'dinov2-vit-s-14',
    side: 224,
    batch: 2,
    shapes: dinov2Shapes({ imageSize: 518, patch: 14, width: 384, layers: 12 }),
  },
  {
    name: 'dino-vit-b-8',
    side: 224,
    batch: 1,
    shapes: dinoShapes({ imageSize: 224, patch: 8, width: 768, layers: 12 }),
  },
  {
    name: 'clip-vit-l-14',
    side: 224,
    batch: 1,
    shapes: clipShapes({ imageSize: 224, patch: 14, width: 1024, layers: 24 }, 768),
  },
]
const models = process.env.KEEPLIGHT_FULL ? [...inEveryRun, ...inFullRuns] : inEveryRun

const cases = models.flatMap((model) => {
  return (['f32', 'f16', 'int8'] as const).map((dtype) => ({ ...model, dtype }))
})
/** Cosine of features with the reference's. */
const LEAST = { f32: 0.99999, f16: 0.999, int8: 0.99 } as const

function largestDifference(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  let largest = 0
  for (let i = 0; i < expected.length; i++) {
    const difference = Math.abs(actual[i]! - expected[i]!)
    if (!(difference <= largest)) largest = difference
  }
  return largest
}

describeGolden('full-size models', () => {
  const device = useDevice()

  it('makes weights by the formula', () => {
    expect([...uniform('check', [2], 1)]).toEqual([0.7580955028533936, 0.16387128829956055])
    expect([...uniform('check', [4], 0.2, { seed: 7, mean: 1 })].at(-1)).toBe(0.81910640001297)
  })

  it.each(cases)(
    '$name at $side pixels in $dtype',
    async ({ name, side, batch, shapes, dtype }) => {
      const expected = parseSafetensors(await readGolden(`${name}/expected.safetensors`))
      const source = seededSource(name, shapes)
      const { encoder: vit } = await loadVit(source, { device: device(), dtype })
      const { config } = vit
      const clip = config.family === 'clip'
      const shape = [batch, 3, side, side]
      const pixels = uniform(clip ? 'pixel_values' : `pixel_values_${side}x${side}`, shape, 2)
      const tokens = (side / config.patchSize) ** 2 + 1
      const input = device().tensor(pixels, shape)
      const rows = device().tensor(classRowsOf(batch, tokens), [batch])
      const out = vit.forward(input, rows)

      const feature = await out.feature.read()
      const wanted = expected.float32(clip ? 'image_embeds' : `cls_${side}x${side}`)
      const size = wanted.length / batch
      for (let i = 0; i < batch; i++) {
        const part = (all: Float32Array): Float32Array => all.subarray(i * size, (i + 1) * size)
        expect(cosine(part(feature), part(wanted)), `image ${i}`).toBeGreaterThanOrEqual(
          LEAST[dtype],
        )
      }
      // The first three tokens, as the reference reports them: normed for DINO, not for CLIP.
      const last = clip ? out.tokens : vit.normalize(out.tokens)
      if (dtype === 'f32') {
        expect(largestDifference(feature, wanted)).toBeLessThanOrEqual(1e-3)
        const values = await last.read()
        const reference = expected.float32(
          clip ? 'vision_last_hidden' : `last_hidden_${side}x${side}`,
        )
        const three = 3 * config.hiddenSize
        for (let i = 0; i < batch; i++) {
          const start = i * tokens * config.hiddenSize
          const largest = largestDifference(
            values.subarray(start, start + three),
            reference.subarray(i * three, (i + 1) * three),
          )
          expect(largest, `tokens of image ${i}`).toBeLessThanOrEqual(1e-3)
        }
      }
      for (const tensor of [input, rows, out.feature, out.tokens, last]) tensor.dispose()
      vit.dispose()
      device().trim()
    },
    600_000,
  )
})
