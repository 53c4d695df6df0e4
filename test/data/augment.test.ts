import { describe, expect, it } from 'vitest'
import { blurKernelSize, drawView, gaussianBlur, prepareViews } from '../../src/data/augment.ts'
import { randomBits } from '../../src/kernels/random.ts'
import {
  cropPixels,
  preprocess,
  resizeBicubic,
  resizeShortestEdge,
} from '../../src/model/preprocess.ts'
import type { Pixels, PreprocessConfig } from '../../src/model/preprocess.ts'
import type { SafetensorsFile } from '../../src/model/safetensors.ts'
import { errorOf } from '../support/errorOf.ts'
import { describeGolden, readGoldenTensors } from '../support/golden.ts'
import { expectSameBytes } from '../support/sameBytes.ts'

const config: PreprocessConfig = {
  size: 64,
  resize: 64,
  mean: [0.485, 0.456, 0.406],
  std: [0.229, 0.224, 0.225],
}
const viewBytes = 64 * 64 * 3

function noise(width: number, height: number, seed = 1): Pixels {
  const data = Uint8Array.from({ length: width * height * 3 }, (_, i) => randomBits(seed, 0, i))
  return { width, height, data }
}

function split(bytes: Uint8Array): Uint8Array[] {
  return Array.from({ length: bytes.length / viewBytes }, (_, i) =>
    bytes.subarray(i * viewBytes, (i + 1) * viewBytes),
  )
}

const same = (a: ArrayLike<number>, b: ArrayLike<number>) => {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false
  return a.length === b.length
}

describe('the draws of a view', () => {
  const views = 4
  const streams = 4000
  const draws = Array.from({ length: streams }, (_, stream) =>
    Array.from({ length: views }, (_, view) => drawView(5, stream, view)),
  )
  const all = draws.flat()
  const share = (holds: (draw: (typeof all)[number]) => boolean) =>
    all.filter(holds).length / all.length
  // Five standard deviations of a share of 16,000 draws.
  const near = (probability: number, count = all.length) =>
    5 * Math.sqrt((probability * (1 - probability)) / count)

  it('crops half of the views, blurs half, independently', () => {
    expect(Math.abs(share((d) => d.crop) - 0.5)).toBeLessThan(near(0.5))
    expect(Math.abs(share((d) => d.blur) - 0.5)).toBeLessThan(near(0.5))
    for (const crop of [false, true]) {
      for (const blur of [false, true]) {
        const both = share((d) => d.crop === crop && d.blur === blur)
        expect(Math.abs(both - 0.25)).toBeLessThan(near(0.25))
      }
    }
  })

  it('draws each view of a picture, and each picture, anew', () => {
    for (const field of ['crop', 'blur'] as const) {
      const equal = draws.filter(([a, b]) => a[field] === b[field]).length / streams
      expect(Math.abs(equal - 0.5)).toBeLessThan(near(0.5, streams))
      const next = draws.slice(1).filter((d, i) => d[0][field] === draws[i][0][field]).length
      expect(Math.abs(next / (streams - 1) - 0.5)).toBeLessThan(near(0.5, streams))
    }
    // One pair in sixteen is two clean copies.
    const clean = draws.filter(([a, b]) => !a.crop && !a.blur && !b.crop && !b.blur).length
    expect(Math.abs(clean / streams - 1 / 16)).toBeLessThan(near(1 / 16, streams))
  })

  it('spreads place and sigma evenly, unrelated to one another', () => {
    const keys = ['x', 'y', 'sigma'] as const
    for (const a of keys) {
      const mean = all.reduce((sum, d) => sum + d[a], 0) / all.length
      expect(Math.abs(mean - 0.5)).toBeLessThan(5 * Math.sqrt(1 / 12 / all.length))
      for (const b of keys) {
        const product = all.reduce((sum, d) => sum + (d[a] - 0.5) * (d[b] - 0.5), 0) / all.length
        expect(Math.abs(product - (a === b ? 1 / 12 : 0))).toBeLessThan(0.005)
      }
    }
  })
})

