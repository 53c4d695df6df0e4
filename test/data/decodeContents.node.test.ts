import { createHash } from 'node:crypto'
import sharp from 'sharp'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { prepareViews } from '../../src/data/augment.ts'
import type { ImageCollection, ImageContent } from '../../src/data/collection.ts'
import { collectionPictures } from '../../src/data/collectionPictures.node.ts'
import { decodeCollection, decodeThumbnails } from '../../src/data/decode.node.ts'
import { drawScene } from '../../src/data/scenes.ts'
import { viewPicture, viewPictureBytes, type ViewPicture } from '../../src/data/viewPicture.ts'
import { compileWorker } from './compileWorker.ts'

const preprocess = { size: 64, resize: 64, mean: [0, 0, 0], std: [1, 1, 1] } as const
const picture = drawScene('forest', 2)
let png: Uint8Array<ArrayBuffer>
let workerUrl: URL
let removeWorker: () => Promise<void>

beforeAll(async () => {
  ;({ workerUrl, removeWorker } = await compileWorker())
  const { width, height, data } = picture
  const encoded = sharp(data, { raw: { width, height, channels: 3 } }).png()
  png = new Uint8Array(await encoded.toBuffer())
})
afterAll(() => removeWorker())

/** A collection whose contents are made when they are asked for; `read` lists what was. */
function collectionOf(make: readonly (() => ImageContent)[], read: number[] = []): ImageCollection {
  return {
    ...{ root: '/', kind: 'test', labels: undefined, classes: [], ignored: 0 },
    files: make.map((_, i) => `image ${i}`),
    async *read(indices = make.map((_, i) => i)) {
      for (const index of indices) {
        await Promise.resolve()
        read.push(index)
        yield { index, content: make[index]() }
      }
    },
  }
}

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = []
  for await (const item of items) all.push(item)
  return all
}

const pixels = (): ImageContent => ({ pixels: { ...picture, data: picture.data.slice() } })
const bytes = (): ImageContent => ({ bytes: png.slice() })

describe('decodeCollection', () => {
  it('prepares bytes and pixels like a file; pixels have a hash with their size', async () => {
    const images = collectionOf([bytes, pixels, () => ({ unreadable: 'torn' })])
    const options = { preprocess, views: 1, seed: 4, workers: 2, workerUrl, ordered: true }
    const [first, second, third] = await collect(decodeCollection(images, options))
    if (!first.ok || !second.ok) throw new Error('expected two images')
    expect(first.hash).toBe(createHash('sha256').update(png).digest('hex'))
    const { width, height, data } = picture
    const digest = createHash('sha256').update(`keeplight pixels ${width}x${height}\n`).update(data)
    const hash = digest.digest()
    expect(second.hash).toBe(hash.toString('hex'))
    // The clean view is the same; augmented ones follow the hash.
    const clean = 64 * 64 * 3
    expect(second.image!.views.subarray(0, clean)).toEqual(first.image!.views.subarray(0, clean))
    expect(second.image!.raw).toEqual(first.image!.raw)
    const stream = hash.readUInt32LE(0)
    expect(second.image!.views).toEqual(
      prepareViews(picture, preprocess, { views: 1, seed: 4, stream }),
    )
    expect(second.image).toMatchObject({ width, height, orientation: 1 })
    expect(third).toEqual({ index: 2, path: 'image 2', ok: false, message: 'torn' })
  })

  it('hands bytes over, and copies parts of a larger buffer', async () => {
    const whole = png.slice()
    const larger = new Uint8Array(png.length + 20)
    larger.set(png, 7)
    const part = larger.subarray(7, 7 + png.length)
    const images = collectionOf([() => ({ bytes: whole }), () => ({ bytes: part })])
    const options = { preprocess, views: 0, workers: 1, workerUrl }
    const outcomes = await collect(decodeCollection(images, options))
    expect(outcomes.map(({ ok }) => ok)).toEqual([true, true])
    expect([whole.length, part.length]).toEqual([0, png.length])
  })

  it('names pixels whose number is wrong', async () => {
    const images = collectionOf([
      () => ({ pixels: { width: 9, height: 9, data: new Uint8Array(5) } }),
    ])
    const [outcome] = await collect(
      decodeCollection(images, { preprocess, views: 0, workers: 1, workerUrl }),
    )
    expect(outcome).toMatchObject({ ok: false, message: expect.stringContaining('243 bytes') })
  })

  it('gives chosen images, in order where asked, and reads no others', async () => {
    const read: number[] = []
    // Large pictures take longer than small ones, so completion has another order.
    const large = { width: 1200, height: 1000, data: new Uint8Array(1200 * 1000 * 3).fill(80) }
    const make = Array.from({ length: 12 }, (_, i) => (): ImageContent => {
      return i % 4 === 1 ? { pixels: { ...large, data: large.data.slice() } } : pixels()
    })
    const indices = [1, 2, 3, 5, 8, 9, 10]
    const settings = { preprocess, views: 0, workers: 2, window: 4, workerUrl, indices }
    const images = collectionOf(make, read)
    const outcomes = await collect(decodeCollection(images, { ...settings, ordered: true }))
    expect(outcomes.map(({ index }) => index)).toEqual(indices)
    expect(read).toEqual(indices)
  })

  it('ends with the error of a collection that can’t be read', async () => {
    const images: ImageCollection = {
      ...collectionOf([bytes]),
      // eslint-disable-next-line require-yield
      async *read() {
        await Promise.resolve()
        throw new RangeError('no more')
      },
    }
    const options = { preprocess, views: 0, workers: 1, workerUrl }
    await expect(collect(decodeCollection(images, options))).rejects.toThrow('no more')
  })
})

