import {
  appendFile,
  copyFile,
  mkdtemp,
  readFile,
  rename,
  rm,
  utimes,
  writeFile,
} from 'node:fs/promises'
import { readdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { collectFeatures } from '../../src/cli/collect.ts'
import { joinCollected, modelNames } from '../../src/cli/mixedModel.ts'
import { concatFeatures } from '../../src/model/features.ts'
import { errorOf } from '../support/errorOf.ts'
import type { Collected, Encoder } from '../../src/cli/collect.ts'
import { Looks } from '../../src/cli/looks.ts'
import { Pace, Terminal } from '../../src/cli/terminal.ts'
import { openCollection } from '../../src/data/openCollection.node.ts'
import { compileWorker } from '../data/compileWorker.ts'
import { makeTar } from '../support/archives.ts'
import { drawFolder } from './drawFolder.ts'

const preprocess = {
  size: 64,
  resize: 64,
  mean: [0.485, 0.456, 0.406],
  std: [0.229, 0.224, 0.225],
} as const
const imageBytes = 64 * 64 * 3
const terminal = new Terminal({ quiet: true, json: false })

/** Stands for the vision model: an image's feature is its mean, first and last byte. */
class MeanEncoder implements Encoder {
  readonly name = 'mean'
  readonly dimension = 3
  readonly preprocess = preprocess
  readonly batches: number[] = []

  constructor(readonly hash = 'mean') {}

  embedPixels(pixels: Uint8Array): Promise<Float32Array> {
    const count = pixels.length / imageBytes
    this.batches.push(count)
    const features = Array.from({ length: count }, (_, i) => {
      const image = pixels.subarray(i * imageBytes, (i + 1) * imageBytes)
      return [
        image.reduce((sum, byte) => sum + byte, 0) / imageBytes,
        image[0],
        image[imageBytes - 1],
      ]
    })
    return Promise.resolve(Float32Array.from(features.flat()))
  }
}

let pictures: string
let drawn: readonly string[]
let cacheFolder: string
let workerUrl: URL
let removeWorker: () => Promise<void>

beforeAll(async () => {
  pictures = await mkdtemp(join(tmpdir(), 'keeplight-collect-'))
  drawn = await drawFolder(pictures, 5, 8)
  ;({ workerUrl, removeWorker } = await compileWorker())
})
beforeEach(async () => {
  cacheFolder = await mkdtemp(join(tmpdir(), 'keeplight-collect-cache-'))
})
afterEach(() => rm(cacheFolder, { recursive: true }))
afterAll(async () => {
  await rm(pictures, { recursive: true })
  await removeWorker()
})

async function collect(
  encoder: Parameters<typeof collectFeatures>[1],
  options: { views?: number; cache?: boolean; signal?: AbortSignal } = {},
): Promise<Collected> {
  const { views = 2, cache = true, signal } = options
  return collectFeatures(await openCollection(pictures), encoder, {
    views,
    cacheFolder: cache ? cacheFolder : undefined,
    terminal,
    signal,
    decoding: { workerUrl, workers: 2 },
  })
}

describe('collectFeatures', () => {
  it('gives features in the folder’s order, views outermost, in batches of 32 images', async () => {
    const encoder = new MeanEncoder()
    const { features, kept, raw, reused, embedded, broken } = await collect(encoder, {
      cache: false,
    })
    expect(encoder.batches).toEqual([32, 32, 32, 24])
    expect(features).toMatchObject({ count: 40, dimension: 3, views: 2 })
    expect([features.clean.length, features.augmented.length]).toEqual([40 * 3, 2 * 40 * 3])
    expect(kept).toEqual(drawn.map((_, i) => i))
    expect([reused, embedded, broken, raw.length]).toEqual([0, 40, [], 40 * 3072])
    // Views of one image are like it: nearer to its own clean feature than images are to each other.
    const mean = (data: Float32Array, row: number): number => data[row * 3]
    let own = 0
    let foreign = 0
    for (let i = 0; i < 40; i++) {
      for (const view of [0, 1]) {
        const value = mean(features.augmented, view * 40 + i)
        own += Math.abs(value - mean(features.clean, i))
        foreign += Math.abs(value - mean(features.clean, (i + 13) % 40))
      }
    }
    expect(own).toBeLessThan(foreign / 4)
  })

  it('takes everything from the cache the second time, and gives the same', async () => {
    const first = await collect(new MeanEncoder())
    const encoder = new MeanEncoder()
    const second = await collect(encoder)
    expect(encoder.batches).toEqual([])
    expect([second.reused, second.embedded]).toEqual([40, 0])
    expect(second.features).toEqual(first.features)
    expect(second.raw).toEqual(first.raw)
    expect(second.cache?.bytes).toBeGreaterThan(40 * (3 * 3 * 4 + 3072))
    // Without views, the clean features of the run that had some serve.
    const clean = await collect(encoder, { views: 0 })
    expect([encoder.batches, clean.reused, clean.features.augmented.length]).toEqual([[], 40, 0])
    expect([clean.features.clean, clean.raw]).toEqual([first.features.clean, first.raw])
  })

  it('knows an archive’s images by its size and time, and reads none of them again', async () => {
    const items = await Promise.all(
      drawn.slice(0, 6).map(async (name) => ({
        name,
        content: new Uint8Array(await readFile(join(pictures, name))),
      })),
    )
    const path = join(cacheFolder, 'some.tar')
    await writeFile(path, makeTar(items))
    const run = async (): Promise<[Collected, number]> => {
      const collection = await openCollection(path)
      const read = vi.spyOn(collection, 'read')
      const options = { views: 0, cacheFolder, terminal, decoding: { workerUrl, workers: 1 } }
      const collected = await collectFeatures(collection, new MeanEncoder(), options)
      return [collected, read.mock.calls.flatMap(([indices]) => indices ?? []).length]
    }
    const [first, readFirst] = await run()
    const [second, readSecond] = await run()
    expect([first.embedded, readFirst]).toEqual([6, 6])
    expect([second.reused, second.embedded, readSecond]).toEqual([6, 0, 0])
    expect(second.features).toEqual(first.features)
    await writeFile(path, makeTar(items.reverse()))
    await utimes(path, new Date(), new Date(1e12))
    const [third, readThird] = await run()
    expect([third.embedded, readThird]).toEqual([0, 6]) // known by content, after a look
  })

  it('embeds only what a grown and renamed collection has new, as a folder and as an archive', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'keeplight-grown-'))
    const items = await Promise.all(
      drawn.slice(0, 9).map(async (name) => ({
        name: name.replace('/', '-'),
        content: new Uint8Array(await readFile(join(pictures, name))),
      })),
    )
    const archive = `${folder}.tar`
    const options = { views: 0, cacheFolder, terminal, decoding: { workerUrl, workers: 1 } }
    const counts = async (path: string): Promise<number[]> => {
      const encoder = new MeanEncoder()
      const { reused, embedded, kept } = await collectFeatures(
        await openCollection(path),
        encoder,
        options,
      )
      // What the encoder was given is what was new.
      expect(encoder.batches.reduce((sum, count) => sum + count, 0)).toBe(embedded)
      return [reused, embedded, kept.length]
    }
    const write = (part: typeof items): Promise<unknown> =>
      Promise.all(part.map(({ name, content }) => writeFile(join(folder, name), content)))
    await write(items.slice(0, 6))
    expect(await counts(folder)).toEqual([0, 6, 6])
    await write(items.slice(6, 8))
    await rename(join(folder, items[0].name), join(folder, 'renamed.png'))
    expect(await counts(folder)).toEqual([6, 2, 8])
    await writeFile(archive, makeTar(items))
    expect(await counts(archive)).toEqual([8, 1, 9])
    await writeFile(archive, makeTar([...items.slice(2), { ...items[0], name: 'renamed.png' }]))
    await utimes(archive, new Date(), new Date(1e12))
    expect(await counts(archive)).toEqual([8, 0, 8])
    await Promise.all([rm(folder, { recursive: true }), rm(archive)])
  })

  it('takes clean features from a run with the usual views', async () => {
    const rich = await collect(new MeanEncoder(), { views: 4 })
    const encoder = new MeanEncoder()
    const clean = await collect(encoder, { views: 0 })
    expect([encoder.batches, clean.reused]).toEqual([[], 40])
    expect(clean.features.clean).toEqual(rich.features.clean)
    expect(clean.raw).toEqual(rich.raw)
  })

  it('notes what images look like, and looks later at those of an older cache', async () => {
    const collection = await openCollection(pictures)
    const decoding = { workerUrl, workers: 2 }
    const look = async (cached: boolean) => {
      const options = { cacheFolder: cached ? cacheFolder : undefined, terminal, decoding }
      const looks = new Looks(collection, options)
      const { kept } = await collectFeatures(collection, new MeanEncoder(), {
        ...{ ...options, views: 0, looks },
      })
      const first = looks.seenOf(kept).length
      await looks.complete(kept)
      looks.close()
      return { first, all: kept.map((index) => looks.at(index)) }
    }
    const fresh = await look(false)
    expect([fresh.first, fresh.all.length]).toEqual([40, 40])
    await collect(new MeanEncoder(), { views: 0 }) // as a version without looks left it
    const later = await look(true)
    const again = await look(true)
    expect([later.first, again.first]).toEqual([0, 40])
    expect(again.all).toEqual(later.all)
    const { width, height, bytes } = later.all[0].appearance
    expect({ width, height, bytes }).toEqual({
      ...{ width: 160, height: 120 },
      bytes: (await readFile(join(pictures, drawn[0]))).length,
    })
    expect(later.all[0].hash).toBe(fresh.all[0].hash)
  })

  it('embeds anew for another model, other views, or without the cache', async () => {
    await collect(new MeanEncoder())
    for (const run of [
      () => collect(new MeanEncoder('other')),
      () => collect(new MeanEncoder(), { views: 1 }),
      () => collect(new MeanEncoder(), { cache: false }),
    ]) {
      expect((await run()).embedded).toBe(40)
    }
  })

  it('knows a moved file by its content, and embeds a changed one', async () => {
    await collect(new MeanEncoder())
    await copyFile(join(pictures, drawn[3]), join(pictures, 'a moved.png'))
    await copyFile(join(pictures, drawn[20]), join(pictures, 'kept aside'))
    await copyFile(join(pictures, drawn[30]), join(pictures, drawn[20]))
    await appendFile(join(pictures, drawn[20]), 'x')
    const encoder = new MeanEncoder()
    const { features } = await collect(encoder)
    await copyFile(join(pictures, 'kept aside'), join(pictures, drawn[20]))
    await rm(join(pictures, 'kept aside'))
    await rm(join(pictures, 'a moved.png'))
    expect(encoder.batches).toEqual([3])
    expect(features.clean.slice(0, 3)).toEqual(features.clean.slice(4 * 3, 5 * 3))
  })

  it('embeds anew what is damaged in the cache', async () => {
    const first = await collect(new MeanEncoder())
    const [segment] = readdirSync(cacheFolder, { recursive: true, encoding: 'utf8' }).filter(
      (name) => name.endsWith('.features'),
    )
    const bytes = await readFile(join(cacheFolder, segment))
    bytes[bytes.length - 100] ^= 1
    await writeFile(join(cacheFolder, segment), bytes)
    const encoder = new MeanEncoder()
    const second = await collect(encoder)
    expect(encoder.batches).toEqual([3])
    expect(second.features).toEqual(first.features)
  })

  it('leaves broken files out and names them', async () => {
    await writeFile(join(pictures, drawn[0].replace('0.png', '00.png')), 'no picture')
    const { features, kept, broken, embedded } = await collect(new MeanEncoder())
    await rm(join(pictures, drawn[0].replace('0.png', '00.png')))
    expect([features.count, kept.length, embedded]).toEqual([40, 40, 40])
    expect(kept).not.toContain(1)
    expect(broken).toEqual([
      { path: drawn[0].replace('0.png', '00.png'), message: expect.stringContaining('not a JPEG') },
    ])
  })

  it('refuses a folder without one readable image', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'keeplight-broken-'))
    await writeFile(join(folder, 'a.png'), 'no picture')
    const options = { views: 0, cacheFolder: undefined, terminal, decoding: { workerUrl } }
    await expect(
      collectFeatures(await openCollection(folder), new MeanEncoder(), options),
    ).rejects.toMatchObject({
      code: 'input',
      message: expect.stringMatching(/none of the 1 images can be read; the first, a\.png: not a/),
    })
    await rm(folder, { recursive: true })
  })

  it('keeps finished batches when it is stopped', async () => {
    const controller = new AbortController()
    const encoder = new MeanEncoder()
    const embed = vi.spyOn(encoder, 'embedPixels').mockImplementation((pixels) => {
      // Six calls of 32 views finish the first batch of 32 images; the next 8 images take two.
      if (embed.mock.calls.length === 7) controller.abort()
      return MeanEncoder.prototype.embedPixels.call(new MeanEncoder(), pixels)
    })
    const stopped = collect(encoder, { views: 5, signal: controller.signal })
    await expect(stopped).rejects.toMatchObject({ code: 'aborted' })
    expect(embed).toHaveBeenCalledTimes(7)
    const { reused } = await collect(new MeanEncoder(), { views: 5 })
    expect(reused).toBe(32)
  })

  it('goes on without a cache that can’t be made', async () => {
    const warn = vi.spyOn(terminal, 'warn').mockImplementation(() => undefined)
    const collection = await collectFeatures(await openCollection(pictures), new MeanEncoder(), {
      views: 0,
      cacheFolder: '/sys/keeplight',
      terminal,
      decoding: { workerUrl },
    })
    expect(collection).toMatchObject({ embedded: 40, cache: undefined })
    expect(warn).toHaveBeenCalledWith(
      expect.stringContaining("the cache /sys/keeplight can't be used"),
    )
    warn.mockRestore()
  })
})

