import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { mkdtemp, readFile, readdir, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { embedCollection } from '../../src/data/embedCollection.node.ts'
import type {
  CollectionEncoder,
  EmbedCollectionOptions,
} from '../../src/data/embedCollection.node.ts'
import { embedMixed } from '../../src/data/embedMixed.node.ts'
import { featurePaths } from '../../src/data/featureFile.node.ts'
import { folderCollection } from '../../src/data/folder.node.ts'
import { mergeFeatures } from '../../src/data/mergeFeatures.node.ts'
import { openCollection } from '../../src/data/openCollection.node.ts'
import type { ImageCollection } from '../../src/data/collection.ts'
import { parseSafetensors } from '../../src/model/safetensors.ts'
import { drawFolder } from '../cli/drawFolder.ts'
import { compileWorker } from './compileWorker.ts'

/** What embedding keeps, loses and repeats, with an encoder whose bits tell which batch a row was in. */

const D = 6
const BROKEN = ['box/1.png', 'disc/0.png']
let folder: string
let collection: ImageCollection
let workerUrl: URL
let removeWorker: () => Promise<void>
let made = 0

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'keeplight-embed-'))
  ;({ workerUrl, removeWorker } = await compileWorker())
  const pictures = join(folder, 'pictures')
  const paths = await drawFolder(pictures, 4, 7)
  BROKEN.splice(0, 2, paths[3], paths[20])
  for (const path of BROKEN) await truncate(join(pictures, path), 100)
  collection = await openCollection(pictures)
})
afterAll(async () => {
  await rm(folder, { recursive: true })
  await removeWorker()
})

/** Rows of a hash over all pixels of the batch and the image's own: another batch, other bits. */
class Encoder implements CollectionEncoder {
  readonly name: string = 'hash'
  readonly hash: string = 'abc'
  readonly dimension = D
  readonly preprocess = { size: 16, resize: 16, mean: [0, 0, 0], std: [1, 1, 1] } as const
  /** Images that went through. */
  count = 0
  onBatch: () => void = () => {}

  embedPixels(pixels: Uint8Array): Promise<Float32Array<ArrayBuffer>> {
    const bytes = 16 * 16 * 3
    const images = pixels.length / bytes
    const batch = createHash('sha256').update(pixels).digest()
    const rows = new Float32Array(images * D)
    for (let i = 0; i < images; i++) {
      const own = createHash('sha256')
        .update(pixels.subarray(i * bytes, (i + 1) * bytes))
        .digest()
      for (let j = 0; j < D; j++) rows[i * D + j] = (own[j] - 128) / 7 + batch[j] / 1024
    }
    this.count += images
    this.onBatch()
    return Promise.resolve(rows)
  }
}

const outFile = (): string => join(folder, `${made++}.safetensors`)
const embed = (
  out: string,
  options: Partial<EmbedCollectionOptions> = {},
  encoder: CollectionEncoder = new Encoder(),
) =>
  embedCollection(collection, encoder, {
    ...{ out, chunk: 5, batch: 3, decoding: { workers: 1, workerUrl }, ...options },
  })
/** Hashes of what was written; what the decoder says of a broken image is another each time. */
const bytesOf = (out: string): string[] => {
  const { features, images, failed } = featurePaths(out)
  const texts = [readFileSync(features), readFileSync(images)]
  const misses = readFileSync(failed, 'utf8').replace(/"error":".*"/g, '')
  return [...texts, misses].map((data) => createHash('sha256').update(data).digest('hex'))
}
const errorOf = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'no error',
    (error: Error) => error.message,
  )