it('small pixels are enlarged by a whole factor in thumbnails', async () => {
  const small = (): ImageContent => ({
    pixels: { width: 32, height: 32, data: new Uint8Array(3072).fill(90) },
  })
  const settings = { height: 112, workers: 1, workerUrl, ordered: true }
  const [first, second] = await collect(decodeThumbnails(collectionOf([small, pixels]), settings))
  expect(first).toMatchObject({ ok: true, width: 96, height: 96 })
  expect(second).toMatchObject({ ok: true, width: 149, height: 112 })
})

describe('collectionPictures', () => {
  it('gives the same pictures in every pass, in order, decoding again what memory does not hold', async () => {
    const reads: number[] = []
    const images = collectionOf([bytes, pixels, bytes, pixels], reads)
    const indices = [0, 1, 3]
    const hash = createHash('sha256').update(png).digest()
    const expected = viewPicture(picture, preprocess, hash.readUInt32LE(0))
    const decoding = { workers: 2, workerUrl }
    const pass = async (memory: number, passes: number) => {
      const pictures = collectionPictures(images, { preprocess, indices, memory, decoding })
      const all: ViewPicture[][] = []
      for (let i = 0; i < passes; i++) all.push(await collect(pictures()))
      return all
    }
    const [first, second] = await pass(2 * viewPictureBytes(expected), 2)
    expect(first).toHaveLength(3)
    expect(first[0]).toEqual(expected)
    expect(second).toEqual(first)
    // The third image of the pass was read in both.
    expect(reads).toEqual([0, 1, 3, 3])
    reads.length = 0
    expect(await pass(0, 1)).toEqual([first])
    expect(reads).toEqual(indices)
  })

  it('names an image that was readable before', async () => {
    const images = collectionOf([bytes, () => ({ unreadable: 'torn' })])
    const options = {
      preprocess,
      indices: [0, 1],
      memory: 1e9,
      decoding: { workers: 1, workerUrl },
    }
    await expect(collect(collectionPictures(images, options)())).rejects.toThrow(
      /image 1: it was readable before, and is not now: torn/,
    )
  })
})
