import type { Browser, Page } from 'playwright-core'
import sharp from 'sharp'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { decodePixels } from '../../src/data/decodeImage.node.ts'
import { preprocess } from '../../src/model/preprocess.ts'
import { describeGolden, readGolden } from '../support/golden.ts'
import { configs, names } from '../support/pillowPictures.node.ts'
import { expectSameBytes } from '../support/sameBytes.ts'
import { type PageServer, openChromium, root, serveSources } from './servePage.ts'

/** What `embed` takes in a page, decoded there and compared with what Node makes of the same file. */
let server: PageServer
let browser: Browser
let page: Page

beforeAll(async () => {
  server = await serveSources()
  browser = await openChromium()
  page = await browser.newPage()
  // Any document of the server would do; this one starts nothing.
  await page.goto(`${server.url}style.css`)
  // Text, because Vitest rewrites imports within functions.
  const modules = ['src/data/decodeSource.ts', 'src/model/preprocess.ts']
  const [decode, prepare] = modules.map((path) => JSON.stringify(`/@fs${root}/${path}`))
  await page.evaluate(
    `Promise.all([import(${decode}), import(${prepare})]).then(([{ decodeSource }, { preprocess }]) => {
      window.keeplight = { decodeSource, preprocess }
      window.sources = ${pageSources.toString()}
    })`,
  )
})
afterAll(async () => {
  await browser?.close()
  await server?.close()
})

/** In the page: the same file as every kind of thing that a page may hold. */
function pageSources(bytes: Uint8Array<ArrayBuffer>): Record<string, () => Promise<unknown>> {
  const blob = new Blob([bytes], { type: 'image/png' })
  const bitmap = (): Promise<ImageBitmap> => createImageBitmap(blob)
  const element = async (): Promise<HTMLImageElement> => {
    const image = new Image()
    image.src = URL.createObjectURL(blob)
    await image.decode()
    return image
  }
  const onCanvas = async <C extends HTMLCanvasElement | OffscreenCanvas>(make: C): Promise<C> => {
    const image = await bitmap()
    make.width = image.width
    make.height = image.height
    const context = make.getContext('2d') as CanvasRenderingContext2D
    context.drawImage(image, 0, 0)
    return make
  }
  return {
    blob: async () => blob,
    file: async () => new File([bytes], 'picture.png'),
    bytes: async () => bytes,
    buffer: async () => bytes.buffer,
    address: async () => URL.createObjectURL(blob),
    bitmap,
    element,
    loading: async () => {
      // Handed over before its load event.
      const image = new Image()
      image.src = URL.createObjectURL(blob)
      return image
    },
    canvas: () => onCanvas(document.createElement('canvas')),
    offscreen: () => onCanvas(new OffscreenCanvas(1, 1)),
    frame: async () => new VideoFrame(await bitmap(), { timestamp: 0 }),
    imageData: async () => {
      const canvas = await onCanvas(new OffscreenCanvas(1, 1))
      return canvas.getContext('2d')!.getImageData(0, 0, canvas.width, canvas.height)
    },
  }
}

/** Bytes that the model would see, by kind of source; prepared in the page. */
async function preparedInPage(
  file: Uint8Array,
  family: 'clip' | 'dino',
  kinds?: readonly string[],
): Promise<Record<string, Uint8Array>> {
  const base64 = await page.evaluate(
    async ({ source, config, chosen }) => {
      const { keeplight, sources } = window as unknown as {
        keeplight: {
          decodeSource: typeof import('../../src/data/decodeSource.ts').decodeSource
          preprocess: typeof preprocess
        }
        sources: typeof pageSources
      }
      const all = sources(Uint8Array.from(atob(source), (c) => c.charCodeAt(0)))
      const result: Record<string, string> = {}
      for (const [kind, make] of Object.entries(all)) {
        if (chosen && !chosen.includes(kind)) continue
        const image = (await make()) as Blob
        const pixels = await keeplight.decodeSource(image, { name: kind })
        let binary = ''
        for (const byte of keeplight.preprocess(pixels, config).data) {
          binary += String.fromCharCode(byte)
        }
        result[kind] = btoa(binary)
      }
      return result
    },
    { source: Buffer.from(file).toString('base64'), config: configs[family], chosen: kinds },
  )
  const entries = Object.entries(base64)
  return Object.fromEntries(entries.map(([kind, text]) => [kind, Buffer.from(text, 'base64')]))
}