describe('a file of features', () => {
  it('has a row for each image that can be read, with labels, hashes and lines', async () => {
    const out = outFile()
    const encoder = new Encoder()
    const result = await embed(out, {}, encoder)
    expect(result).toMatchObject({ images: 28, rows: 26, failed: 2, reused: 0 })
    expect(encoder.count).toBe(26)

    const file = parseSafetensors(await readFile(out))
    const readable = collection.files.flatMap((path, i) => (BROKEN.includes(path) ? [] : [i]))
    expect(file.tensors.get('features')).toMatchObject({ dtype: 'F32', shape: [26, D] })
    expect([...file.int32('indices')]).toEqual(readable)
    expect([...file.int32('labels')]).toEqual(readable.map((i) => collection.labels![i]))
    expect(JSON.parse(file.metadata.get('classes')!)).toEqual(collection.classes)

    const lines = (await readFile(result.paths.images, 'utf8')).trimEnd().split('\n')
    expect(lines).toHaveLength(26)
    for (const [row, index] of readable.entries()) {
      const bytes = await readFile(join(collection.root, collection.files[index]))
      const sha256 = createHash('sha256').update(bytes).digest('hex')
      const label = collection.labels![index]
      expect(JSON.parse(lines[row])).toEqual({
        ...{
          index,
          path: collection.files[index],
          label,
          class: collection.classes[label],
          sha256,
        },
      })
      const hash = file.bytes('hashes').subarray(row * 32, (row + 1) * 32)
      expect(Buffer.from(hash).toString('hex')).toBe(sha256)
    }
    const failed = (await readFile(result.paths.failed, 'utf8')).trimEnd().split('\n')
    expect(failed.map((line) => (JSON.parse(line) as { path: string }).path)).toEqual(BROKEN)
    expect((await readdir(folder)).filter((name) => /tmp|parts/.test(name))).toEqual([])
  })

  it('stores f16 rounded to the nearest', async () => {
    const [wide, half] = [outFile(), outFile()]
    await embed(wide)
    await embed(half, { store: 'f16' })
    const exact = parseSafetensors(await readFile(wide)).float32('features')
    const file = parseSafetensors(await readFile(half))
    expect(file.tensors.get('features')?.dtype).toBe('F16')
    const stored = file.float32('features')
    exact.forEach((value, i) => {
      const step = 2 ** (Math.floor(Math.log2(Math.abs(value) || 1)) - 10)
      expect(Math.abs(stored[i] - value)).toBeLessThanOrEqual(step / 2)
    })
  })

  it('is left alone when it is complete, and nothing else is overwritten', async () => {
    const out = outFile()
    await embed(out)
    const before = bytesOf(out)
    const encoder = new Encoder()
    expect(await embed(out, {}, encoder)).toMatchObject({ rows: 26, failed: 2, reused: 28 })
    expect(encoder.count).toBe(0)
    expect(await errorOf(embed(out, { batch: 4 }))).toMatch(
      /other features are here already \(batch was 3, now it is 4\).*--overwrite/,
    )
    expect(bytesOf(out)).toEqual(before)
    await embed(out, { batch: 4, overwrite: true })
    expect(bytesOf(out)).not.toEqual(before)
  })

  it('is refused where the file there is something else', async () => {
    const out = outFile()
    await writeFile(out, 'notes')
    expect(await errorOf(embed(out))).toContain(out)
    expect(await readFile(out, 'utf8')).toBe('notes')
  })

  it('names the image whose feature is not finite', async () => {
    const encoder = new Encoder()
    const sound = encoder.embedPixels.bind(encoder)
    encoder.embedPixels = async (pixels) => {
      const rows = await sound(pixels)
      if (encoder.count === 7) rows[D + 2] = 70_000
      return rows
    }
    expect(await errorOf(embed(outFile(), { store: 'f16' }, encoder))).toMatch(
      /^\S+\.png: its feature has the value 70000, which f16 can't hold/,
    )
  })

  it('is not written when no image can be read', async () => {
    const out = outFile()
    const { root } = collection
    const files = { root, files: BROKEN, labels: undefined, classes: [], ignored: 0 }
    const broken = folderCollection(files)
    const message = await errorOf(
      embedCollection(broken, new Encoder(), { out, decoding: { workers: 1, workerUrl } }),
    )
    expect(message).toMatch(/none of the 2 images can be read; the first/)
    expect(existsSync(out)).toBe(false)
  })
})