describe('Pace', () => {
  it('counts nothing that came from the cache for the rate', () => {
    vi.useFakeTimers({ toFake: ['performance'] })
    const pace = new Pace(100, 40)
    expect(pace.describe(40)).toBe('starting')
    vi.advanceTimersByTime(2000)
    expect(pace.describe(60)).toBe('10/s, 4.0 s left')
    pace.skip(50)
    expect(pace.describe(60)).toBe('5.0/s, 8.0 s left')
    pace.skip(100)
    expect(pace.describe(100)).toBe('cached')
    vi.useRealTimers()
  })
})

describe('several encoders', () => {
  it('give their features side by side, each from its own cache, for what all could read', async () => {
    const alone = await collect(new MeanEncoder('one'))
    const encoders = [new MeanEncoder('one'), new MeanEncoder('two')]
    const both = await collect({ encoders })
    expect(encoders.map(({ batches }) => batches.length)).toEqual([0, 4])
    expect(both).toMatchObject({ kept: alone.kept, raw: alone.raw, reused: 0, embedded: 40 })
    expect(both.features).toEqual(concatFeatures([alone.features, alone.features]))
    expect((await collect({ encoders })).reused).toBe(40)

    const few = [3, 5, 8]
    const part = (kept: readonly number[], value: number): Collected => ({
      ...alone,
      ...{ kept, raw: Uint8Array.from(kept), reused: 0 },
      features: {
        ...{ count: kept.length, dimension: 1, views: 1 },
        clean: Float32Array.from(kept, (index) => index * value),
        augmented: Float32Array.from(kept, (index) => -index * value),
      },
      broken: kept.length < 3 ? [{ path: 'a', message: 'late' }] : [],
    })
    const joined = joinCollected([part(few, 1), part([3, 8], 2)])
    expect([...joined.raw]).toEqual([3, 8])
    expect(joined).toMatchObject({ kept: [3, 8], broken: [{ path: 'a' }] })
    expect(joined.features).toMatchObject({ count: 2, dimension: 2, views: 1 })
    expect([...joined.features.augmented]).toEqual([-1, -1, -1, -1])
  })

  it.each([
    ['keeplight-tiny', ['keeplight-tiny']],
    ['clip-vit-l-14 + dino-vit-b-8', ['clip-vit-l-14', 'dino-vit-b-8']],
    ['./a+./b+c', ['./a', './b', 'c']],
  ])('%s means %j', async (model, names) => {
    expect(await modelNames(model)).toEqual(names)
  })

  it('a file whose name has a plus is one model; a list with gaps or twins is none', async () => {
    const path = join(cacheFolder, 'a+b.safetensors')
    await writeFile(path, '')
    expect(await modelNames(path)).toEqual([path])
    for (const model of ['a+', '+a', 'a+a']) {
      await expect(modelNames(model)).rejects.toThrow(/expected different models joined by \+/)
    }
  })
})

