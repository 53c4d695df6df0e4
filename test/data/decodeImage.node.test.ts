import sharp, { type Sharp } from 'sharp'
import { describe, expect, it } from 'vitest'
import {
  decodeErrorMessage,
  decodePixels,
  encodeThumbnail,
  maximumPixels,
} from '../../src/data/decodeImage.node.ts'
import { drawScene } from '../../src/data/scenes.ts'
import { preprocess } from '../../src/model/preprocess.ts'

const imagenet = { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] } as const

/** 40 × 20 pixels: red left, blue right. */
const halves = Buffer.alloc(40 * 20 * 3)
for (let i = 0; i < 800; i++) halves[i * 3 + (i % 40 < 20 ? 0 : 2)] = 200
const picture = (): Sharp => sharp(halves, { raw: { width: 40, height: 20, channels: 3 } })

function pixel(
  image: { width: number; data: Uint8Array | Uint8ClampedArray },
  x: number,
  y: number,
): number[] {
  return [...image.data.subarray((y * image.width + x) * 3, (y * image.width + x) * 3 + 3)]
}

function expectNear(actual: number[], expected: number[], tolerance: number): void {
  for (const [i, value] of expected.entries()) {
    expect(Math.abs(actual[i] - value), `${actual} is not near ${expected}`).toBeLessThanOrEqual(
      tolerance,
    )
  }
}

describe('decodePixels', () => {
  it.each([
    ['JPEG', () => picture().jpeg({ quality: 95 }).toBuffer(), 6],
    ['PNG', () => picture().png().toBuffer(), 0],
    ['PNG with a palette', () => picture().png({ palette: true }).toBuffer(), 4],
    ['16-bit PNG', () => picture().toColourspace('rgb16').png().toBuffer(), 1],
    ['WebP', () => picture().webp({ quality: 95 }).toBuffer(), 8],
    ['AVIF', () => picture().avif({ quality: 90 }).toBuffer(), 8],
    ['GIF', () => picture().gif().toBuffer(), 4],
    ['TIFF', () => picture().tiff({ compression: 'lzw' }).toBuffer(), 0],
    ['CMYK JPEG', () => picture().toColourspace('cmyk').jpeg({ quality: 95 }).toBuffer(), 80],
  ])('reads %s as 8-bit RGB', async (_, encode, tolerance) => {
    const image = await decodePixels(await encode())
    expect([image.width, image.height, image.data.length]).toEqual([40, 20, 2400])
    expectNear(pixel(image, 5, 10), [200, 0, 0], tolerance)
    expectNear(pixel(image, 35, 10), [0, 0, 200], tolerance)
  })

  it.each(['b-w', 'grey16'])('makes three equal channels of %s', async (space) => {
    const image = await decodePixels(await picture().toColourspace(space).png().toBuffer())
    expect(image.data.length).toBe(2400)
    const [r, g, b] = pixel(image, 5, 5)
    expect([g, b]).toEqual([r, r])
    expect(r).toBeGreaterThan(50)
  })

  it('lays transparency over white', async () => {
    const clear = { r: 255, g: 0, b: 0, alpha: 0.5 }
    const bytes = await sharp({ create: { width: 4, height: 4, channels: 4, background: clear } })
      .png()
      .toBuffer()
    expectNear(pixel(await decodePixels(bytes), 1, 1), [255, 127, 127], 1)
  })

  it.each([
    [1, [40, 20], [5, 10]],
    [3, [40, 20], [35, 10]],
    [6, [20, 40], [10, 5]],
    [8, [20, 40], [10, 35]],
  ])('turns EXIF orientation %i upright', async (orientation, [width, height], [x, y]) => {
    const bytes = await picture().withMetadata({ orientation }).jpeg({ quality: 95 }).toBuffer()
    const image = await decodePixels(bytes)
    expect([image.width, image.height]).toEqual([width, height])
    expect([image.originalWidth, image.originalHeight]).toEqual([width, height])
    expect(image.orientation).toBe(orientation)
    expectNear(pixel(image, x, y), [200, 0, 0], 8)
  })

  it('shows the first frame of an animation', async () => {
    const frames = Buffer.concat([Buffer.alloc(300, 10), Buffer.alloc(300, 250)])
    const bytes = await sharp(frames, {
      raw: { width: 10, height: 20, channels: 3, pageHeight: 10 },
    })
      .gif({ delay: [100, 100] })
      .toBuffer()
    expect((await sharp(bytes, { pages: -1 }).metadata()).pages).toBe(2)
    const image = await decodePixels(bytes)
    expect([image.width, image.height]).toEqual([10, 10])
    expectNear(pixel(image, 5, 5), [10, 10, 10], 4)
  })

  it('reduces to the shortest edge asked for, and never enlarges', async () => {
    const bytes = await picture().png().toBuffer()
    const reduced = await decodePixels(bytes, 10)
    expect([reduced.width, reduced.height, reduced.originalWidth]).toEqual([20, 10, 40])
    expect((await decodePixels(bytes, 100)).width).toBe(40)
  })

  it('moves the model’s pixels by less than a level on average when it reduces first', async () => {
    const { width, height, data } = drawScene('forest', 3)
    const bytes = await sharp(data, { raw: { width, height, channels: 3 } })
      .resize({ width: 2400, kernel: 'cubic' })
      .jpeg({ quality: 92 })
      .toBuffer()
    const config = { size: 64, resize: 64, ...imagenet }
    const exact = preprocess(await decodePixels(bytes), config).data
    const fast = preprocess(await decodePixels(bytes, 4 * config.resize), config).data
    let total = 0
    for (let i = 0; i < exact.length; i++) total += Math.abs(exact[i] - fast[i])
    expect(total / exact.length).toBeLessThan(1)
  })

  it.each([
    ['an SVG', Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>')],
    ['a PPM', Buffer.from('P6 1 1 255\nabc')],
    ['text', Buffer.from('not a picture')],
  ])('refuses %s whatever its name says', async (_, bytes) => {
    const error = await decodePixels(bytes).catch((reason: unknown) => reason)
    expect(decodeErrorMessage(error)).toMatch(/^not a JPEG, PNG, WebP, AVIF, GIF or TIFF picture/)
  })

  it('refuses a truncated JPEG', async () => {
    const { width, height, data } = drawScene('bricks', 1)
    const whole = await sharp(data, { raw: { width, height, channels: 3 } })
      .jpeg()
      .toBuffer()
    await expect(decodePixels(whole.subarray(0, whole.length / 2))).rejects.toThrow(/premature end/)
  })

  it('refuses a decompression bomb before it decodes', async () => {
    const edge = Math.ceil(Math.sqrt(maximumPixels)) + 1
    const bomb = await sharp({
      create: { width: edge, height: edge, channels: 3, background: '#000' },
    })
      .png({ compressionLevel: 9 })
      .toBuffer()
    expect(bomb.length).toBeLessThan(1_000_000)
    await expect(decodePixels(bomb)).rejects.toThrow(/pixel limit/)
  })
})

describe('encodeThumbnail', () => {
  it('fits the upright picture into the height, as WebP', async () => {
    const bytes = await picture().withMetadata({ orientation: 6 }).jpeg().toBuffer()
    const { width, height, bytes: webp } = await encodeThumbnail(bytes, 16)
    expect([width, height]).toEqual([8, 16])
    expect((await sharp(webp).metadata()).format).toBe('webp')
    expectNear(pixel(await decodePixels(webp), 4, 2), [200, 0, 0], 25)
  })
})