describe('a stopped run', () => {
  it('goes on from every batch to the same bits, computing no finished chunk twice', async () => {
    const whole = outFile()
    await embed(whole)
    for (const stop of [1, 4, 7, 10]) {
      const out = outFile()
      const controller = new AbortController()
      const encoder = new Encoder()
      let batches = 0
      encoder.onBatch = () => {
        if (++batches === stop) controller.abort()
      }
      expect(await errorOf(embed(out, { signal: controller.signal }, encoder))).toMatch(/stopped/)
      const kept = (await readdir(`${out}.parts`)).filter((name) => name.startsWith('chunk'))
      const saved = kept.length * 5
      const again = new Encoder()
      const result = await embed(out, {}, again)
      expect(result.reused).toBe(Math.min(saved, 28))
      expect(again.count).toBeLessThanOrEqual(28 - saved)
      expect(bytesOf(out)).toEqual(bytesOf(whole))
    }
  })

  it('computes damaged chunks again and passes over what a kill left behind', async () => {
    const [whole, out] = [outFile(), outFile()]
    await embed(whole)
    const encoder = new Encoder()
    const controller = new AbortController()
    encoder.onBatch = () => {
      if (encoder.count >= 20) controller.abort()
    }
    await errorOf(embed(out, { signal: controller.signal }, encoder))
    const parts = `${out}.parts`
    const chunks = (await readdir(parts)).filter((name) => name.startsWith('chunk'))
    expect(chunks.length).toBeGreaterThanOrEqual(2)
    await truncate(join(parts, chunks[0]), 200)
    const bytes = await readFile(join(parts, chunks[1]))
    bytes[bytes.length - 40] ^= 1
    await writeFile(join(parts, chunks[1]), bytes)
    await writeFile(join(parts, '.chunk-00000005.safetensors.1.tmp'), 'half')
    const again = new Encoder()
    await embed(out, {}, again)
    expect(again.count).toBe(
      26 - (chunks.length - 2) * 5 + chunks.slice(2).filter(hasBroken).length,
    )
    expect(bytesOf(out)).toEqual(bytesOf(whole))
  })

  it('is not gone on with by another job', async () => {
    const out = outFile()
    const encoder = new Encoder()
    const controller = new AbortController()
    encoder.onBatch = () => controller.abort()
    await errorOf(embed(out, { signal: controller.signal }, encoder))
    expect(await errorOf(embed(out, { store: 'f16' }))).toMatch(
      /unfinished features of another job are here \(store was "f32", now it is "f16"\)/,
    )
    expect(await embed(out, { store: 'f16', overwrite: true })).toMatchObject({ reused: 0 })
  })
})

/** Whether a chunk file's images include a broken one: it has a row less. */
function hasBroken(name: string): boolean {
  const number = Number(/\d+/.exec(name)![0])
  return collection.files.slice(number * 5, number * 5 + 5).some((path) => BROKEN.includes(path))
}

