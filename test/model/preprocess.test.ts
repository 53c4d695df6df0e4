import { describe, expect, it } from 'vitest'
import { randomBits } from '../../src/kernels/random.ts'
import {
  centerCrop,
  cropPixels,
  normalizePixels,
  preprocess,
  resizeBicubic,
  resizeShortestEdge,
  resizeWindow,
} from '../../src/model/preprocess.ts'
import type { Pixels, PreprocessConfig } from '../../src/model/preprocess.ts'
import { errorOf } from '../support/errorOf.ts'
import { describeShared, readSharedTensors } from '../support/golden.ts'
import { expectSameBytes } from '../support/sameBytes.ts'

const imagenet = { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] } as const

function noise(width: number, height: number, seed = 1): Pixels {
  const data = Uint8Array.from({ length: width * height * 3 }, (_, i) => randomBits(seed, 0, i))
  return { width, height, data }
}

/** Pillow's definition, weight by weight in floating point, then rounded as its integers are. */
function resizeAxis(values: number[], length: number): number[] {
  const kernel = (x: number) => {
    if (x < 1) return 1.5 * x ** 3 - 2.5 * x ** 2 + 1
    return x < 2 ? -0.5 * x ** 3 + 2.5 * x ** 2 - 4 * x + 2 : 0
  }
  const scale = values.length / length
  const stretch = Math.max(scale, 1)
  return Array.from({ length }, (_, i) => {
    const centre = (i + 0.5) * scale
    const weights = values.map((_, j) => kernel(Math.abs(j + 0.5 - centre) / stretch))
    const sum = weights.reduce((a, b) => a + b)
    const value = values.reduce((total, v, j) => total + (v * weights[j]) / sum, 0)
    return Math.min(255, Math.max(0, Math.floor(value + 0.5)))
  })
}

function resizePlainly({ width, height, data }: Pixels, newWidth: number, newHeight: number) {
  const result = new Uint8Array(newWidth * newHeight * 3)
  for (let channel = 0; channel < 3; channel++) {
    const rows = Array.from({ length: height }, (_, y) =>
      resizeAxis(
        Array.from({ length: width }, (_, x) => data[(y * width + x) * 3 + channel]),
        newWidth,
      ),
    )
    for (let x = 0; x < newWidth; x++) {
      const column = resizeAxis(
        rows.map((row) => row[x]),
        newHeight,
      )
      column.forEach((value, y) => (result[(y * newWidth + x) * 3 + channel] = value))
    }
  }
  return result
}

describe('resizing', () => {
  it.each([
    [7, 5, 3, 4],
    [5, 9, 11, 23],
    [1, 1, 6, 4],
    [2, 13, 13, 2],
    [31, 17, 31, 5],
    [31, 17, 4, 17],
    [40, 30, 1, 1],
  ])('%i×%i to %i×%i follows the definition', (width, height, newWidth, newHeight) => {
    const pixels = noise(width, height)
    const { data } = resizeBicubic(pixels, newWidth, newHeight)
    const plain = resizePlainly(pixels, newWidth, newHeight)
    // 22-bit weights may tip a sum that lies on the half: one level, rarely.
    const differences = Array.from(plain, (value, i) => Math.abs(value - data[i]))
    expect(Math.max(...differences)).toBeLessThanOrEqual(1)
    expect(differences.filter((d) => d > 0).length).toBeLessThanOrEqual(plain.length / 100)
  })

  it('copies a picture that has the size already', () => {
    const pixels = noise(6, 4)
    const { data } = resizeBicubic(pixels, 6, 4)
    expectSameBytes(data, pixels.data)
    expect(data).not.toBe(pixels.data)
  })

  it.each([
    [1, 1],
    [9, 200],
    [333, 7],
  ])('keeps a plain picture plain, from %i×%i', (width, height) => {
    const pixels = { width, height, data: new Uint8Array(width * height * 3).fill(201) }
    expect(new Set(resizeBicubic(pixels, 50, 40).data)).toEqual(new Set([201]))
  })

  it('saturates where the filter overshoots', () => {
    const data = Uint8Array.from({ length: 8 * 3 }, (_, i) => (i < 12 ? 0 : 255))
    const values = resizeBicubic({ width: 8, height: 1, data }, 32, 1).data
    expect([Math.min(...values), Math.max(...values)]).toEqual([0, 255])
    // Wrapped sums would put bytes near 255 into the dark half.
    expect(Math.max(...values.slice(0, 14 * 3))).toBeLessThan(20)
  })

  it('a window has the bytes of the whole', () => {
    const pixels = noise(61, 47)
    for (const [width, height] of [
      [20, 30],
      [61, 30],
      [20, 47],
      [61, 47],
      [130, 99],
    ]) {
      const whole = resizeBicubic(pixels, width, height)
      for (const [x, y, w, h] of [
        [0, 0, 5, 5],
        [width - 7, height - 3, 7, 3],
        [4, 9, 11, 13],
      ]) {
        const window = resizeWindow(pixels, width, height, { x, y, width: w, height: h })
        expectSameBytes(window.data, cropPixels(whole, x, y, w, h).data)
      }
    }
  })

  it('takes clamped arrays', () => {
    const pixels = noise(9, 9)
    const clamped = { ...pixels, data: new Uint8ClampedArray(pixels.data) }
    expectSameBytes(resizeBicubic(clamped, 4, 4).data, resizeBicubic(pixels, 4, 4).data)
  })

  it('rounds the long edge down, whichever it is', () => {
    const size = (width: number, height: number) => {
      const { width: w, height: h } = resizeShortestEdge(noise(width, height), 20)
      return [w, h]
    }
    expect(size(30, 59)).toEqual([20, 39])
    expect(size(59, 30)).toEqual([39, 20])
    expect(size(7, 7)).toEqual([20, 20])
    expect(size(1, 3)).toEqual([20, 60])
  })
})

