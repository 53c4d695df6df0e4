import { createHash } from 'node:crypto'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import sharp from 'sharp'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { prepareViews } from '../../src/data/augment.ts'
import type { ImageCollection } from '../../src/data/collection.ts'
import { decodeCollection, decodeThumbnails } from '../../src/data/decode.node.ts'
import type { DecodedImage } from '../../src/data/decode.node.ts'
import { fileCollection } from '../../src/data/folder.node.ts'
import { drawScene, sceneKinds } from '../../src/data/scenes.ts'
import { compileWorker } from './compileWorker.ts'

const preprocess = {
  size: 64,
  resize: 64,
  mean: [0.485, 0.456, 0.406],
  std: [0.229, 0.224, 0.225],
} as const

let folder: string
let workerUrl: URL
let removeWorker: () => Promise<void>
let paths: string[]

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'keeplight-decode-'))
  ;({ workerUrl, removeWorker } = await compileWorker())
  paths = await Promise.all(
    sceneKinds.map(async (kind, i) => {
      const { width, height, data } = drawScene(kind, 5)
      const path = join(folder, `${i}.png`)
      await sharp(data, { raw: { width, height, channels: 3 } })
        .png()
        .toFile(path)
      return path
    }),
  )
})
afterAll(async () => {
  await rm(folder, { recursive: true })
  await removeWorker()
})

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = []
  for await (const item of items) all.push(item)
  return all
}

/** Files by their paths, whatever they hold. */
const filesOf = (files: readonly string[]): ImageCollection =>
  fileCollection(
    { root: '/', files, labels: undefined, classes: [], ignored: 0 },
    'folder',
    (index) => files[index],
  )

const byIndex = (items: DecodedImage[]): DecodedImage[] => items.sort((a, b) => a.index - b.index)

describe('decodeCollection', () => {
  it('prepares each image’s views, raw picture, hash and size', async () => {
    const options = { preprocess, views: 2, seed: 3, workers: 2, workerUrl }
    const results = byIndex(await collect(decodeCollection(filesOf(paths), options)))
    expect(results.map(({ path }) => path)).toEqual(paths)
    for (const [i, result] of results.entries()) {
      if (!result.ok) throw new Error(result.message)
      const digest = createHash('sha256')
        .update(await readFile(paths[i]))
        .digest()
      expect(result.hash).toBe(digest.toString('hex'))
      const stream = digest.readUInt32LE(0)
      const pixels = drawScene(sceneKinds[i], 5)
      expect(result.image).toMatchObject({ width: 160, height: 120, orientation: 1 })
      expect(result.image?.raw).toHaveLength(32 * 32 * 3)
      expect(result.image?.views).toEqual(
        prepareViews(pixels, preprocess, { views: 2, seed: 3, stream }),
      )
    }
  })

  it('names broken files and goes on', async () => {
    await writeFile(join(folder, 'text.jpg'), 'this is no picture')
    await writeFile(join(folder, 'empty.jpg'), '')
    await writeFile(join(folder, 'half.png'), (await readFile(paths[0])).subarray(0, 2000))
    const bad = ['text.jpg', 'empty.jpg', 'half.png', 'missing.jpg', '.'].map((name) =>
      join(folder, name),
    )
    const mixed = [...bad, paths[1]]
    const results = byIndex(
      await collect(
        decodeCollection(filesOf(mixed), { preprocess, views: 0, workers: 1, workerUrl }),
      ),
    )
    expect(results.map((result) => (result.ok ? 'ok' : result.message))).toEqual([
      expect.stringMatching(/^not a JPEG, PNG, WebP, AVIF, GIF or TIFF picture/),
      'the file is empty',
      expect.stringMatching(/png|damaged|truncated|end/i),
      expect.stringContaining('no such file'),
      expect.stringMatching(/directory/i),
      'ok',
    ])
  })

  it('recognises known content without decoding it', async () => {
    const hash = createHash('sha256')
      .update(await readFile(paths[0]))
      .digest('hex')
    const options = { preprocess, views: 0, workers: 1, workerUrl, known: new Set([hash]) }
    const [first, second] = byIndex(
      await collect(decodeCollection(filesOf(paths.slice(0, 2)), options)),
    )
    expect(first).toEqual({ index: 0, path: paths[0], ok: true, hash })
    expect(second.ok && second.image?.views).toHaveLength(64 * 64 * 3)
  })

  it('makes thumbnails', async () => {
    const settings = { height: 56, workers: 1, workerUrl }
    const [thumbnail] = await collect(decodeThumbnails(filesOf(paths.slice(0, 1)), settings))
    if (!thumbnail.ok) throw new Error(thumbnail.message)
    expect([thumbnail.width, thumbnail.height]).toEqual([75, 56])
    expect((await sharp(thumbnail.bytes).metadata()).format).toBe('webp')
  })

  it('yields nothing for no paths', async () => {
    expect(
      await collect(decodeCollection(filesOf([]), { preprocess, views: 0, workerUrl })),
    ).toEqual([])
  })
})

