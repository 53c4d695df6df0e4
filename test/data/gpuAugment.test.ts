import { describe, expect, it } from 'vitest'
import { drawView, prepareViews } from '../../src/data/augment.ts'
import { augmentViews, ViewBatch } from '../../src/data/gpuAugment.ts'
import { viewPicture } from '../../src/data/viewPicture.ts'
import { randomBits } from '../../src/kernels/random.ts'
import type { Pixels, PreprocessConfig } from '../../src/model/preprocess.ts'
import { blurSquares } from '../../src/runtime/ops/image.ts'
import { useDevice } from '../support/device.ts'
import { errorOf } from '../support/errorOf.ts'

const SIZE = 40
/** Crops are cut from another size than the clean picture, as CLIP's, and from the same, as DINO's. */
const configs = [SIZE, 46].map((resize): PreprocessConfig => {
  return { size: SIZE, resize, mean: [0.5, 0.4, 0.3], std: [0.2, 0.3, 0.4] }
})
const noise = (width: number, height: number): Pixels => ({
  width,
  height,
  data: Uint8Array.from({ length: width * height * 3 }, (_, i) => randomBits(width, 9, i)),
})
const pictures = [noise(70, 50), noise(30, 90), noise(46, 46), noise(2, 60)]
const VIEWS = 6

describe('views made on the GPU', () => {
  const device = useDevice()

  it.each(configs)('are those of the host within one level, resize $resize', async (config) => {
    const batch = new ViewBatch(config, pictures.length * VIEWS)
    const expected: number[] = []
    const blurred: boolean[] = []
    pictures.forEach((pixels, stream) => {
      const host = prepareViews(pixels, config, { views: VIEWS, seed: 3, stream })
      expected.push(...host.subarray(SIZE * SIZE * 3))
      const picture = viewPicture(pixels, config, stream)
      for (let view = 0; view < VIEWS; view++) {
        const draw = drawView(3, picture.stream, view)
        blurred.push(draw.blur)
        batch.add(picture, draw)
      }
    })
    expect([batch.full, batch.filled]).toEqual([true, blurred.length])
    const views = blurred.length
    const pixels = device().tensor(batch.pixels, [views, SIZE, SIZE, 3])
    const taps = {
      spans: device().tensor(batch.spans, [views, SIZE, 2]),
      weights: device().tensor(batch.weights, [views, SIZE, batch.stride]),
    }
    const bytes = await blurSquares(pixels, taps).read()
    let moved = 0
    bytes.forEach((byte, i) => {
      const off = Math.abs(byte - expected[i]!)
      if (off > 1) throw new Error(`byte ${i} is ${byte}, the host's is ${expected[i]}`)
      if (off === 0) return
      moved++
      expect(blurred[Math.floor(i / (SIZE * SIZE * 3))]).toBe(true)
    })
    expect(moved).toBeLessThan(bytes.length / 500)

    const out = augmentViews(pixels, taps, config)
    expect(out.shape).toEqual([views, 3, SIZE, SIZE])
    const values = await out.read()
    const area = SIZE * SIZE
    for (let i = 0; i < values.length; i += 131) {
      const [image, channel, place] = [Math.floor(i / 3 / area), Math.floor(i / area) % 3, i % area]
      const byte = bytes[(image * area + place) * 3 + channel]!
      const value = (byte / 255 - config.mean[channel]!) / config.std[channel]!
      expect(Math.abs(values[i]! - value)).toBeLessThan(1e-5)
    }
  })

  it('names tables that belong to other pictures', () => {
    const x = device().empty([2, 5, 5, 3], 'u8')
    const taps = { spans: device().empty([2, 4, 2], 'u32'), weights: device().empty([2, 4, 3]) }
    expect(errorOf(() => blurSquares(x, taps)).message).toMatch(
      /^blurSquares: tables .*2, 4, 3.* for .*, expected one of 5 outputs for each square$/,
    )
  })
})
