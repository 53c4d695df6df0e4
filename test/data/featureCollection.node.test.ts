import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { openData } from '../../src/cli/openData.ts'
import type { ImageCollection } from '../../src/data/collection.ts'
import { openFeatureCollection } from '../../src/data/featureCollection.node.ts'
import { writeFeatures } from '../support/featureFile.node.ts'
import { randomArray } from '../support/random.ts'
import { rejectionOf } from '../support/rejectionOf.ts'

let folder: string
const files = ['cat/1.png', 'cat/2.png', 'dog/1.png', 'dog/2.png']
const labelled = { files, labels: Int32Array.of(0, 0, 1, 1), classes: ['cat', 'dog'] }
const data = randomArray(4 * 6, 3)
const path = (name: string): string => join(folder, `${name}.safetensors`)

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'keeplight-features-'))
  const collection = {
    ...labelled,
    coarse: { labels: Int32Array.of(1, 0, 0, 1), classes: ['a', 'b'] },
  }
  await writeFeatures(path('bare'), {
    collection: { ...labelled, labels: undefined, classes: [] },
    data,
    dimension: 6,
  })
  await writeFeatures(path('photos'), { collection, data, dimension: 6, failed: [1] })
  await writeFeatures(path('half'), { collection, data, dimension: 6, store: 'f16' })
})
afterAll(() => rm(folder, { recursive: true }))

async function contents(collection: ImageCollection, indices?: number[]): Promise<unknown[]> {
  const all: unknown[] = []
  for await (const each of collection.read(indices)) all.push(each)
  return all
}

it('has the rows, names, labels and model of the file, and what could not be read', async () => {
  const { collection, stored } = await openFeatureCollection(path('photos'))
  expect(collection).toMatchObject({
    ...{ root: path('photos'), kind: 'features', ignored: 0, classes: ['cat', 'dog'] },
    ...{ files: ['cat/1.png', 'dog/1.png', 'dog/2.png'], labels: Int32Array.of(0, 1, 1) },
  })
  const clean = Float32Array.from([...data.subarray(0, 6), ...data.subarray(12)])
  expect(stored).toEqual({
    model: { name: 'some-model', hash: 'ab12', dimension: 6 },
    features: { count: 3, dimension: 6, views: 0, clean, augmented: new Float32Array(0) },
    failed: [{ path: 'cat/2.png', message: 'broken' }],
  })
  expect(await contents(collection, [1])).toEqual([
    { index: 1, content: { unreadable: expect.stringContaining('--images') as string } },
  ])
})

it('takes the coarse labels, where there are any', async () => {
  const { collection } = await openFeatureCollection(path('half'), { labels: 'coarse' })
  expect([collection.classes, collection.labels]).toEqual([['a', 'b'], Int32Array.of(1, 0, 0, 1)])
  const error = await rejectionOf(openFeatureCollection(path('bare'), { labels: 'coarse' }))
  expect(error.message).toMatch(/has one labelling, and coarse labels were asked for/)
})

it('reads f16', async () => {
  const { stored } = await openFeatureCollection(path('half'))
  stored.features.clean.forEach((value, i) => expect(Math.abs(value - data[i])).toBeLessThan(5e-4))
})

it('finds pictures in the folder of its name, or in the collection that is named', async () => {
  for (const name of ['half', 'other']) {
    for (const file of files.slice(0, 3)) {
      await mkdir(join(folder, name, file, '..'), { recursive: true })
      await writeFile(join(folder, name, file), name)
    }
  }
  const { collection } = await openData(path('half'), {})
  expect(collection.holder?.(2)).toEqual({ path: join(folder, 'half', files[2]), own: true })
  expect(await contents(collection, [2])).toEqual([
    { index: 2, content: { file: join(folder, 'half', files[2]) } },
  ])
  const named = await openData(path('half'), { images: join(folder, 'other') })
  expect(named.collection.holder?.(2)).toEqual({ path: join(folder, 'other', files[2]), own: true })
  // The fourth is gone there.
  expect(await contents(named.collection, [0, 3])).toEqual([
    { index: 3, content: { unreadable: expect.any(String) as string } },
    { index: 0, content: { file: join(folder, 'other', files[0]) } },
  ])
})

it.each([
  [
    'pictures of something else',
    'bare',
    { images: '.' },
    'input',
    /no images here|has none of the/,
  ],
  ['lines of other features', 'lines', {}, 'format', /lines\.jsonl: line 2 is not that of image 1/],
  ['no lines', 'gone', {}, 'input', /gone\.jsonl: there is no such file/],
  [
    'a part of ImageNet',
    'bare',
    { synsets: 'imagenet-10' },
    'usage',
    /--synsets chooses from images/,
  ],
  ['values that are no numbers', 'nan', {}, 'format', /row 1 has the value NaN/],
] as const)('is refused: %s', async (_, name, settings, code, message) => {
  const images = 'images' in settings ? { images: join(folder, 'empty') } : {}
  await mkdir(join(folder, 'empty'), { recursive: true })
  if (name !== 'bare') {
    const bad = name === 'nan' ? data.map((value, i) => (i === 7 ? NaN : value)) : data
    await writeFeatures(path(name), { collection: labelled, data: bad, dimension: 6 })
  }
  if (name === 'lines') await writeFile(join(folder, 'lines.jsonl'), '{"index":0,"path":"a"}\n[]\n')
  if (name === 'gone') await rm(join(folder, 'gone.jsonl'))
  const error = await rejectionOf(openData(path(name), { ...settings, ...images }))
  expect(error.code).toBe(code)
  expect(error.message).toMatch(message)
})

it('names pictures for a file of features alone', async () => {
  const error = await rejectionOf(openData(folder, { images: folder }))
  expect(error.message).toMatch(/--images .* names the pictures of a file of features/)
})
