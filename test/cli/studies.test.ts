import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { chromium } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { CHROMIUM_FLAGS, findChromium } from '../../scripts/adapters.mjs'
import { makeProgram } from '../../src/cli/program.ts'
import { dataSpec } from '../../src/cli/studies/data.ts'
import { snapshotSteps } from '../../src/cli/studies/logits.ts'
import { publishedName } from '../../src/cli/studies/paper.ts'
import { sampleOf } from '../../src/cli/studies/sample.ts'
import { agreementLimit, correlation, spread } from '../../src/cli/studies/scores.ts'
import { consecutive } from '../../src/cli/studies/session.ts'
import { CellStore, type Cell } from '../../src/cli/studies/store.ts'
import { runsCsv, summarizeRow } from '../../src/cli/studies/tables.ts'
import { writeFeatures } from '../support/featureFile.node.ts'
import { randomArray } from '../support/random.ts'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'keeplight-studies-'))
})
afterAll(() => rm(folder, { recursive: true }))

describe('--data', () => {
  it.each([
    ['A=x/y', { name: 'A', path: 'x/y' }],
    ['x/some set', { name: 'some set', path: 'x/some set' }],
    [
      'CIFAR-20=a,b,test=c,d,labels=coarse',
      { name: 'CIFAR-20', path: 'a,b', test: 'c,d', labels: 'coarse' },
    ],
    ['./a=b', { name: 'a=b', path: './a=b' }],
  ])('%s', (text, expected) => {
    expect(dataSpec(text)).toEqual([expected])
  })

  it.each([
    ['A=', 'NAME=PATH'],
    ['A=x,test=', 'NAME=PATH'],
    ['A=x,labels=some', 'fine or coarse'],
    ['B=y', 'two data sets named B'],
  ])('refuses %s', (text, message) => {
    expect(() => dataSpec(text, [{ name: 'B', path: 'x' }])).toThrow(message)
  })
})

const scores = (accuracy: number): Cell['runs'][number]['scores'] => ({ accuracy, nmi: 1, ari: 2 })
const cell: Cell = {
  ...{ dataset: 'a "b"', row: 'SCP', seed: 3, kept: 1, seconds: 2 },
  runs: [
    { seed: 6, scores: scores(70), inertia: 0.9 },
    { seed: 7, scores: scores(60), inertia: 0.8 },
  ],
}

describe('the figures of a row', () => {
  it('are those of kept runs, of all runs, and of the best by labels', () => {
    const other = {
      ...cell,
      seed: 4,
      runs: [{ seed: 8, scores: scores(50), inertia: 0.7 }],
      kept: 0,
    }
    const { kept, single, best, correlation: r } = summarizeRow([cell, other])
    expect(kept.accuracy.mean).toBe(55)
    expect(kept.accuracy.deviation).toBeCloseTo(Math.sqrt(50), 10)
    expect(single.accuracy).toMatchObject({ mean: 60, deviation: 10, runs: 3 })
    expect(best.seed).toBe(6)
    expect(r).toBeCloseTo(1, 10)
  })

  it('are written with every run', () => {
    expect(runsCsv([cell])).toBe(
      'dataset,row,seed,run,kept,acc,nmi,ari,inertia\n' +
        '"a ""b""",SCP,3,6,0,70.000,1.000,2.000,0.900000\n' +
        '"a ""b""",SCP,3,7,1,60.000,1.000,2.000,0.800000\n',
    )
  })

  it('agree within twice the standard error of the difference', () => {
    expect(agreementLimit(spread(50, 3, 12), spread(52, 4, 12))).toBeCloseTo(
      (2 * 5) / Math.sqrt(12),
    )
    expect(correlation([1, 2, 3], [6, 4, 2])).toBeCloseTo(-1)
    expect(correlation([1, 2], [3, 3])).toBeNaN()
  })
})

it('groups seeds, snapshots and samples', () => {
  expect(consecutive([0, 1, 2, 5, 6], 2)).toEqual([[0, 1], [2], [5, 6]])
  expect(snapshotSteps(100, 6)).toEqual([0, 4, 16, 36, 64, 100])
  expect(snapshotSteps(2, 5)).toEqual([0, 1, 2])
  expect(sampleOf({ scoredLabels: Int32Array.of(1, 0, 1, 0, 0), k: 2 }, 4)).toEqual([1, 3, 0, 2])
  expect(['ImageNet-Dogs', 'dogs', 'CIFAR 20'].map(publishedName)).toEqual([
    ...['imagenetdogs', 'imagenetdogs', 'cifar20'],
  ])
})

