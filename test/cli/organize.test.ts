import {
  lstat,
  mkdir,
  mkdtemp,
  readFile,
  readdir,
  readlink,
  realpath,
  rm,
  writeFile,
} from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  checkOrganizable,
  organize,
  planOrganization,
  type OrganizeMode,
} from '../../src/cli/organizeFiles.ts'
import { makeProgram } from '../../src/cli/program.ts'
import { Terminal } from '../../src/cli/terminal.ts'
import { openCollection } from '../../src/data/openCollection.node.ts'
import { parseCsv } from '../../src/data/pathList.ts'
import { assignmentsCsv } from '../../src/train/assignments.ts'
import { makeTar } from '../support/archives.ts'

const terminal = new Terminal({ quiet: true, json: false })
const paths = ['a/x.jpg', 'b/X.jpg', 'b/y.jpg', 'c/x.jpg', 'z é.jpg']
const clusters = [0, 0, 1, 2, 0]
const images = paths.map((path, i) => ({ path, cluster: clusters[i] }))

let folder: string
let photos: string
let out: string

beforeEach(async () => {
  folder = await mkdtemp(join(await realpath(tmpdir()), 'keeplight-organize-'))
  photos = join(folder, 'photos')
  out = join(folder, 'results')
  await mkdir(out)
  for (const path of paths) {
    await mkdir(join(photos, path, '..'), { recursive: true })
    await writeFile(join(photos, path), `content of ${path}`)
  }
})
afterEach(() => rm(folder, { recursive: true }))

async function run(data: string, mode: OrganizeMode, some = images): Promise<void> {
  const collection = await openCollection(data)
  await checkOrganizable(collection, out, mode)
  await organize(collection, planOrganization(collection, some, out, mode), { terminal })
}

const listed = async (): Promise<string[]> => {
  const all = await readdir(join(out, 'clusters'), { recursive: true, withFileTypes: true })
  return all
    .filter((entry) => !entry.isDirectory() && !entry.name.startsWith('.'))
    .map((entry) => `${entry.parentPath.split('/').at(-1)}/${entry.name}`)
    .sort()
}
const expected = ['0/a__x.jpg', '0/b__X.jpg', '0/z é.jpg', '1/y.jpg', '2/x.jpg']

