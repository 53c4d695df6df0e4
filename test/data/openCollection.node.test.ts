import { mkdir, mkdtemp, rm, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { deflateRawSync, gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { ImageCollection, ImageContent } from '../../src/data/collection.ts'
import { openCollection, type OpenOptions } from '../../src/data/openCollection.node.ts'
import { synsetSubsets, namedSynsets } from '../../src/data/synsets.ts'
import {
  cifarRecords,
  concat,
  makeTar,
  makeZip,
  stlImages,
  tarEntry,
  type Content,
} from '../support/archives.ts'
import { describeShared, sharedPath } from '../support/golden.ts'

let root: string
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'keeplight-open-'))
})
afterAll(() => rm(root, { recursive: true }))

/** Writes files below the test's folder; the path of the first. */
async function put(files: Readonly<Record<string, Content>>): Promise<string> {
  for (const [name, content] of Object.entries(files)) {
    await mkdir(dirname(join(root, name)), { recursive: true })
    await writeFile(join(root, name), content)
  }
  return join(root, Object.keys(files)[0]!)
}

async function contents(
  collection: ImageCollection,
  indices?: readonly number[],
): Promise<[number, ImageContent][]> {
  const all: [number, ImageContent][] = []
  for await (const { index, content } of collection.read(indices)) all.push([index, content])
  return all
}

const text = (content: ImageContent): string =>
  'bytes' in content ? new TextDecoder().decode(content.bytes) : JSON.stringify(content)

const refuses = (path: string, options?: OpenOptions) =>
  expect(openCollection(path, options)).rejects

const photos = [
  { name: 'photos/', kind: '5' },
  { name: 'photos/cat/2.jpg', content: 'second' },
  { name: 'photos/cat/1.jpg', content: 'x'.repeat(200_000) },
  { name: 'photos/.DS_Store', content: 'hidden' },
  { name: 'photos/dog/._1.jpg', content: 'hidden' },
  { name: 'photos/dog/readme.md', content: 'ignored' },
  { name: 'photos/dog/a/3.PNG', content: 'third' },
  { name: 'photos/dog/empty.png', content: '' },
]
const zipped = photos.slice(1).map(({ name, content = '' }) => ({ name, content }))

describe('an archive', () => {
  const deflated = zipped.map(({ name, content }) => ({
    ...{ name, content, deflated: deflateRawSync(content) },
  }))
  it.each([
    ['tar', 'tar', makeTar(photos)],
    ['tgz', 'tar.gz', gzipSync(makeTar(photos))],
    ['zip', 'zip', makeZip([{ name: 'photos/', content: '' }, ...zipped])],
    ['deflated.zip', 'zip', makeZip(deflated)],
  ])(
    'of the kind .%s is listed in its order, with classes, and read by parts',
    async (ending, kind, bytes) => {
      const path = await put({ [`photos.${ending}`]: bytes })
      const collection = await openCollection(path)
      expect(collection).toMatchObject({ root: path, kind, ignored: 1, classes: ['cat', 'dog'] })
      expect(collection.files).toEqual([
        'photos/cat/2.jpg',
        'photos/cat/1.jpg',
        'photos/dog/a/3.PNG',
        'photos/dog/empty.png',
      ])
      expect([...collection.labels!]).toEqual([0, 0, 1, 1])
      expect(collection.holder?.(2)).toEqual({ path, own: false })
      const all = await contents(collection)
      expect(all.map(([index, content]) => [index, text(content)])).toEqual([
        [0, 'second'],
        [1, 'x'.repeat(200_000)],
        [2, 'third'],
        [3, '{"unreadable":"the file is empty"}'],
      ])
      const some = await contents(collection, [0, 2])
      expect(some.map(([index, content]) => [index, text(content)])).toEqual([
        [0, 'second'],
        [2, 'third'],
      ])
      expect(await contents(collection, [])).toEqual([])
      // The bytes are the caller's own.
      for (const [, content] of some) {
        if ('bytes' in content) expect(content.bytes.buffer.byteLength).toBe(content.bytes.length)
      }
      await writeFile(path, concat(bytes, 'more'))
      await expect(contents(collection)).rejects.toMatchObject({
        code: 'input',
        message: expect.stringContaining(`${path}: was changed while it was in use`),
      })
    },
  )

  it('is told apart by its content', async () => {
    const path = await put({ 'really a tar.zip': makeTar(photos) })
    expect((await openCollection(path)).kind).toBe('tar')
    const members = Buffer.concat([
      gzipSync(tarEntry({ name: 'a.png', content: 'a' })),
      gzipSync(makeTar([{ name: 'b.png', content: 'b' }])),
    ])
    const gzip = await openCollection(await put({ 'two members': members }))
    expect((await contents(gzip)).map(([, content]) => text(content))).toEqual(['a', 'b'])
  })

  it('tells of a damaged entry of a zip in its turn', async () => {
    const bytes = makeZip(zipped)
    bytes[Buffer.from(bytes).indexOf('second')]! ^= 1
    const collection = await openCollection(await put({ 'damaged.zip': bytes }))
    const all = (await contents(collection)).map(([, content]) => text(content).slice(0, 60))
    expect(all[0]).toBe('{"unreadable":"damaged in the archive: its checksum is wrong')
    expect(all[2]).toBe('third')
  })

  it('stops when it is told to', async () => {
    const path = await put({ 'stopped.tgz': gzipSync(makeTar(photos)) })
    const collection = await openCollection(path)
    const signal = AbortSignal.abort()
    await refuses(path, { signal }).toMatchObject({ code: 'aborted' })
    const reading = collection.read(undefined, signal)[Symbol.asyncIterator]().next()
    await expect(reading).rejects.toMatchObject({ code: 'aborted' })
  })
})

