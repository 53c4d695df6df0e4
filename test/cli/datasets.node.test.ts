import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import sharp from 'sharp'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { drawScene, sceneKinds } from '../../src/data/scenes.ts'
import { parseSafetensors } from '../../src/model/safetensors.ts'
import { concat, makeTar, makeZip } from '../support/archives.ts'
import { drawFolder } from './drawFolder.ts'
import { type Finished, ensureBuilt, startCli } from './runCli.ts'

/** Collections that are no folders, from the command line to the report. */

let folder: string
let cache: string
beforeAll(async () => {
  ensureBuilt()
  folder = await mkdtemp(join(tmpdir(), 'keeplight-datasets-'))
  cache = join(folder, 'cache')
  const pictures = join(folder, 'photos')
  const drawn = await drawFolder(pictures, 3, 4)
  const items = await Promise.all(
    drawn.map(async (path) => ({
      name: `photos/${path}`,
      content: new Uint8Array(await readFile(join(pictures, path))),
    })),
  )
  await writeFile(join(folder, 'photos.tar.gz'), gzipSync(makeTar(items)))
  await writeFile(join(folder, 'photos.zip'), makeZip(items))
  await makeCifar100(join(folder, 'cifar-100-binary'))
})
afterAll(() => rm(folder, { recursive: true }))

/** Four scenes of each of three kinds as CIFAR-100 stores pictures; the kind is the coarse label. */
async function makeCifar100(path: string): Promise<void> {
  const records: Uint8Array[] = []
  for (let i = 0; i < 12; i++) {
    const { width, height, data } = drawScene(sceneKinds[i % 3], i)
    const small = sharp(data, { raw: { width, height, channels: 3 } }).resize(32, 32, {
      fit: 'fill',
    })
    const pixels = await small.raw().toBuffer()
    const planes = Uint8Array.from({ length: 3072 }, (_, at) => {
      return pixels[(at % 1024) * 3 + Math.floor(at / 1024)]
    })
    records.push(Uint8Array.from([i % 3, i]), planes)
  }
  const names = (count: number) => Array.from({ length: count }, (_, i) => `class ${i}\n`).join('')
  await mkdir(path)
  await writeFile(join(path, 'test.bin'), concat(...records))
  await writeFile(join(path, 'fine_label_names.txt'), names(100))
  await writeFile(join(path, 'coarse_label_names.txt'), names(20))
}

const run = (...args: string[]): Promise<Finished> => startCli(cache, args).finished
const cluster = (data: string, out: string, ...more: string[]): Promise<Finished> => {
  const small = '--views 1 --restarts 1 --epochs 1 --min-steps 20 --pairs 3 --no-cloud'.split(' ')
  return run(
    'cluster',
    join(folder, data),
    '-k',
    '3',
    '--out',
    join(folder, out),
    ...small,
    ...more,
  )
}

interface Metrics {
  readonly kind: string
  readonly images: { used: number; reused: number; embedded: number }
  readonly scores: readonly { accuracy?: number }[]
  readonly classes: readonly string[]
}
const metricsOf = async (out: string): Promise<Metrics> =>
  JSON.parse(await readFile(join(folder, out, 'metrics.json'), 'utf8')) as Metrics

it('clusters a tar.gz, and knows its images again in a zip', async () => {
  const first = await cluster('photos.tar.gz', 'first')
  expect([first.code, first.errors]).toEqual([0, []])
  expect(first.stderr).toMatch(/photos\.tar\.gz: 12 images in 3 classes\n/)
  const metrics = await metricsOf('first')
  expect(metrics).toMatchObject({ kind: 'tar.gz', images: { used: 12, embedded: 12 } })
  expect(metrics.scores[0].accuracy).toBeGreaterThan(0.3)
  const report = await readFile(join(folder, 'first/report.html'), 'utf8')
  expect(report.match(/<img src="data:image\/webp;base64,/g)?.length).toBeGreaterThanOrEqual(12)
  expect(report).not.toContain('href="../photos')

  const second = await cluster('photos.zip', 'second')
  expect([second.code, second.errors]).toEqual([0, []])
  expect((await metricsOf('second')).images).toMatchObject({ used: 12, reused: 12, embedded: 0 })
  const rows = (out: string) => readFile(join(folder, out, 'assignments.csv'), 'utf8')
  expect(await rows('second')).toBe(await rows('first'))
})

it('clusters and embeds CIFAR-100 by its coarse labels', async () => {
  const { code, errors } = await cluster('cifar-100-binary', 'cifar', '--labels', 'coarse')
  expect([code, errors]).toEqual([0, []])
  const metrics = await metricsOf('cifar')
  expect(metrics).toMatchObject({ kind: 'cifar-100', images: { used: 12 } })
  expect(metrics.classes).toHaveLength(20)

  const out = join(folder, 'cifar.safetensors')
  const embedded = await run('embed', join(folder, 'cifar-100-binary'), '--out', out)
  expect([embedded.code, embedded.errors]).toEqual([0, []])
  const file = parseSafetensors(await readFile(out))
  expect(file.tensors.get('features')?.shape).toEqual([12, 192])
  expect([...file.int32('labels')]).toEqual(Array.from({ length: 12 }, (_, i) => i))
  expect([...file.int32('coarse_labels')]).toEqual(Array.from({ length: 12 }, (_, i) => i % 3))
})

it('refuses a collection with one line', async () => {
  await writeFile(join(folder, 'bad.tar'), makeTar([{ name: '../x.png', content: 'x' }]))
  const { code, errors } = await cluster('bad.tar', 'bad')
  expect(code).toBe(3)
  expect(errors).toEqual([
    expect.stringMatching(/^keeplight: \S+bad\.tar: the entry "\.\.\/x\.png" leads/),
  ])
})
