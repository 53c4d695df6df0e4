import { createHash } from 'node:crypto'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { chromium } from 'playwright-core'
import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { CHROMIUM_FLAGS, findChromium } from '../../scripts/adapters.mjs'
import { makeProgram } from '../../src/cli/program.ts'
import { findTerm } from '../../src/cli/searchQueries.ts'
import { openCollection } from '../../src/data/openCollection.node.ts'
import { createDevice, loadModel, loadTextModel, serializeHead } from '../../src/index.node.ts'
import { writeFeatures } from '../support/featureFile.node.ts'
import { describeShared, readShared } from '../support/golden.ts'
import { randomArray } from '../support/random.ts'
import { rejectionOf } from '../support/rejectionOf.ts'
import { smallClip } from '../support/smallClip.ts'
import { TEXT_FEATURE } from '../support/smallTower.ts'
import { drawFolder } from './drawFolder.ts'
import { ensureBuilt, startCli } from './runCli.ts'

const k = 3
const dimension = TEXT_FEATURE
const weight = randomArray(k * dimension, 5, 3)
const bias = randomArray(k, 6)

let folder: string
let drawn: readonly string[]
let hash: string
const at = (name: string): string => join(folder, name)

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'keeplight-search-'))
  drawn = await drawFolder(at('pictures'), 3, 4)
  hash = createHash('sha256').update(smallClip()).digest('hex')
  await mkdir(at('run'))
  const head = new Map([
    ['0.weight', { shape: [k, dimension], data: weight }],
    ['0.bias', { shape: [k], data: bias }],
  ])
  const about = { model: 'clip', modelHash: hash, method: 'linear-probe', settings: {} }
  await writeFile(at('run/head.safetensors'), serializeHead(head, about))
})
afterAll(() => rm(folder, { recursive: true }))

/** Logits of one feature, by plain loops. */
function logitsOf(feature: Float32Array): number[] {
  const length = Math.hypot(...feature)
  return Array.from({ length: k }, (_, c) =>
    feature.reduce((sum, x, i) => sum + (x / length) * weight[c * dimension + i], bias[c]),
  )
}

function cosine(a: ArrayLike<number>, b: ArrayLike<number>): number {
  const [x, y] = [Array.from(a), Array.from(b)]
  return x.reduce((sum, value, i) => sum + value * y[i], 0) / Math.hypot(...x) / Math.hypot(...y)
}

const centred = (values: number[]): number[] =>
  values.map((value) => value - values.reduce((a, b) => a + b) / values.length)

interface Hit {
  readonly path: string
  readonly cosine: number
  readonly label: string
  readonly cluster: number
  readonly sameCluster?: boolean
}

describeShared('keeplight search', () => {
  it('finds what plain loops find for files, members and words, and shows it offline', async () => {
    ensureBuilt()
    await mkdir(at('clip'))
    await writeFile(at('clip/model.safetensors'), smallClip())
    const merges = await readShared('tokenizer/bpe_simple_vocab_16e6.txt.gz')
    await writeFile(at('clip/bpe_simple_vocab_16e6.txt.gz'), merges)
    const outside = (await drawFolder(at('outside <b>'), 5, 1)).at(-1)!
    const file = join(at('outside <b>'), outside)
    const queries = [drawn[3], file, 'a dog in the snow']
    const { code, stdout, errors } = await startCli(at('cache'), [
      ...['search', at('pictures'), ...queries, '--run', at('run'), '--model', at('clip')],
      ...['--add', 'at night', '--top', '4', '--out', at('search.html'), '--json'],
    ]).finished
    expect([code, errors]).toEqual([0, []])
    const summary = JSON.parse(stdout) as {
      queries: {
        query: string
        cluster: { id: number }
        features: { hits: Hit[]; background: { cutoff: number } }
        clusters: { hits: Hit[] }
      }[]
    }
    expect(summary.queries.map(({ query }) => query)).toEqual([
      `${drawn[3]} + “at night”`,
      `${file} + “at night”`,
      '“a dog in the snow” + “at night”',
    ])

    const device = await createDevice({ adapter: 'lavapipe' })
    const model = await loadModel(at('clip'), { device })
    const text = await loadTextModel(at('clip'), { device })
    const paths = drawn.map((path) => join(at('pictures'), path))
    const images = await model.embed([...paths, file], { normalize: true })
    const words = await text.embed(['at night', queries[2]], { normalize: true })
    device.close()
    const row = (data: Float32Array, i: number) => data.slice(i * dimension, (i + 1) * dimension)
    const bases = [row(images.data, 3), row(images.data, drawn.length), row(words.data, 1)]
    bases.forEach((base, q) => {
      const vector = base.map((value, i) => value + words.data[i])
      const { features, clusters, cluster } = summary.queries[q]
      const asked = logitsOf(vector)
      expect(cluster.id).toBe(asked.indexOf(Math.max(...asked)))
      const spaces: [Hit[], (i: number) => number][] = [
        [features.hits, (i) => cosine(row(images.data, i), vector)],
        [clusters.hits, (i) => cosine(centred(logitsOf(row(images.data, i))), centred(asked))],
      ]
      for (const [hits, cosineOf] of spaces) {
        const others = [...drawn.keys()].filter((i) => q !== 0 || i !== 3)
        const expected = others.map(cosineOf).sort((a, b) => b - a)
        hits.forEach((hit, i) => {
          expect(hit.cosine).toBeCloseTo(expected[i], 3)
          expect(hit.cosine).toBeCloseTo(cosineOf(drawn.indexOf(hit.path)), 3)
          expect(hit.label).toBe(hit.path.split('/')[0])
          expect(hit.sameCluster ?? hit.cluster === cluster.id).toBe(hit.cluster === cluster.id)
        })
        expect(hits).toHaveLength(4)
      }
    })
    await opensOffline(at('search.html'), 3 * 8 + 2)
  })
})

