import type { Browser, Page } from 'playwright-core'
import sharp, { type Sharp } from 'sharp'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { drawScene } from '../../src/data/scenes.ts'
import { preprocess, type Pixels } from '../../src/model/preprocess.ts'
import { type PageServer, openChromium, root, serveSources } from './servePage.ts'

/** `decodeImage` needs a browser's decoders, so a page decodes what this file encodes by sharp. */
let server: PageServer
let browser: Browser
let page: Page

type Library = typeof import('../../src/index.ts')

beforeAll(async () => {
  server = await serveSources()
  browser = await openChromium()
  page = await browser.newPage()
  // Any document of the server would do; this one starts nothing.
  await page.goto(`${server.url}style.css`)
  // Text, because Vitest rewrites imports within functions.
  const address = JSON.stringify(`/@fs${root}/src/index.ts`)
  await page.evaluate(`import(${address}).then((library) => { window.library = library })`)
})
afterAll(async () => {
  await browser?.close()
  await server?.close()
})

interface Options {
  readonly reduceTo?: number
  readonly fileName?: string
  readonly name?: string
}

/** Decodes a file's bytes in the page; an error comes back as its code and message. */
async function decode(bytes: Buffer, options: Options = {}): Promise<Pixels> {
  const { base64, width, height, error } = await page.evaluate(
    async ({ source, fileName, ...rest }) => {
      const { decodeImage, KeeplightError } = (window as unknown as { library: Library }).library
      const content = Uint8Array.from(atob(source), (c) => c.charCodeAt(0))
      const file = fileName === undefined ? new Blob([content]) : new File([content], fileName)
      try {
        const image = await decodeImage(file, rest)
        let binary = ''
        for (const byte of image.data) binary += String.fromCharCode(byte)
        return { width: image.width, height: image.height, base64: btoa(binary), error: undefined }
      } catch (thrown) {
        const code = thrown instanceof KeeplightError ? thrown.code : 'untyped'
        return { width: 0, height: 0, base64: '', error: `${code}: ${(thrown as Error).message}` }
      }
    },
    { source: bytes.toString('base64'), ...options },
  )
  if (error !== undefined) throw new Error(error)
  return { width, height, data: new Uint8Array(Buffer.from(base64, 'base64')) }
}

/** 40 × 20 pixels: red left, blue right. */
const halves = Buffer.alloc(40 * 20 * 3)
for (let i = 0; i < 800; i++) halves[i * 3 + (i % 40 < 20 ? 0 : 2)] = 200
const picture = (): Sharp => sharp(halves, { raw: { width: 40, height: 20, channels: 3 } })

function pixel({ width, data }: Pixels, x: number, y: number): number[] {
  return [...data.subarray((y * width + x) * 3, (y * width + x) * 3 + 3)]
}

function expectNear(actual: number[], expected: number[], tolerance: number): void {
  for (const [i, value] of expected.entries()) {
    expect(Math.abs(actual[i]! - value), `${actual} is not near ${expected}`).toBeLessThanOrEqual(
      tolerance,
    )
  }
}