describe('prepareViews', () => {
  it('puts the picture as preprocess makes it first, then the views', () => {
    const pixels = noise(90, 70)
    const bytes = prepareViews(pixels, config, { views: 4, seed: 1, stream: 0 })
    expect(bytes.length).toBe(5 * viewBytes)
    expectSameBytes(split(bytes)[0], preprocess(pixels, config).data)
    const none = prepareViews(pixels, config, { views: 0, seed: 1, stream: 0 })
    expectSameBytes(none, preprocess(pixels, config).data)
  })

  it('makes each view as its draws say', () => {
    const pixels = noise(90, 70)
    const edge = 73 // 64 · 256 / 224
    const resized = resizeShortestEdge(pixels, edge)
    const clean = preprocess(pixels, config)
    const seen = new Set<string>()
    for (let stream = 0; stream < 6; stream++) {
      const images = split(prepareViews(pixels, config, { views: 4, seed: 2, stream }))
      for (let view = 0; view < 4; view++) {
        const draw = drawView(2, stream, view)
        seen.add(`${draw.crop} ${draw.blur}`)
        const x = Math.floor(draw.x * (resized.width - 64 + 1))
        const y = Math.floor(draw.y * (edge - 64 + 1))
        let expected = draw.crop ? cropPixels(resized, x, y, 64, 64) : clean
        const sigma = ((0.1 + 1.9 * draw.sigma) * 64) / 224
        if (draw.blur) expected = gaussianBlur(expected, sigma, 3)
        expectSameBytes(images[1 + view], expected.data)
      }
    }
    expect(seen.size).toBe(4)
  })

  it('leaves a quarter of the views clean, bit for bit', () => {
    const pixels = noise(40, 40)
    let clean = 0
    let expected = 0
    for (let stream = 0; stream < 100; stream++) {
      const [first, ...views] = split(prepareViews(pixels, config, { views: 4, seed: 3, stream }))
      views.forEach((view, index) => {
        const draw = drawView(3, stream, index)
        const untouched = !draw.crop && !draw.blur
        if (untouched) expect(same(view, first)).toBe(true)
        // A blur of sigma under about 0.2 pixels moves no byte; a crop always does here.
        if (draw.crop) expect(same(view, first)).toBe(false)
        if (untouched) expected++
        if (same(view, first)) clean++
      })
    }
    expect(expected).toBeGreaterThan(70)
    expect(expected).toBeLessThan(130)
    expect(clean).toBeGreaterThanOrEqual(expected)
  })

  it('reaches every place of the crop and no other', () => {
    // A ramp from which the top left corner of a crop can be read: 73×73 from 73×73.
    const data = new Uint8Array(73 * 73 * 3)
    for (let i = 0; i < 73 * 73; i++) data.set([i % 73, Math.floor(i / 73), 0], i * 3)
    const places = new Map<string, number>()
    for (let stream = 0; stream < 300; stream++) {
      const images = split(
        prepareViews({ width: 73, height: 73, data }, config, { views: 4, seed: 4, stream }),
      )
      for (let view = 0; view < 4; view++) {
        const draw = drawView(4, stream, view)
        if (!draw.crop || draw.blur) continue
        const [x, y] = images[1 + view]
        expect([...images[1 + view].slice(-3)]).toEqual([x + 63, y + 63, 0])
        places.set(`${x} ${y}`, (places.get(`${x} ${y}`) ?? 0) + 1)
      }
    }
    const xs = new Set([...places.keys()].map((place) => Number(place.split(' ')[0])))
    const ys = new Set([...places.keys()].map((place) => Number(place.split(' ')[1])))
    expect([...xs].sort((a, b) => a - b)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    expect([...ys].sort((a, b) => a - b)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    expect(places.size).toBeGreaterThan(80)
  })

  it('depends on seed and stream alone; more views leave the first ones as they are', () => {
    const pixels = noise(50, 80)
    const make = (views: number, seed: number, stream: number) =>
      prepareViews(pixels, config, { views, seed, stream })
    const bytes = make(6, 7, 8)
    expectSameBytes(make(6, 7, 8), bytes)
    expectSameBytes(make(2, 7, 8), bytes.subarray(0, 3 * viewBytes))
    expect(same(make(6, 8, 8), bytes)).toBe(false)
    expect(same(make(6, 7, 9), bytes)).toBe(false)
  })

  it.each([
    [1, 1],
    [3, 500],
    [500, 3],
    [2, 1],
    [1, 20_000],
  ])('takes %i×%i pixels', (width, height) => {
    const pixels = noise(width, height)
    for (let stream = 0; stream < 4; stream++) {
      const bytes = prepareViews(pixels, config, { views: 4, seed: 1, stream })
      expect(bytes.length).toBe(5 * viewBytes)
      // Every view has content: nothing was left unwritten.
      if (width * height === 1) {
        for (const image of split(bytes)) {
          expect(same(image.subarray(0, 3), pixels.data)).toBe(true)
          expect(same(image.subarray(-3), pixels.data)).toBe(true)
        }
      } else {
        for (const image of split(bytes)) expect(image.some((value) => value > 0)).toBe(true)
      }
    }
  })

  it('refuses a view count that is none', () => {
    const error = errorOf(() =>
      prepareViews(noise(2, 2), config, { views: -1, seed: 0, stream: 0 }),
    )
    expect(error.code).toBe('validation')
    expect(error.message).toMatch(/views .* got -1/)
  })
})

describe('gaussianBlur', () => {
  it('scales the kernel of 9 at 224 pixels, odd and at least 3', () => {
    expect([16, 64, 96, 112, 224, 256, 518].map(blurKernelSize)).toEqual([3, 3, 3, 5, 9, 11, 21])
  })

  it('spreads a point by the weights of the Gaussian', () => {
    const data = new Uint8Array(7 * 7 * 3)
    data.set([255, 200, 0], (3 * 7 + 3) * 3)
    const { data: blurred } = gaussianBlur({ width: 7, height: 7, data }, 0.8, 5)
    const weight = (d: number) => Math.exp(-0.5 * (d / 0.8) ** 2)
    const sum = [-2, -1, 0, 1, 2].reduce((total, d) => total + weight(d), 0)
    for (let y = 0; y < 7; y++) {
      for (let x = 0; x < 7; x++) {
        const inside = Math.max(Math.abs(x - 3), Math.abs(y - 3)) <= 2
        const factor = inside ? (weight(x - 3) * weight(y - 3)) / sum ** 2 : 0
        const pixel = [...blurred.slice((y * 7 + x) * 3, (y * 7 + x) * 3 + 3)]
        expect(pixel).toEqual([Math.round(255 * factor), Math.round(200 * factor), 0])
      }
    }
  })

  it('reflects the border without repeating it', () => {
    const data = Uint8Array.from([10, 10, 10, 40, 40, 40, 90, 90, 90])
    const blurred = gaussianBlur({ width: 3, height: 1, data }, 1e9, 3)
    // Equal weights over (40, 10, 40), (10, 40, 90) and (40, 90, 40).
    const values = [blurred.data[0], blurred.data[3], blurred.data[6]]
    expect(values).toEqual([30, 47, 57])
    // A kernel longer than the picture goes on mirroring: 9 of ... 90 40 10 40 90 40 10 40 90 ...
    const long = gaussianBlur({ width: 3, height: 1, data }, 1e9, 9)
    expect(long.data[3]).toBe(Math.round((10 * 2 + 40 * 5 + 90 * 2) / 9))
  })

  it('leaves plain pictures, single pixels and sigma near 0 as they are', () => {
    const plain = { width: 9, height: 6, data: new Uint8Array(9 * 6 * 3).fill(77) }
    expectSameBytes(gaussianBlur(plain, 2, 9).data, plain.data)
    const single = { width: 1, height: 1, data: Uint8Array.of(1, 2, 3) }
    expectSameBytes(gaussianBlur(single, 2, 9).data, single.data)
    const pixels = noise(8, 8)
    expectSameBytes(gaussianBlur(pixels, 0.03, 3).data, pixels.data)
    expectSameBytes(gaussianBlur(pixels, 5, 1).data, pixels.data)
  })

  it.each([
    [0, 3, /sigma .* got 0/],
    [-1, 3, /sigma .* got -1/],
    [NaN, 3, /sigma .* got NaN/],
    [1, 4, /odd size, got 4/],
    [1, 0, /odd size, got 0/],
  ])('refuses sigma %d and size %d', (sigma, size, message) => {
    const error = errorOf(() => gaussianBlur(noise(4, 4), sigma, size))
    expect(error.code).toBe('validation')
    expect(error.message).toMatch(message)
  })
})

describeGolden("torchvision's crops and blurs", () => {
  /** The stored picture, [3, H, W] of 0 to 1, as bytes from `low` to `high`. */
  function picture(file: SafetensorsFile, low = 0, high = 255): Pixels {
    const [, height, width] = file.tensors.get('input')!.shape
    const planes = file.float32('input')
    const area = width * height
    const data = Uint8Array.from({ length: 3 * area }, (_, i) =>
      Math.round(low + planes[(i % 3) * area + Math.floor(i / 3)] * (high - low)),
    )
    return { width, height, data }
  }

  /** Distance of each byte to the golden's value on the same scale. */
  function distances(pixels: Pixels, golden: Float32Array, low = 0, high = 255): Float32Array {
    const area = pixels.width * pixels.height
    expect(golden.length).toBe(3 * area)
    return golden.map((value, i) => {
      const expected = Math.min(255, Math.max(0, low + value * (high - low)))
      return Math.abs(pixels.data[(i % area) * 3 + Math.floor(i / area)] - expected)
    })
  }

  it('blurs: every byte is the float rounded', async () => {
    const file = await readGoldenTensors('augment.safetensors')
    const pixels = picture(file)
    const names = [...file.tensors.keys()].filter((name) => name.startsWith('blur_'))
    expect(names.length).toBe(8)
    for (const name of names) {
      const [, size, sigma] = /^blur_k(\d+)_s([\d.]+)$/.exec(name)!
      const blurred = gaussianBlur(pixels, Number(sigma), Number(size))
      // Half a level is rounding; f32 differences may tip a half.
      const worst = distances(blurred, file.float32(name)).reduce((a, b) => Math.max(a, b), 0)
      expect(worst, name).toBeLessThan(0.5 + 1e-3)
    }
  })

  it.each([
    // Half the contrast leaves room for what the filter overshoots: only roundings remain, of the
    // picture, between the passes and at the end, half a level each before the filter's gain.
    { low: 64, high: 191, limit: 2, share: 1 },
    // At full contrast bytes are clamped between the passes where torchvision's floats overshoot.
    { low: 0, high: 255, limit: 1, share: 0.9 },
  ])('resized crops, bytes $low to $high', async ({ low, high, limit, share }) => {
    const file = await readGoldenTensors('augment.safetensors')
    const pixels = picture(file, low, high)
    const names = [...file.tensors.keys()].filter((name) => name.startsWith('crop_'))
    expect(names.length).toBe(3)
    for (const name of names) {
      const [top, left, height, width] = name.split('_').slice(1).map(Number)
      const resized = resizeBicubic(cropPixels(pixels, left, top, width, height), 64, 64)
      const all = distances(resized, file.float32(name), low, high)
      expect(all.filter((d) => d < limit).length, name).toBeGreaterThanOrEqual(share * all.length)
      expect(all.reduce((sum, d) => sum + d, 0) / all.length, name).toBeLessThan(0.75)
    }
  })
})