/** A thread that does to a file what the file's name says. */
const unruly = new URL(
  `data:text/javascript,${encodeURIComponent(`
    import { parentPort } from 'node:worker_threads'
    import { writeFileSync } from 'node:fs'
    parentPort.on('message', ({ id, content: { file: path } }) => {
      if (path === 'exit') process.exit(7)
      if (path === 'throw') throw new Error('out of its mind')
      if (path === 'hang') for (;;);
      parentPort.postMessage({ id, result: { hash: path } })
    })
    parentPort.postMessage({ ready: true })
  `)}`,
)

describe('the pool of decoding threads', () => {
  const config = { preprocess, views: 0, workerUrl: unruly }

  it('reports the file that a thread died or hung on, and replaces the thread', async () => {
    const names = ['a', 'exit', 'b', 'throw', 'c', 'hang', 'd', 'exit', 'e']
    const settings = { ...config, workers: 2, fileTimeout: 300 }
    const results = byIndex(await collect(decodeCollection(filesOf(names), settings)))
    expect(results.map((result) => (result.ok ? result.hash : result.message))).toEqual([
      'a',
      'the decoder crashed on this file (exit code 7)',
      'b',
      'the decoder crashed on this file (out of its mind)',
      'c',
      'decoding took longer than 0.3 s and was given up',
      'd',
      'the decoder crashed on this file (exit code 7)',
      'e',
    ])
  })

  it('keeps no more results than the window while the reader waits', async () => {
    let asked = 0
    const all = filesOf(Array.from({ length: 100 }, (_, i) => String(i)))
    const many: ImageCollection = {
      ...all,
      async *read(indices, signal) {
        for await (const item of all.read(indices, signal)) {
          asked++
          yield item
        }
      },
    }
    const images = decodeCollection(many, { ...config, workers: 1, window: 5 })
    for (let given = 1; given <= 3; given++) {
      await images.next()
      await new Promise((resolve) => setTimeout(resolve, 50))
      expect(asked).toBeLessThanOrEqual(given - 1 + 5)
    }
    expect(asked).toBeGreaterThanOrEqual(5)
    await images.return(undefined)
  })

  it('stops at once when told to, though a thread hangs', async () => {
    const controller = new AbortController()
    const images = decodeCollection(filesOf(['a', 'hang', 'b']), {
      ...config,
      workers: 1,
      signal: controller.signal,
    })
    await images.next()
    setTimeout(() => controller.abort(), 50)
    const start = performance.now()
    await expect(images.next()).rejects.toMatchObject({ code: 'aborted' })
    expect(performance.now() - start).toBeLessThan(2000)
  })

  it('says so when no thread can start', async () => {
    const settings = { ...config, workerUrl: new URL('file:///nowhere/decodeWorker.node.js') }
    await expect(collect(decodeCollection(filesOf(['a']), settings))).rejects.toMatchObject({
      code: 'internal',
      message: expect.stringContaining('could not start'),
    })
  })
})