describeGolden('pictures in a page', () => {
  it('are prepared to the same bytes as in Node, of whatever kind they are', async () => {
    const file = await readGolden('preprocess/tall_301x223.png')
    const expected = preprocess(await decodePixels(file), configs.dino).data
    const prepared = await preparedInPage(file, 'dino')
    expect(Object.keys(prepared)).toHaveLength(12)
    for (const [kind, bytes] of Object.entries(prepared)) {
      expect(bytes.length, kind).toBe(expected.length)
      expectSameBytes(new Uint8Array(bytes), new Uint8Array(expected))
    }
  })

  it.each(names.filter((name) => !name.startsWith('alpha')))(
    '%s has the bytes of Node',
    async (name) => {
      const file = await readGolden(`preprocess/${name}.png`)
      const pixels = await decodePixels(file)
      const { blob } = await preparedInPage(file, 'clip', ['blob'])
      const expected = preprocess(pixels, configs.clip).data
      expectSameBytes(new Uint8Array(blob!), new Uint8Array(expected))
    },
  )

  // Both lay the picture over white, in arithmetic of their own; the file's alpha is noise.
  it('with transparency differ from Node by a few levels at most', async () => {
    const file = await readGolden('preprocess/alpha_120x90.png')
    const expected = preprocess(await decodePixels(file), configs.clip).data
    const { blob } = await preparedInPage(file, 'clip', ['blob'])
    const differences = Array.from(expected, (x, i) => Math.abs(x - blob![i]!))
    expect(differences.reduce((most, x) => Math.max(most, x), 0)).toBeLessThanOrEqual(3)
    expect(differences.reduce((sum, x) => sum + x, 0) / differences.length).toBeLessThan(1)
  })
})

describe('a page', () => {
  it('is told of elements that have no pixels yet, and of what is none', async () => {
    const messages = await page.evaluate(async () => {
      const { decodeSource } = (
        window as unknown as {
          keeplight: { decodeSource: typeof import('../../src/data/decodeSource.ts').decodeSource }
        }
      ).keeplight
      const closed = await createImageBitmap(new ImageData(2, 2))
      closed.close()
      const things: unknown[] = [
        document.createElement('video'),
        document.createElement('img'),
        new OffscreenCanvas(0, 0),
        closed,
        new Blob(['text']),
        '/nothing-here.png',
        document.createElement('div'),
      ]
      return Promise.all(
        things.map((thing, i) =>
          decodeSource(thing as Blob, { name: `image ${i}` }).then(
            () => 'decoded',
            (error: Error) => error.message,
          ),
        ),
      )
    })
    expect(messages[0]).toContain('image 0: the video has no frame yet')
    expect(messages[1]).toContain('image 1: the element has no picture')
    expect(messages[2]).toContain('image 2: the canvas has no pixels')
    expect(messages[3]).toContain('image 3: the bitmap is closed')
    expect(messages[4]).toContain("image 4: the browser can't decode it")
    expect(messages[5]).toMatch(/^image 5: /)
    expect(messages[6]).toContain('image 6: a HTMLDivElement is no picture')
  })

  it('may draw on a canvas again as soon as it was handed over', async () => {
    const colours = await page.evaluate(async () => {
      const { decodeSource } = (
        window as unknown as {
          keeplight: { decodeSource: typeof import('../../src/data/decodeSource.ts').decodeSource }
        }
      ).keeplight
      const canvas = new OffscreenCanvas(4, 4)
      const context = canvas.getContext('2d')!
      const fill = (style: string) => {
        context.fillStyle = style
        context.fillRect(0, 0, 4, 4)
      }
      fill('rgb(10 20 30)')
      const first = decodeSource(canvas, { name: 'first' })
      fill('rgb(40 50 60)')
      const second = decodeSource(canvas, { name: 'second' })
      return [[...(await first).data.slice(0, 3)], [...(await second).data.slice(0, 3)]]
    })
    expect(colours).toEqual([
      [10, 20, 30],
      [40, 50, 60],
    ])
  })

  it('reads grey files as Node does', async () => {
    const grey = await sharp(Buffer.from(Array.from({ length: 300 }, (_, i) => (i * 7) % 256)), {
      raw: { width: 20, height: 15, channels: 1 },
    })
      .png()
      .toBuffer()
    const expected = preprocess(await decodePixels(grey), configs.clip).data
    const { blob } = await preparedInPage(grey, 'clip', ['blob'])
    expectSameBytes(new Uint8Array(blob!), new Uint8Array(expected))
  })
})