describe('a list of files', () => {
  it('keeps its order, takes relative and absolute paths, and labels', async () => {
    await put({ 'pictures/a.jpg': 'a', 'pictures/b.jpg': 'b', 'c.jpg': 'c' })
    const listed = `# some\n../pictures/b.jpg\tdog\n${join(root, 'c.jpg')}\tcat\n../pictures/./a.jpg\tdog\n`
    const path = await put({ 'lists/list.tsv': listed })
    const collection = await openCollection(path)
    expect(collection).toMatchObject({ root: path, kind: 'list', classes: ['cat', 'dog'] })
    expect(collection.files).toEqual([
      '../pictures/b.jpg',
      join(root, 'c.jpg'),
      '../pictures/a.jpg',
    ])
    expect([...collection.labels!]).toEqual([1, 0, 1])
    const own = { path: join(root, 'pictures/a.jpg'), own: true }
    expect(collection.holder?.(2)).toEqual(own)
    expect(await contents(collection, [2])).toEqual([[2, { file: own.path }]])
  })

  it('names repeats and missing files', async () => {
    const twice = await put({ 'twice.txt': 'c.jpg\n./c.jpg\n' })
    await refuses(twice).toMatchObject({
      code: 'input',
      message: expect.stringContaining('line 2 repeats line 1 (./c.jpg)'),
    })
    const missing = await put({ 'missing.txt': 'c.jpg\nno.jpg\n# x\npictures\n' })
    await refuses(missing).toMatchObject({
      code: 'input',
      message: expect.stringContaining(
        '2 of 3 files are missing: line 2 (no.jpg), line 4 (pictures)',
      ),
    })
    await refuses(await put({ 'binary.txt': 'a\0b' })).toMatchObject({ code: 'input' })
  })
})

const cifar10 = {
  'data_batch_1.bin': cifarRecords([[3], [9]]),
  'data_batch_2.bin': cifarRecords([[0]], 50),
  'test_batch.bin': cifarRecords([[5], [1]], 99),
  'batches.meta.txt': 'airplane\nautomobile\nbird\ncat\ndeer\ndog\nfrog\nhorse\nship\ntruck\n\n',
}
/** In an order that is not the collection's. */
const asArchive = (folder: string, files: Readonly<Record<string, Content>>) =>
  makeTar(
    Object.entries(files)
      .reverse()
      .map(([name, content]) => ({ name: `${folder}/${name}`, content })),
  )
const inFolder = (folder: string, files: Readonly<Record<string, Content>>) =>
  put(
    Object.fromEntries(
      Object.entries(files).map(([name, content]) => [`${folder}/${name}`, content]),
    ),
  )

