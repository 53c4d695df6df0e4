import { describe, expect, it } from 'vitest'
import { gaussianBlur } from '../../../src/data/augment.ts'
import { randomBits } from '../../../src/kernels/random.ts'
import {
  cropPixels,
  normalizePixels,
  resizeWindow,
  type Pixels,
} from '../../../src/model/preprocess.ts'
import {
  blurImages,
  cropImages,
  normalizeImages,
  resizeImages,
} from '../../../src/runtime/ops/image.ts'
import type { Tensor } from '../../../src/runtime/tensor.ts'
import { expectClose } from '../../support/compare.ts'
import { useDevice } from '../../support/device.ts'
import { errorOf } from '../../support/errorOf.ts'
import { describeGolden, readGoldenTensors } from '../../support/golden.ts'

const picture = (width: number, height: number, seed: number): Pixels => ({
  width,
  height,
  data: Uint8Array.from({ length: width * height * 3 }, (_, i) => randomBits(seed, 9, i)),
})

/** The bytes of several pictures of one size. */
const joined = (pictures: readonly Pixels[]): Uint8Array<ArrayBuffer> =>
  Uint8Array.from(pictures.flatMap(({ data }) => [...data]))

describe('images', () => {
  const device = useDevice()

  const batchOf = (pictures: readonly Pixels[]): Tensor<'u8'> => {
    const { width, height } = pictures[0]!
    return device().tensor(joined(pictures), [pictures.length, height, width, 3])
  }

  it.each([
    { from: [1, 1], to: [5, 3] },
    { from: [30, 20], to: [64, 9] },
    { from: [90, 41], to: [17, 41] },
    { from: [41, 90], to: [41, 17] },
    { from: [33, 31], to: [33, 31] },
    { from: [61, 47], to: [40, 50], window: { x: 3, y: 11, width: 31, height: 30 } },
    { from: [50, 47], to: [50, 60], window: { x: 9, y: 1, width: 33, height: 12 } },
  ])("resize gives Pillow's bytes: $from to $to", async ({ from, to, window }) => {
    const [width, height] = from as [number, number]
    const [w, h] = to as [number, number]
    const pictures = [picture(width, height, 1), picture(width, height, 2)]
    const before = device().stats().usedBytes
    const x = batchOf(pictures)
    const out = resizeImages(x, w, h, window)
    const part = window ?? { x: 0, y: 0, width: w, height: h }
    expect(out.shape).toEqual([2, part.height, part.width, 3])
    const expected = joined(pictures.map((pixels) => resizeWindow(pixels, w, h, part)))
    expect([...(await out.read())]).toEqual([...expected])
    x.dispose()
    out.dispose()
    expect(device().stats().usedBytes).toBe(before)
  })

  it('crop cuts bytes and floats alike, by one window or by one for each picture', async () => {
    const pictures = [picture(19, 13, 3), picture(19, 13, 4)]
    const x = batchOf(pictures)
    const windows = [
      { x: 0, y: 5, width: 7, height: 8 },
      { x: 12, y: 0, width: 7, height: 8 },
    ]
    const cut = (list: typeof windows): number[] => [
      ...joined(
        pictures.map((pixels, i) => {
          const { x, y, width, height } = list[i]!
          return cropPixels(pixels, x, y, width, height)
        }),
      ),
    ]
    expect([...(await cropImages(x, windows).read())]).toEqual(cut(windows))
    const [window] = windows
    expect([...(await cropImages(x, window!).read())]).toEqual(cut([window!, window!]))
    const config = { mean: [0, 0, 0], std: [1, 1, 1] }
    const floats = cropImages(normalizeImages(x, config), windows)
    const expected = normalizeImages(cropImages(x, windows), config)
    expect(floats.shape).toEqual([2, 3, 8, 7])
    expect([...(await floats.read())]).toEqual([...(await expected.read())])
  })

  it('blur equals the blur on the host within one level, one sigma for each picture', async () => {
    for (const [width, height, taps] of [
      [30, 22, 9],
      [5, 40, 9],
      [1, 3, 3],
    ] as const) {
      const pictures = [picture(width, height, 5), picture(width, height, 6)]
      const sigmas = [0.4, 1.7]
      const out = blurImages(batchOf(pictures), sigmas, taps)
      const expected = joined(pictures.map((pixels, i) => gaussianBlur(pixels, sigmas[i]!, taps)))
      const actual = await out.read()
      const differences = expected.map((byte, i) => Math.abs(byte - actual[i]!))
      expect(Math.max(...differences)).toBeLessThanOrEqual(1)
      // Only sums next to a half may round to the other side.
      expect(differences.filter((d) => d > 0).length).toBeLessThanOrEqual(expected.length / 500)
    }
  })

  it('normalise gives the bits of the host', async () => {
    const config = {
      size: 15,
      resize: 15,
      mean: [0.48145466, 0.4578275, 0.40821073],
      std: [0.26862954, 0.26130258, 0.27577711],
    } as const
    const pictures = [picture(15, 15, 7), picture(15, 15, 8), picture(15, 15, 9)]
    const out = normalizeImages(batchOf(pictures), config)
    expect(out.shape).toEqual([3, 3, 15, 15])
    expect([...(await out.read())]).toEqual([...normalizePixels(pictures, config)])
  })

  it('names what it cannot take', () => {
    const x = device().empty([2, 4, 5, 3], 'u8')
    const floats = device().empty([2, 3, 4, 5])
    expect(errorOf(() => resizeImages(device().empty([4, 5, 3], 'u8'), 2, 2)).message).toBe(
      'resizeImages: pictures are u8[4, 5, 3], expected u8[B, H, W, C] or f32[B, C, H, W]',
    )
    expect(errorOf(() => resizeImages(x, 0, 2)).message).toBe(
      'resizeImages: width is 0, expected a whole number of pixels from 1',
    )
    const window = { x: 3, y: 0, width: 3, height: 4 }
    expect(errorOf(() => cropImages(floats, window)).message).toBe(
      'cropImages: a window of 3×4 pixels at (3, 0) does not lie in pictures of 5×4',
    )
    expect(errorOf(() => blurImages(x, [1, 1, 1], 3)).message).toBe(
      'blurImages: 3 sigma for 2 pictures, expected one for each, or one for all',
    )
    expect(errorOf(() => blurImages(x, 1, 4)).message).toBe(
      'blurImages: kernelSize is 4, expected an odd number',
    )
    expect(errorOf(() => normalizeImages(x, { mean: [0], std: [1, 1, 1] })).message).toBe(
      'normalizeImages: mean and std have 1 and 3 values for 3 channels',
    )
  })
})

describeGolden("torchvision's float images", () => {
  const device = useDevice()

  it('crop, resize and blur come out the same', async () => {
    const file = await readGoldenTensors('augment.safetensors')
    const [channels, height, width] = file.tensors.get('input')!.shape as [number, number, number]
    const x = device().tensor(file.float32('input'), [1, channels, height, width])
    let compared = 0
    for (const name of file.tensors.keys()) {
      const crop = /^crop_(\d+)_(\d+)_(\d+)_(\d+)$/.exec(name)
      const blur = /^blur_k(\d+)_s([\d.]+)$/.exec(name)
      if (!crop && !blur) continue
      const numbers = (crop ?? blur)!.slice(1).map(Number)
      let out: Tensor<'f32'>
      if (crop) {
        const [top, left, h, w] = numbers as [number, number, number, number]
        const part = cropImages(x, { x: left, y: top, width: w, height: h })
        out = resizeImages(part, 64, 64)
      } else out = blurImages(x, numbers[1]!, numbers[0]!)
      expectClose(name, await out.read(), file.float32(name), 2e-6)
      out.dispose()
      compared++
    }
    expect(compared).toBe(file.tensors.size - 1)
  })
})