it.each([
  ['no JSON', '{', 'is not JSON'],
  ['another file', '{"format":"x"}', 'its format is x'],
  ['no cells', '{"format":"s"}', 'has no cells'],
  ['a damaged cell', '{"format":"s","cells":{"k":{"runs":[],"kept":0}}}', 'cell k is damaged'],
])('a store of %s is refused', async (_, text, message) => {
  const path = join(folder, 'store.json')
  await writeFile(path, text)
  await expect(CellStore.open(path, 's')).rejects.toThrow(message)
})

describe('the commands', () => {
  const run = async (...args: string[]): Promise<void> => {
    const program = makeProgram(new AbortController().signal, () => {})
    const training = [
      '--epochs',
      '1',
      '--min-steps',
      '4',
      '--batch',
      '16',
      '--seeds',
      '2',
      '--quiet',
    ]
    await program.parseAsync([...args, ...training], { from: 'user' })
  }
  const at = (name: string): string => join(folder, 'out', name)
  let data: string

  beforeAll(async () => {
    data = join(folder, 'made.safetensors')
    const [count, dimension] = [48, 8]
    const labels = Int32Array.from({ length: count }, (_, i) => i % 3)
    const features = randomArray(count * dimension, 1, 0.3)
    labels.forEach((label, i) => (features[i * dimension + label]! += 2))
    const files = Array.from(labels, (_, i) => `${i}.jpg`)
    const collection = { files, labels, classes: ['a', 'b', '<c>'] }
    await writeFeatures(data, { collection, data: features, dimension })
  })

  it('bench-paper computes each cell once, and shows the published figures', async () => {
    const args = ['bench-paper', '--data', `CIFAR-10=${data}`, '--out', join(folder, 'out')]
    await run(...args, '--methods', 'kmeans,scp', '--restarts', '2')
    const cells = async (): Promise<Record<string, Cell>> =>
      (
        JSON.parse(await readFile(at('bench-paper.json'), 'utf8')) as {
          cells: Record<string, Cell>
        }
      ).cells
    const first = await cells()
    expect(Object.values(first).map(({ runs }) => runs.length)).toEqual([1, 1, 2, 2])
    expect(Object.values(first)[0].runs[0].scores.accuracy).toBe(100)
    await run(...args, '--methods', 'kmeans,scp,scp-paper', '--restarts', '2')
    const second = await cells()
    expect(Object.keys(second)).toHaveLength(6)
    // Their seconds, too: nothing was computed again.
    expect(second).toMatchObject(first)
    const page = await readFile(at('bench-paper.html'), 'utf8')
    expect(page).toContain('best of 50 runs, chosen by labels')
    expect(page).toContain('93.2')
    expect(page).not.toMatch(/NaN|undefined/)
  })

  it('study makes pages that Chromium shows whole, wide and narrow, and a film that can be moved', async () => {
    const args = ['--data', `CIFAR-10=${data}`, '--out', join(folder, 'out')]
    await run('study', 'ablation', ...args)
    await run('study', 'alpha', ...args, '--alphas', '1,5')
    await run('study', 'logits', ...args, '--snapshots', '3', '--images', '6')
    await run('study', 'tsne', ...args, '--images', '12')
    const csv = await readFile(at('logits.csv'), 'utf8')
    expect(csv.trim().split('\n')).toHaveLength(1 + 3 * 6 * 3)
    const browser = await chromium.launch({
      executablePath: findChromium(),
      args: [...CHROMIUM_FLAGS],
    })
    try {
      const page = await browser.newPage()
      const problems: string[] = []
      page.on('console', (message) => problems.push(message.text()))
      page.on('pageerror', (error) => problems.push(error.message))
      for (const name of ['bench-paper', 'ablation', 'alpha', 'tsne', 'logits']) {
        await page.goto(pathToFileURL(at(`${name}.html`)).href)
        for (const width of [1200, 360]) {
          await page.setViewportSize({ width, height: 800 })
          const wide = await page.evaluate(() => document.documentElement.scrollWidth)
          expect(wide, name).toBeLessThanOrEqual(width)
        }
        expect(await page.locator('svg.plot').count()).toBeGreaterThan(0)
      }
      const shown = (): Promise<string[]> =>
        page
          .locator('.film g[visibility]')
          .evaluateAll((frames) =>
            frames
              .filter((frame) => getComputedStyle(frame).visibility === 'visible')
              .map((frame) => frame.querySelector('text')!.textContent),
          )
      for (const [frame, caption] of [
        ['0', /^step 0,/],
        ['2', /^step 4,/],
      ] as const) {
        await page.locator('.film input').fill(frame)
        expect(await shown()).toEqual([expect.stringMatching(caption)])
      }
      expect(await page.locator('.film button').textContent()).toBe('Play')
      await page.goto(pathToFileURL(at('logits.svg')).href)
      expect(await page.evaluate(() => document.documentElement.tagName)).toBe('svg')
      expect(problems).toEqual([])
    } finally {
      await browser.close()
    }
  })
})