describe('CIFAR-10', () => {
  it('is read from its folder, its archive and a single file alike', async () => {
    const folder = dirname(await inFolder('cifar-10-batches-bin', cifar10))
    const archive = gzipSync(asArchive('cifar-10-batches-bin', cifar10))
    const path = await put({ 'cifar-10-binary.tar.gz': archive })
    for (const data of [folder, path]) {
      const collection = await openCollection(data)
      expect(collection).toMatchObject({ root: data, kind: 'cifar-10', ignored: 0 })
      expect(collection.files).toEqual([
        'data_batch_1/00000',
        'data_batch_1/00001',
        'data_batch_2/00000',
        'test_batch/00000',
        'test_batch/00001',
      ])
      expect([...collection.labels!]).toEqual([3, 9, 0, 5, 1])
      expect(collection.classes[3]).toBe('cat')
      const all = await contents(collection)
      expect(all.map(([index]) => index)).toEqual([0, 1, 2, 3, 4])
      for (const [file, record, index] of [
        ['data_batch_1.bin', 1, 1],
        ['data_batch_2.bin', 0, 2],
        ['test_batch.bin', 1, 4],
      ] as const) {
        const content = all[index]![1]
        if (!('pixels' in content)) throw new Error('expected pixels')
        const { width, height, data } = content.pixels
        expect([width, height, data.length]).toEqual([32, 32, 3072])
        const planes = cifar10[file].subarray(record * 3073 + 1)
        for (const [x, y] of [
          [0, 0],
          [31, 0],
          [5, 17],
        ] as const) {
          const at = y * 32 + x
          expect([...data.subarray(at * 3, at * 3 + 3)]).toEqual([
            planes[at],
            planes[1024 + at],
            planes[2048 + at],
          ])
        }
      }
      expect(await contents(collection, [1, 4])).toEqual([all[1], all[4]])
    }
    const single = await openCollection(join(folder, 'test_batch.bin'))
    expect(single.files).toEqual(['test_batch/00000', 'test_batch/00001'])
    expect(single.classes[9]).toBe('truck')
    expect(single.holder?.(1)).toEqual({ path: join(folder, 'test_batch.bin'), own: false })
  })

  it.each([
    [
      'a length',
      { 'test_batch.bin': new Uint8Array(3072) },
      'has 3072 bytes, expected a multiple of 3073',
    ],
    ['no bytes', { 'test_batch.bin': '' }, 'has 0 bytes'],
    [
      'a label',
      { 'test_batch.bin': cifarRecords([[1], [10]]) },
      'test_batch.bin has label 10, expected 0 to 9',
    ],
    [
      'names',
      { 'test_batch.bin': cifarRecords([[1]]), 'batches.meta.txt': 'cat\n' },
      'has 1 lines, expected the 10 different names',
    ],
  ])('is refused for %s', async (name, files, message) => {
    const path = dirname(await inFolder(`bad/${name}`, files))
    await refuses(path).toMatchObject({ code: 'input', message: expect.stringContaining(message) })
    await refuses(await put({ [`bad/${name}.tar`]: asArchive('x', files) })).toMatchObject({
      code: 'input',
      message: expect.stringContaining(message),
    })
  })
})

it('CIFAR-100 has fine and coarse labels', async () => {
  const names = (count: number, what: string) =>
    Array.from({ length: count }, (_, i) => `${what} ${i}\n`).join('')
  const files = {
    'train.bin': cifarRecords([
      [4, 72],
      [19, 99],
    ]),
    'test.bin': cifarRecords([[0, 3]], 9),
    'fine_label_names.txt': names(100, 'fine'),
    'coarse_label_names.txt': names(20, 'coarse'),
  }
  const path = dirname(await inFolder('cifar-100-binary', files))
  const fine = await openCollection(path)
  expect(fine.kind).toBe('cifar-100')
  expect(fine.files).toEqual(['train/00000', 'train/00001', 'test/00000'])
  expect([...fine.labels!]).toEqual([72, 99, 3])
  expect([...fine.coarse!.labels]).toEqual([4, 19, 0])
  expect([fine.classes[72], fine.coarse!.classes[4]]).toEqual(['fine 72', 'coarse 4'])
  const coarse = await openCollection(path, { labels: 'coarse' })
  expect([...coarse.labels!]).toEqual([4, 19, 0])
  expect(coarse.classes).toHaveLength(20)
  const [[, content]] = await contents(coarse, [2])
  if (!('pixels' in content)) throw new Error('expected pixels')
  const planes = files['test.bin'].subarray(2)
  expect([...content.pixels.data.subarray(0, 3)]).toEqual([planes[0], planes[1024], planes[2048]])
  await refuses(join(root, 'cifar-10-batches-bin'), { labels: 'coarse' }).toMatchObject({
    code: 'input',
    message: expect.stringContaining('has one labelling (cifar-10)'),
  })
})

it('STL-10 has labels from 1 beside its images, and columns first', async () => {
  const files = {
    'train_X.bin': stlImages(2),
    'train_y.bin': Uint8Array.from([1, 10]),
    'test_X.bin': stlImages(1, 77),
    'test_y.bin': Uint8Array.from([4]),
    'unlabeled_X.bin': stlImages(3, 5),
  }
  const folder = dirname(await inFolder('stl10_binary', files))
  const archive = await put({ 'stl10.tar.gz': gzipSync(asArchive('stl10_binary', files)) })
  for (const path of [folder, archive]) {
    const collection = await openCollection(path)
    expect(collection.files).toEqual(['train_X/00000', 'train_X/00001', 'test_X/00000'])
    expect([...collection.labels!]).toEqual([0, 9, 3])
    expect(collection.classes[9]).toBe('truck')
    const [[, content]] = await contents(collection, [1])
    if (!('pixels' in content)) throw new Error('expected pixels')
    const { data } = content.pixels
    const planes = files['train_X.bin'].subarray(3 * 96 * 96)
    const [x, y] = [3, 90]
    expect([...data.subarray((y * 96 + x) * 3, (y * 96 + x) * 3 + 3)]).toEqual(
      [0, 1, 2].map((plane) => planes[plane * 96 * 96 + x * 96 + y]),
    )
  }
  const unlabelled = await openCollection(join(folder, 'unlabeled_X.bin'))
  expect(unlabelled).toMatchObject({ labels: undefined, classes: [] })
  expect(unlabelled.files).toHaveLength(3)
  await writeFile(join(folder, 'train_y.bin'), Uint8Array.from([1]))
  await refuses(folder).toMatchObject({
    message: expect.stringContaining('train_y.bin has 1 labels, expected 2'),
  })
})