describe('concatFeatures', () => {
  const features = (dimension: number, views: number, values: number[]) => {
    const count = values.length / dimension / (1 + views)
    const [clean, augmented] = [values.slice(0, count * dimension), values.slice(count * dimension)]
    const arrays = { clean: Float32Array.from(clean), augmented: Float32Array.from(augmented) }
    return { count, dimension, views, ...arrays }
  }

  it('normalises each encoder’s rows, whatever their scale', () => {
    const a = features(2, 1, [3, 4, 0, 2, 30, 40, 5, 0])
    const b = features(1, 1, [7, -1, 0.1, -9])
    const joined = concatFeatures([a, b])
    expect(joined).toMatchObject({ count: 2, dimension: 3, views: 1 })
    const rounded = (data: Float32Array) => [...data].map((value) => Math.fround(value))
    expect(rounded(joined.clean)).toEqual([0.6, 0.8, 1, 0, 1, -1].map(Math.fround))
    expect(rounded(joined.augmented)).toEqual([0.6, 0.8, 1, 1, 0, -1].map(Math.fround))
    expect([...a.clean]).toEqual([3, 4, 0, 2])
  })

  it('refuses features of other images, and none', () => {
    const one = features(1, 0, [1, 2])
    expect(errorOf(() => concatFeatures([one, features(1, 0, [1])])).message).toMatch(
      /1 images with 0 views beside 2 with 0/,
    )
    expect(errorOf(() => concatFeatures([])).code).toBe('validation')
  })
})