describe('shards', () => {
  const shardsOf = async (count: number): Promise<string[]> => {
    const paths: string[] = []
    for (let index = 0; index < count; index++) {
      const out = outFile()
      await embed(out, { shard: { index, count } })
      paths.push(out)
    }
    return paths
  }

  it.each([2, 8])('merge to the bits of one run: %i', async (count) => {
    const [whole, out] = [outFile(), outFile()]
    await embed(whole)
    const shards = await shardsOf(count)
    const result = await mergeFeatures([...shards].reverse(), out)
    expect(result).toMatchObject({ images: 28, rows: 26, failed: 2, adapters: [''] })
    expect(bytesOf(out)).toEqual(bytesOf(whole))
  })

  it('are refused when one is missing, comes twice, is foreign or was tampered with', async () => {
    const shards = await shardsOf(3)
    const out = outFile()
    expect(await errorOf(mergeFeatures(shards.slice(1), out))).toMatch(
      /1 of 3 shards are missing: 0\. .*--shard I\/3/,
    )
    expect(await errorOf(mergeFeatures([...shards, shards[1]], out))).toMatch(
      /are both shard 1 of 3/,
    )
    const foreign = outFile()
    await embed(foreign, { shard: { index: 2, count: 3 }, store: 'f16' })
    expect(await errorOf(mergeFeatures([shards[0], shards[1], foreign], out))).toMatch(
      /does not belong to .*: store was "f32", now it is "f16"/,
    )
    const lines = shards[0].replace('.safetensors', '.jsonl')
    await writeFile(lines, (await readFile(lines, 'utf8')).split('\n').slice(1).join('\n'))
    expect(await errorOf(mergeFeatures(shards, out))).toMatch(/line 1 is not that of image 0/)
    expect(existsSync(out)).toBe(false)
    expect((await readdir(folder)).filter((name) => name.includes('tmp'))).toEqual([])
  })
})

describe('several encoders', () => {
  /** Another model: the same rows, another order of the columns and another scale. */
  class Other extends Encoder {
    override readonly name: string = 'other'
    override readonly hash: string = 'def'

    override async embedPixels(pixels: Uint8Array): Promise<Float32Array<ArrayBuffer>> {
      return (await super.embedPixels(pixels)).map((value, i) => value * (1 + (i % D)))
    }
  }
  const mixed = (out: string, models: Encoder[], options: Partial<EmbedCollectionOptions> = {}) =>
    embedMixed(collection, models, {
      ...{ out, chunk: 5, batch: 3, decoding: { workers: 1, workerUrl }, ...options },
    })
  const featuresOf = async (out: string) =>
    parseSafetensors(await readFile(out)).float32('features')
  const unit = (row: Float32Array) => row.map((value) => value / Math.hypot(...row))

  it('stand side by side, rows of length 1 each; a killed run goes on, a second one does nothing', async () => {
    const out = outFile()
    const models = [new Encoder(), new Other()]
    const controller = new AbortController()
    models[1].onBatch = () => controller.abort()
    expect(await errorOf(mixed(out, models, { signal: controller.signal }))).toMatch(/stopped/)
    expect(existsSync(out)).toBe(false)

    models[1].onBatch = () => {}
    const result = await mixed(out, models)
    expect(result).toMatchObject({ images: 28, rows: 26, failed: 2, paths: featurePaths(out) })
    // The first encoder had finished before the stop.
    expect(models[0].count).toBe(26)
    const [one, two] = [outFile(), outFile()]
    await embed(one)
    await embed(two, {}, new Other())
    const parts = [await featuresOf(one), await featuresOf(two)]
    const joined = await featuresOf(out)
    for (let row = 0; row < 26; row++) {
      const expected = parts.flatMap((part) => [...unit(part.slice(row * D, (row + 1) * D))])
      joined.slice(row * 2 * D, (row + 1) * 2 * D).forEach((value, i) => {
        expect(value).toBeCloseTo(expected[i], 6)
      })
    }
    const file = parseSafetensors(await readFile(out))
    expect(file.tensors.get('features')!.shape).toEqual([26, 2 * D])
    expect(JSON.parse(file.metadata.get('job')!)).toMatchObject({
      model: { name: 'hash+other', hash: 'abc+def' },
      encoders: [{ name: 'hash' }, { name: 'other' }],
    })
    expect(bytesOf(out).slice(1)).toEqual(bytesOf(one).slice(1))
    expect((await readdir(folder)).filter((name) => name.includes('encoder-'))).toEqual([])

    expect(await mixed(out, models)).toMatchObject({ rows: 26, failed: 2, reused: 28 })
    expect(models.map(({ count }) => count)[0]).toBe(26)
    expect(await errorOf(mixed(out, [models[1], models[0]]))).toMatch(
      /other features are here already/,
    )
  })
})