describe('organize', () => {
  it('links by relative paths, tells equal names apart, and replaces its own folder whole', async () => {
    await run(photos, 'link')
    expect(await listed()).toEqual(expected)
    const link = join(out, 'clusters/0/a__x.jpg')
    expect(await readlink(link)).toBe('../../../photos/a/x.jpg')
    expect(await readFile(link, 'utf8')).toBe('content of a/x.jpg')
    await run(photos, 'copy', images.slice(0, 1))
    expect(await listed()).toEqual(['0/x.jpg'])
    expect((await lstat(join(out, 'clusters/0/x.jpg'))).isFile()).toBe(true)
    expect(await readdir(out)).toEqual(['clusters'])
    // The linked images are where they were.
    for (const path of paths) {
      expect(await readFile(join(photos, path), 'utf8')).toBe(`content of ${path}`)
    }
  })

  it('extracts an archive’s images as copies, and refuses links to them', async () => {
    const tar = join(folder, 'photos.tar')
    const items = paths.map((name) => ({ name, content: Buffer.from(`content of ${name}`) }))
    await writeFile(tar, makeTar(items))
    await expect(run(tar, 'link')).rejects.toMatchObject({
      code: 'usage',
      message: expect.stringMatching(
        /are no files of their own.*Take copy, which extracts them\.$/,
      ),
    })
    await run(tar, 'copy')
    expect(await listed()).toEqual(expected)
    expect(await readFile(join(out, 'clusters/1/y.jpg'), 'utf8')).toBe('content of b/y.jpg')
  })

  it('touches no folder that is not its own, and none among the images', async () => {
    await mkdir(join(out, 'clusters'))
    await writeFile(join(out, 'clusters/mine.txt'), 'mine')
    await expect(run(photos, 'link')).rejects.toThrow(/was not made by Keeplight/)
    expect(await readdir(join(out, 'clusters'))).toEqual(['mine.txt'])
    await rm(join(out, 'clusters'), { recursive: true })
    out = join(photos, 'results')
    await expect(run(photos, 'copy')).rejects.toThrow(/lies among the images/)
  })

  it('leaves nothing behind when an image is gone', async () => {
    await run(photos, 'link', images.slice(0, 2))
    const before = await listed()
    const collection = await openCollection(photos)
    const plan = planOrganization(collection, images, out, 'copy')
    await rm(join(photos, 'b/y.jpg'))
    await expect(organize(collection, plan, { terminal })).rejects.toThrow(/y\.jpg: no such file/)
    expect(await listed()).toEqual(before)
    expect(await readdir(out)).toEqual(['clusters'])
    const fresh = await openCollection(photos)
    expect(() => planOrganization(fresh, images, out, 'link')).toThrow(
      /has no image "b\/y\.jpg" any more/,
    )
  })

  it('gives names that are unique, short and the same each time, whatever files are called', async () => {
    const long = `${'é'.repeat(120)}.jpg`
    const names = [
      'a/x__y.jpg',
      'a__x/y.jpg',
      'a/x/y.jpg',
      'b/y.jpg',
      'a:b?.jpg',
      'c/a_b_.jpg',
      long,
    ]
    const files = [...names].sort()
    const collection = { ...(await openCollection(photos)), files }
    const plan = planOrganization(
      collection,
      files.map((path) => ({ path, cluster: 3 })),
      out,
      'copy',
    )
    const given = plan.entries.map(({ name }) => name)
    expect(new Set(given.map((name) => name.toLowerCase())).size).toBe(names.length)
    for (const name of given) {
      expect(name).toMatch(/^3\/[^/<>:"\\|?*]+\.jpg$/)
      expect(Buffer.byteLength(name)).toBeLessThan(210)
    }
    expect(given).toContain('3/a__x__y (2).jpg')
  })
})

describe('keeplight organize', () => {
  const keeplight = (...args: string[]) =>
    makeProgram(new AbortController().signal, () => {}).parseAsync([...args, '--quiet'], {
      from: 'user',
    })

  it('takes an edited assignments.csv, and does nothing with --dry-run', async () => {
    const strange = ['=1+1.jpg', 'a "b", c.jpg']
    for (const name of strange) await writeFile(join(photos, name), name)
    const rows = [...images, ...strange.map((path) => ({ path, cluster: 7 }))].map((image) => ({
      ...{ ...image, probability: 0.9, runnerUp: 1, runnerUpProbability: 0.1 },
    }))
    const csv = assignmentsCsv(rows)
    await writeFile(join(out, 'metrics.json'), JSON.stringify({ data: photos, dataOptions: {} }))
    await writeFile(join(out, 'assignments.csv'), csv.replace('b/y.jpg,1', 'b/y.jpg,5'))
    await keeplight('organize', out, '--dry-run')
    expect(await readdir(out)).toEqual(['assignments.csv', 'metrics.json'])
    await keeplight('organize', out)
    expect(await listed()).toEqual(
      [
        ...expected.filter((name) => name !== '1/y.jpg'),
        '5/y.jpg',
        '7/=1+1.jpg',
        '7/a _b_, c.jpg',
      ].sort(),
    )
    await writeFile(join(out, 'assignments.csv'), 'path,cluster\na/x.jpg,../..\n')
    await expect(keeplight('organize', out)).rejects.toThrow(
      /row 2: the cluster is "\.\.\/\.\.", expected a number/,
    )
    await rm(join(out, 'metrics.json'))
    await expect(keeplight('organize', out)).rejects.toThrow(/has no metrics\.json/)
  })
})

it.each([
  [
    'a,b\n1,2\n',
    [
      ['a', 'b'],
      ['1', '2'],
    ],
  ],
  [
    '\ufeffa,"b ""c"", d"\r\n"x\ny",\r\n\r\nlast,"q"',
    [
      ['a', 'b "c", d'],
      ['x\ny', ''],
      ['last', 'q'],
    ],
  ],
  ['', []],
])('parseCsv(%j)', (text, rows) => {
  expect(parseCsv(text)).toEqual(rows)
  expect(() => parseCsv(`${text}a,"b"c\n`)).toThrow(/a quote is out of place/)
})