describe('decodeImage in Chromium', () => {
  it.each([
    ['JPEG', () => picture().jpeg({ quality: 95 }).toBuffer(), 6],
    ['PNG', () => picture().png().toBuffer(), 0],
    ['PNG with a palette', () => picture().png({ palette: true }).toBuffer(), 4],
    ['16-bit PNG', () => picture().toColourspace('rgb16').png().toBuffer(), 1],
    ['WebP', () => picture().webp({ quality: 95 }).toBuffer(), 8],
    ['AVIF', () => picture().avif({ quality: 90 }).toBuffer(), 8],
    ['GIF', () => picture().gif().toBuffer(), 4],
    ['CMYK JPEG', () => picture().toColourspace('cmyk').jpeg({ quality: 95 }).toBuffer(), 80],
  ])('reads %s as 8-bit RGB', async (_, encode, tolerance) => {
    const image = await decode(await encode())
    expect([image.width, image.height, image.data.length]).toEqual([40, 20, 2400])
    expectNear(pixel(image, 5, 10), [200, 0, 0], tolerance)
    expectNear(pixel(image, 35, 10), [0, 0, 200], tolerance)
  })

  it('makes three equal channels of grey', async () => {
    const image = await decode(await picture().toColourspace('b-w').png().toBuffer())
    const [r, g, b] = pixel(image, 5, 5)
    expect([g, b]).toEqual([r, r])
    expect(r).toBeGreaterThan(50)
  })

  it('lays transparency over white', async () => {
    const clear = { r: 255, g: 0, b: 0, alpha: 0.5 }
    const create = { width: 4, height: 4, channels: 4, background: clear } as const
    const image = await decode(await sharp({ create }).png().toBuffer())
    expectNear(pixel(image, 1, 1), [255, 127, 127], 1)
  })

  it.each([
    [1, [40, 20], [5, 10]],
    [3, [40, 20], [35, 10]],
    [6, [20, 40], [10, 5]],
    [8, [20, 40], [10, 35]],
  ])('turns EXIF orientation %i upright', async (orientation, [width, height], [x, y]) => {
    const bytes = await picture().withMetadata({ orientation }).jpeg({ quality: 95 }).toBuffer()
    const image = await decode(bytes)
    expect([image.width, image.height]).toEqual([width, height])
    expectNear(pixel(image, x!, y!), [200, 0, 0], 8)
  })

  it('shows the first frame of an animation', async () => {
    const frames = Buffer.concat([Buffer.alloc(300, 10), Buffer.alloc(300, 250)])
    const raw = { width: 10, height: 20, channels: 3, pageHeight: 10 } as const
    const image = await decode(
      await sharp(frames, { raw })
        .gif({ delay: [100, 100] })
        .toBuffer(),
    )
    expect([image.width, image.height]).toEqual([10, 10])
    expectNear(pixel(image, 5, 5), [10, 10, 10], 4)
  })

  it('reduces to the shortest edge asked for, and never enlarges', async () => {
    const bytes = await picture().png().toBuffer()
    const reduced = await decode(bytes, { reduceTo: 10 })
    expect([reduced.width, reduced.height]).toEqual([20, 10])
    expectNear(pixel(reduced, 2, 5), [200, 0, 0], 1)
    expect((await decode(bytes, { reduceTo: 100 })).width).toBe(40)
  })

  it('hardly moves the model’s pixels when it reduces first', async () => {
    const { width, height, data } = drawScene('forest', 3)
    const bytes = await sharp(data, { raw: { width, height, channels: 3 } })
      .resize({ width: 1400, kernel: 'cubic' })
      .jpeg({ quality: 92 })
      .toBuffer()
    const config = { size: 64, resize: 64, mean: [0, 0, 0], std: [1, 1, 1] } as const
    const exact = preprocess(await decode(bytes), config).data
    const fast = preprocess(await decode(bytes, { reduceTo: 4 * config.resize }), config).data
    let total = 0
    for (let i = 0; i < exact.length; i++) total += Math.abs(exact[i]! - fast[i]!)
    expect(total / exact.length).toBeLessThan(1.5)
  })

  it.each([
    ['text', async () => Buffer.from('not a picture'), /can't decode it; expected an intact JPEG/],
    ['nothing', async () => Buffer.alloc(0), /the file is empty/],
    [
      'half a JPEG',
      async () => {
        const { width, height, data } = drawScene('bricks', 1)
        const raw = { width, height, channels: 3 } as const
        const whole = await sharp(data, { raw }).jpeg().toBuffer()
        return whole.subarray(0, whole.length / 2)
      },
      /can't decode it; expected an intact JPEG/,
    ],
    [
      'half a PNG',
      async () => {
        const { width, height, data } = drawScene('bricks', 1)
        const raw = { width, height, channels: 3 } as const
        const whole = await sharp(data, { raw }).png().toBuffer()
        return whole.subarray(0, whole.length / 2)
      },
      /can't decode it; expected an intact JPEG/,
    ],
    [
      'too many pixels',
      async () => {
        const create = { width: 8000, height: 6251, channels: 3, background: '#000' } as const
        return sharp({ create }).png({ compressionLevel: 9 }).toBuffer()
      },
      /8000×6251 is more than 50 million pixels; make it smaller/,
    ],
  ])('refuses %s, and names the file', async (_, make, expected) => {
    const bytes = await make()
    const message = await decode(bytes, { fileName: 'odd.jpg' }).catch(String)
    expect(message).toMatch(/^Error: input: odd\.jpg: /)
    expect(message).toMatch(expected)
    expect(await decode(bytes, { name: 'a/b.jpg' }).catch(String)).toMatch(/input: a\/b\.jpg: /)
  })
})
