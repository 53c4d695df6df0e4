import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import type { Comparison } from '../../src/cli/eval.ts'
import { countOrAuto, numbersFrom } from '../../src/cli/options.ts'
import { makeProgram } from '../../src/cli/program.ts'
import { csvText, parseCsv, plainPath, safePath } from '../../src/data/csv.ts'
import { normalizeRows, parseSafetensors } from '../../src/index.node.ts'
import { errorOf } from '../support/errorOf.ts'
import { blobs } from '../support/clusterSets.ts'
import { writeFeatures } from '../support/featureFile.node.ts'
import { describeGolden, readGoldenJson } from '../support/golden.ts'
import { rejectionOf } from '../support/rejectionOf.ts'

let folder: string
const at = (name: string): string => join(folder, name)

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'keeplight-eval-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

/** Runs a command in this process; what it printed. */
async function run(...args: readonly string[]): Promise<string> {
  let printed = ''
  const spy = vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    printed += String(text)
    return true
  })
  try {
    const program = makeProgram(new AbortController().signal, () => undefined)
    await program.parseAsync(['node', 'keeplight', ...args])
  } finally {
    spy.mockRestore()
  }
  return printed
}

/** What `--json` prints, as far as it is looked at. */
interface Printed {
  readonly images: unknown
  readonly clusters: unknown
  readonly labels: Comparison
  readonly other: Comparison
  readonly features: Readonly<Record<string, number>>
  readonly inertia: number
}

const json = async (...args: readonly string[]): Promise<Printed> =>
  JSON.parse(await run(...args, '--json', '--quiet')) as Printed

async function table(name: string, rows: readonly (readonly (string | number)[])[]) {
  await writeFile(at(name), csvText(rows))
  return at(name)
}

describe('CSV', () => {
  it('reads what it writes, and what others write', () => {
    const rows = [
      ['path', 'note'],
      ['a,b "c".jpg', 'two\nlines'],
      ['', ''],
      ['x', 'ends with a comma,'],
    ]
    const back = parseCsv(csvText(rows), 'x').map((row) => [...row.values()])
    expect(back).toEqual(rows.slice(1))
    const windows = parseCsv('\ufeffpath,cluster\r\na.jpg,\r\n\r\n"b.jpg",2', 'x')
    expect(windows.map((row) => [row.get('path'), row.get('cluster')])).toEqual([
      ['a.jpg', ''],
      ['b.jpg', '2'],
    ])
    expect(plainPath(safePath('=a/b.jpg'))).toBe('=a/b.jpg')
  })

  it.each([
    ['', /x: is empty/],
    ['a,b\n1\n', /row 2 has 1 fields, expected 2/],
    ['a\n"open', /line 2 has a quote out of place/],
    ['a\nb"c\n', /line 2 has a quote out of place/],
  ])('refuses %j', (text, message) => {
    const error = errorOf(() => parseCsv(text, 'x'))
    expect([error.code, error.message]).toEqual(['format', expect.stringMatching(message)])
  })
})

describe('numbers of clusters on the command line', () => {
  it('are one number or auto, and a range or a list', () => {
    expect([countOrAuto(2, 9)('auto'), countOrAuto(2, 9)('7')]).toEqual(['auto', 7])
    for (const text of ['1', '10', 'Auto', '2.5', '']) {
      expect(() => countOrAuto(2, 9)(text)).toThrow('Expected auto or a whole number from 2 to 9.')
    }
    expect(numbersFrom(2)('2..5')).toEqual([2, 3, 4, 5])
    expect(numbersFrom(2)(' 2 .. 12 : 4 ')).toEqual([2, 6, 10])
    expect(numbersFrom(2)('3,8')).toEqual([3, 8])
    for (const text of ['5..2', '1..4', '3,3', '2..9:0', '8,3', 'x', '']) {
      expect(() => numbersFrom(2)(text), text).toThrow('Expected')
    }
  })
})