describe('a part of ImageNet', () => {
  const ten = [...namedSynsets(synsetSubsets[0]!)!]

  it('has the images of a named list, in a folder and an archive', async () => {
    const all = [...ten.map(([synset]) => synset), 'n99999999']
    const paths = all.map((synset) => `train/${synset}/${synset}_1.JPEG`)
    await put(Object.fromEntries(paths.map((path) => [`imagenet/${path}`, 'x'])))
    const archive = await put({
      'imagenet.tar': makeTar(paths.map((name) => ({ name, content: 'x' }))),
    })
    for (const path of [join(root, 'imagenet'), join(root, 'imagenet/train'), archive]) {
      const collection = await openCollection(path, { synsets: 'imagenet-10' })
      expect(collection.files).toHaveLength(10)
      expect(collection.classes).toEqual(ten.map(([, name]) => name))
      expect([...collection.labels!]).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    }
    const list = await put({ 'two.txt': 'n02085936 a dog\nn99999999\n' })
    const two = await openCollection(join(root, 'imagenet'), { synsets: list })
    expect([two.classes, two.files.length]).toEqual([['a dog', 'n99999999'], 2])
  })

  it('is refused without some of its synsets', async () => {
    await refuses(join(root, 'imagenet'), { synsets: 'imagenet-dogs' }).toMatchObject({
      code: 'input',
      message: expect.stringMatching(/has no images of 14 of 15 synsets: n02086646, .*…/),
    })
    await refuses(join(root, 'pictures'), { synsets: 'imagenet-dogs' }).toMatchObject({
      message: expect.stringContaining('no images of these synsets here'),
    })
    await refuses(join(root, 'pictures'), { synsets: 'imagenet-11' }).toMatchObject({
      message: expect.stringContaining('Synsets are imagenet-10, imagenet-dogs or a file'),
    })
    await refuses(join(root, 'twice.txt'), { synsets: 'imagenet-10' }).toMatchObject({
      message: expect.stringContaining('synsets choose from'),
    })
  })
})

it.each([
  ['missing', 'nowhere', undefined, 'no such file or folder'],
  ['empty', 'empty.tar', '', 'the file is empty'],
  ['a picture', 'one.jpg', 'picture', 'For a picture, give the folder that holds it'],
  ['no gzip', 'no.tgz', 'text', 'is not gzip data'],
  ['no zip', 'no.zip', 'text', 'does not begin like a zip archive'],
  ['no tar', 'no.tar', 'text'.repeat(200), 'does not begin with a tar header'],
  [
    'no images',
    'none.tar',
    makeTar([{ name: 'a.txt' }]),
    'no images in this archive (1 other files',
  ],
])('refuses %s', async (_, name, content, message) => {
  const path = content === undefined ? join(root, name) : await put({ [name]: content })
  await refuses(path).toMatchObject({
    code: 'input',
    message: expect.stringContaining(message),
  })
})

it('a changed binary file is named', async () => {
  const path = join(root, 'cifar-10-batches-bin')
  const collection = await openCollection(path)
  await utimes(join(path, 'test_batch.bin'), new Date(), new Date(0))
  await expect(contents(collection)).rejects.toMatchObject({
    message: expect.stringContaining('test_batch.bin: was changed'),
  })
})

describeShared('CIFAR-10 as JPEG files', () => {
  it('lists and streams 10,000 images of a tar.gz in constant memory', async () => {
    const collection = await openCollection(sharedPath('data/cifar10-test.tar.gz'))
    expect([collection.files.length, collection.classes.length]).toEqual([10_000, 10])
    const before = process.memoryUsage.rss()
    let bytes = 0
    let most = 0
    let jpegs = 0
    for await (const { content } of collection.read()) {
      if (!('bytes' in content)) throw new Error('expected bytes')
      jpegs += Number(content.bytes[0] === 0xff && content.bytes[1] === 0xd8)
      bytes += content.bytes.length
      most = Math.max(most, process.memoryUsage.rss())
    }
    expect([jpegs, bytes]).toEqual([10_000, 9_209_662])
    expect(most - before).toBeLessThan(64 * 1024 * 1024)
  })
})