/** The page in Chromium: no request, no error, all pictures, nothing wider than the window. */
async function opensOffline(path: string, pictures: number): Promise<void> {
  const browser = await chromium.launch({
    executablePath: findChromium(),
    args: [...CHROMIUM_FLAGS],
  })
  try {
    const page = await browser.newPage()
    const problems: string[] = []
    page.on('console', (message) => problems.push(message.text()))
    page.on('request', (request) => problems.push(request.url()))
    await page.goto(pathToFileURL(path).href)
    const shown = await page
      .locator('img')
      .evaluateAll((all) => all.map((img) => (img as HTMLImageElement).naturalWidth))
    expect([shown.length, Math.min(...shown) > 0]).toEqual([pictures, true])
    for (const width of [1280, 360]) {
      await page.setViewportSize({ width, height: 800 })
      const wide = await page.evaluate(() => document.documentElement.scrollWidth)
      expect(wide).toBeLessThanOrEqual(width)
    }
    const background = (): Promise<string> =>
      page.evaluate(() => getComputedStyle(document.body).backgroundColor)
    const light = await background()
    await page.emulateMedia({ colorScheme: 'dark' })
    expect(await background()).not.toBe(light)
    expect(await page.locator('h2').nth(1).textContent()).toContain('outside <b>')
    expect(problems.filter((problem) => !problem.startsWith('data:'))).toEqual([
      pathToFileURL(path).href,
    ])
  } finally {
    await browser.close()
  }
}

it('tells names of images, files and words apart', async () => {
  const collection = await openCollection(at('pictures'))
  const find = (text: string) => findTerm(text, collection)
  expect(await find(drawn[2])).toMatchObject({ kind: 'member', index: 2 })
  expect(await find(join(at('pictures'), drawn[2]))).toMatchObject({ kind: 'member', index: 2 })
  expect(await find(at('run/head.safetensors'))).toMatchObject({ kind: 'image' })
  expect(await find('a dog. Or two')).toEqual({ kind: 'text', text: 'a dog. Or two' })
  const gone = await rejectionOf(find('gone.jpg'))
  expect([gone.code, gone.message]).toEqual(['input', expect.stringMatching(/^query gone\.jpg: /)])
  expect((await rejectionOf(find(' '))).code).toBe('usage')
})

const runHere = (...args: string[]): Promise<unknown> =>
  makeProgram(new AbortController().signal, () => {}).parseAsync(args, { from: 'user' })

it('predicts clusters of a file of features, with scores, as the head says', async () => {
  const data = randomArray(drawn.length * dimension, 9)
  const labels = Int32Array.from(drawn, (_, i) => Math.floor(i / 4))
  const classes = [...new Set(drawn.map((path) => path.split('/')[0]))]
  const collection = { files: drawn, labels, classes }
  const spec = { collection, data, dimension }
  await writeFeatures(at('own.safetensors'), { ...spec, model: { name: 'clip', hash } })
  await writeFeatures(at('other.safetensors'), { ...spec, model: { name: 'else', hash: 'ef56' } })

  const printed = vi.spyOn(process.stdout, 'write').mockReturnValue(true)
  await runHere(
    'predict',
    at('run'),
    at('own.safetensors'),
    '--out',
    at('new'),
    '--json',
    '--quiet',
  )
  const summary = JSON.parse(String(printed.mock.calls[0]?.[0])) as {
    clusters: { id: number; size: number }[]
    scores: { accuracy: number }
  }
  printed.mockRestore()
  const clusters = drawn.map((_, i) => {
    const logits = logitsOf(data.subarray(i * dimension, (i + 1) * dimension))
    return logits.indexOf(Math.max(...logits))
  })
  const rows = (await readFile(at('new/assignments.csv'), 'utf8')).trimEnd().split('\n')
  expect(rows.slice(1).map((line) => line.split(',').slice(0, 2))).toEqual(
    drawn.map((path, i) => [path, String(clusters[i])]),
  )
  expect(summary.clusters.map(({ size }) => size)).toEqual(
    [0, 1, 2].map((id) => clusters.filter((cluster) => cluster === id).length),
  )
  expect(summary.scores.accuracy).toBeGreaterThan(0.3)

  const other = await rejectionOf(runHere('predict', at('run'), at('other.safetensors'), '--quiet'))
  expect(other.code).toBe('input')
  expect(other.message).toContain(
    `belongs to the model clip (features of ${dimension} values, hash ${hash})`,
  )
  expect(other.message).toContain('this is else')
  const none = await rejectionOf(runHere('predict', at('cache.safetensors'), at('pictures')))
  expect(none.message).toMatch(/there is no such file\. Give the head\.safetensors of a run/)
})