describe('cropping', () => {
  const pixels = noise(7, 6)

  it('cuts the centre, an odd remainder right and below', () => {
    expectSameBytes(centerCrop(pixels, 4).data, cropPixels(pixels, 1, 1, 4, 4).data)
    expectSameBytes(centerCrop(pixels, 6).data, cropPixels(pixels, 0, 0, 6, 6).data)
  })

  it('cuts rows and columns where it should', () => {
    const { width, height, data } = cropPixels(pixels, 2, 3, 2, 1)
    expect([width, height]).toEqual([2, 1])
    expect([...data]).toEqual([...pixels.data.slice((3 * 7 + 2) * 3, (3 * 7 + 4) * 3)])
  })

  it.each([
    [-1, 0, 2, 2],
    [0, 0, 8, 2],
    [6, 0, 2, 2],
    [0, 5, 2, 2],
    [0, 0, 0, 2],
    [0.5, 0, 2, 2],
  ])('refuses a part outside: %d %d %d %d', (x, y, width, height) => {
    const error = errorOf(() => cropPixels(pixels, x, y, width, height))
    expect(error.code).toBe('validation')
    expect(error.message).toMatch(/does not lie in a picture of 7×6/)
  })
})

describe('preprocess', () => {
  const config: PreprocessConfig = { size: 8, resize: 10, ...imagenet }

  it.each([
    [40, 23],
    [23, 40],
    [3, 500],
    [1, 1],
    [10, 10],
  ])('%i×%i: resize the shortest edge, cut the centre', (width, height) => {
    const pixels = noise(width, height)
    const result = preprocess(pixels, config)
    expect([result.width, result.height]).toEqual([8, 8])
    expectSameBytes(result.data, centerCrop(resizeShortestEdge(pixels, 10), 8).data)
  })

  it('takes a strip whose resized whole would fill gigabytes', () => {
    const pixels = noise(1, 40_000)
    expect(preprocess(pixels, { ...config, size: 224, resize: 256 }).data.length).toBe(
      224 * 224 * 3,
    )
    const error = errorOf(() => resizeShortestEdge(pixels, 256))
    expect(error.message).toMatch(/256×10240000 pixels is too large/)
  })

  it.each<[string, Pixels, PreprocessConfig, RegExp]>([
    ['too few bytes', { width: 2, height: 2, data: new Uint8Array(11) }, config, /2×2.*12.*got 11/],
    ['RGBA', { width: 2, height: 2, data: new Uint8Array(16) }, config, /got 16.*Remove alpha/],
    ['no pixels', { width: 0, height: 5, data: new Uint8Array(0) }, config, /width.*from 1, got 0/],
    ['a fraction', { width: 1, height: 1.5, data: new Uint8Array(3) }, config, /height.*got 1.5/],
    [
      'a crop beyond the edge',
      noise(3, 3),
      { ...config, size: 11 },
      /crop of 11.*at least.*got 10/,
    ],
    ['no size', noise(3, 3), { ...config, size: 0 }, /model input.*got 0/],
  ])('refuses %s', (_, pixels, config, message) => {
    const error = errorOf(() => preprocess(pixels, config))
    expect(error.code).toBe('validation')
    expect(error.message).toMatch(message)
  })
})

describe('normalizePixels', () => {
  const config: PreprocessConfig = { size: 2, resize: 2, ...imagenet }
  const images = [noise(2, 2, 1), noise(2, 2, 2)]
  const bytes = Uint8Array.from([...images[0].data, ...images[1].data])

  it('normalises each channel into its plane', () => {
    const result = normalizePixels(images, config)
    expect(result.length).toBe(2 * 3 * 4)
    for (let b = 0; b < 2; b++) {
      for (let channel = 0; channel < 3; channel++) {
        for (let i = 0; i < 4; i++) {
          const byte = images[b].data[i * 3 + channel]
          const value = (byte / 255 - imagenet.mean[channel]) / imagenet.std[channel]
          expect(result[(b * 3 + channel) * 4 + i]).toBeCloseTo(value, 5)
        }
      }
    }
  })

  it('takes bytes as well, all or the first of them', () => {
    expect(normalizePixels(bytes, config)).toEqual(normalizePixels(images, config))
    expect(normalizePixels(bytes, config, 1)).toEqual(normalizePixels([images[0]], config))
    expect(normalizePixels([], config).length).toBe(0)
  })

  it.each<[string, () => unknown, RegExp]>([
    ['part of a picture', () => normalizePixels(bytes.subarray(1), config), /12 bytes.*got 23/],
    ['too few pictures', () => normalizePixels(bytes, config, 3), /3 pictures.*got 24/],
    ['another size', () => normalizePixels([noise(3, 2)], config), /takes 2×2 pixels, got 3×2/],
  ])('refuses %s', (_, run, message) => {
    const error = errorOf(run)
    expect(error.code).toBe('validation')
    expect(error.message).toMatch(message)
  })
})

describeShared("keeplight-tiny's pictures", () => {
  it('32×32 sources give the bytes that the model was checked with', async () => {
    const file = await readSharedTensors('weights/keeplight-tiny/expected.safetensors')
    const sources = file.bytes('source_uint8_32x32')
    const expected = file.bytes('pixels_uint8')
    const config: PreprocessConfig = { size: 64, resize: 64, ...imagenet }
    for (let i = 0; i < 4; i++) {
      const data = sources.subarray(i * 3072, (i + 1) * 3072)
      const result = preprocess({ width: 32, height: 32, data }, config)
      expectSameBytes(result.data, expected.subarray(i * 64 * 64 * 3, (i + 1) * 64 * 64 * 3))
    }
  })
})