describe('keeplight eval', () => {
  it('takes the labels of the file, with more clusters than classes', async () => {
    const path = await table('own.csv', [
      ['path', 'cluster', 'label'],
      ...['cat', 'cat', 'cat', 'dog', 'dog', 'dog'].map((label, i) => {
        return [`${i}.jpg`, [0, 0, 10, 2, 2, 0][i], label]
      }),
    ])
    const { images, clusters, labels } = await json('eval', path)
    expect([images, clusters]).toEqual([6, 3])
    expect(labels).toMatchObject({
      ...{ images: 6, leftOut: 0, accuracy: 4 / 6, classes: ['cat', 'dog'] },
      clusters: ['0', '2', '10'],
      confusion: [
        [2, 0, 1],
        [1, 2, 0],
      ],
      perClass: [
        { label: 'cat', images: 3, cluster: '0', recall: 2 / 3, precision: 2 / 3 },
        { label: 'dog', images: 3, cluster: '2', recall: 2 / 3, precision: 1 },
      ],
    })
    const shown = await run('eval', path)
    expect(shown).toContain('6 images in 3 clusters\nagainst 2 classes: ACC 66.7 %')
    expect(shown).toMatch(/\n {2}cat +3 +0 +66\.7 % +66\.7 %\n/)
  })

  it('takes labels from elsewhere, and another partition; leaves out what one lacks', async () => {
    const path = await table('a.csv', [
      ['path', 'cluster'],
      ['x/1', 0],
      ['x/2', 0],
      ['x/3', 1],
      ['x/4', 1],
    ])
    const truth = await table('truth.csv', [
      ['path', 'label'],
      ['./x/1', 'p'],
      ['x/2', 'q'],
      ['x/3', 'r'],
      ['y', 'r'],
    ])
    await writeFile(
      at('b.json'),
      '[{"path":"x/1","cluster":5,"runnerUp":{}},{"path":"x/3","cluster":3}]',
    )
    const { labels, other } = await json('eval', path, at('b.json'), '--labels', truth)
    expect(labels).toMatchObject({ images: 3, leftOut: 2, accuracy: 2 / 3 })
    const lost = labels.perClass.filter((row) => row.cluster === undefined)
    expect(lost).toHaveLength(1)
    expect(lost[0]).toMatchObject({ recall: 0, precision: 0 })
    expect(other).toMatchObject({ images: 2, leftOut: 2, accuracy: 1, nmi: 1, ari: 1 })
  })

  it('says what is missing', async () => {
    const fails = async (...args: string[]) => {
      const { code, message } = await rejectionOf(run('eval', ...args))
      return `${code}: ${message.replaceAll(folder, '')}`
    }
    const bare = await table('bare.csv', [
      ['path', 'cluster'],
      ['1', 0],
    ])
    expect(await fails(bare)).toMatch(/^usage: .*has no column label; give --labels/)
    expect(await fails(at('none.csv'))).toMatch(/^input: .*none.csv: ENOENT/)
    expect(
      await fails(
        bare,
        await table('c.csv', [
          ['path', 'cluster'],
          ['2', 0],
        ]),
      ),
    ).toMatch(/^input: .*names none of the labelled images \(2, …\)/)
    expect(
      await fails(
        await table('d.csv', [
          ['path', 'x'],
          ['1', 0],
        ]),
      ),
    ).toMatch(/^input: .*has the columns path, x, expected one of cluster, class/)
    expect(
      await fails(
        await table('e.csv', [
          ['path', 'cluster'],
          ['1', 0],
          ['1', 1],
        ]),
      ),
    ).toMatch(/^format: .*names 1 twice/)
    await writeFile(at('f.json'), '{"a":1}')
    expect(await fails(at('f.json'))).toMatch(/^format: .*expected a list of images/)
  })
})

describeGolden('keeplight eval', () => {
  it("gives scikit-learn's scores of every case", async () => {
    type Case = { labels: number[]; predictions: number[]; acc: number; nmi: number; ari: number }
    for (const { labels, predictions, acc, nmi, ari } of await readGoldenJson<Case[]>(
      'metrics.json',
    )) {
      const path = await table('golden.csv', [
        ['path', 'cluster', 'label'],
        ...labels.map((label, i) => [`${i}.jpg`, predictions[i], `class ${label}`]),
      ])
      const { labels: scores } = await json('eval', path)
      const found = [scores.accuracy, scores.nmi, scores.ari]
      found.forEach((value, i) => expect(Math.abs(value - [acc, nmi, ari][i])).toBeLessThan(1e-9))
    }
  })
})

describe('keeplight kmeans', () => {
  it('chooses K, fits on other images, and writes what eval scores', async () => {
    const set = blobs({ seed: 5, k: 3, count: 120, dimension: 12 }, 0.3)
    const { dimension, data, labels } = set
    const write = (name: string, count: number) =>
      writeFeatures(at(name), {
        collection: {
          files: Array.from({ length: count }, (_, i) => `${i}.jpg`),
          labels: labels.slice(0, count),
          classes: ['a', 'b', 'c'],
        },
        ...{ dimension, data },
      })
    await write('all.safetensors', 120)
    await write('few.safetensors', 50)
    const device = ['--adapter', process.env.VITE_KEEPLIGHT_ADAPTER ?? 'lavapipe']
    const out = ['--fit', at('all.safetensors'), '--out', at('km'), '--restarts', '4', ...device]
    const chosen = ['-k', 'auto', '--k-range', '2..5']
    const summary = await json('kmeans', at('few.safetensors'), ...chosen, ...out)
    expect(summary).toMatchObject({
      images: { used: 50, broken: 0 },
      settings: { k: 3, restarts: 4, raw: false, normalize: true, fit: at('all.safetensors') },
      scores: { accuracy: 1, nmi: 1, ari: 1 },
      kChoice: { k: 3, curve: [2, 3, 4, 5].map((k) => ({ k })) },
    })
    expect(JSON.parse(await readFile(at('km/metrics.json'), 'utf8'))).toEqual(summary)
    const rows = parseCsv(await readFile(at('km/assignments.csv'), 'utf8'), 'x')
    expect([...rows[0].keys()]).toEqual(['path', 'cluster', 'distance', 'label'])
    const file = parseSafetensors(new Uint8Array(await readFile(at('km/centres.safetensors'))))
    const centres = file.float32('centres')
    expect(centres).toHaveLength(3 * dimension)
    // The distance that a row names is that to its cluster's centre.
    const first = data.slice(0, dimension)
    normalizeRows(first, dimension)
    const from = Number(rows[0].get('cluster')) * dimension
    const squares = first.reduce((sum, x, d) => sum + (x - centres[from + d]) ** 2, 0)
    expect(Number(rows[0].get('distance'))).toBeCloseTo(Math.sqrt(squares), 5)

    const scored = await json(
      ...['eval', at('km/assignments.csv'), '--features', at('few.safetensors'), ...device],
    )
    expect(scored.labels.accuracy).toBe(1)
    expect(scored.features.images).toBe(50)
    expect(scored.features.silhouette).toBeGreaterThan(0.5)
    expect(scored.features.inertia).toBeCloseTo(summary.inertia, 5)
    expect(scored.features.codingLength).toBeGreaterThan(0)
  })
})
