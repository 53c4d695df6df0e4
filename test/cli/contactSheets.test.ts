import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Assignment } from '../../src/train/assignments.ts'
import { makeContactSheets } from '../../src/cli/contactSheets.ts'
import { folderCollection } from '../../src/data/folder.node.ts'
import { Terminal } from '../../src/cli/terminal.ts'
import { compileWorker } from '../data/compileWorker.ts'
import { drawFolder } from './drawFolder.ts'

const terminal = new Terminal({ quiet: true, json: false })
let root: string
let drawn: readonly string[]
let workerUrl: URL
let removeWorker: () => Promise<void>

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'keeplight-sheets-'))
  drawn = await drawFolder(root, 2, 3)
  ;({ workerUrl, removeWorker } = await compileWorker())
})
afterAll(async () => {
  await rm(root, { recursive: true })
  await removeWorker()
})

const assignment = (path: string, cluster: number, probability: number): Assignment => ({
  path,
  cluster,
  probability,
  runnerUp: 1 - cluster,
  runnerUpProbability: 1 - probability,
  label: path.split('/')[0],
})

const allSheets = (assignments: Assignment[], k: number, more: string[] = []) => {
  const files = [...drawn, 'broken.png', 'gone.png']
  const folder = { root, files, labels: undefined, classes: [], ignored: 0 }
  const out = join(root, 'results/here')
  const options = { collection: folderCollection(folder), out, terminal, decoding: { workerUrl } }
  return makeContactSheets(assignments, k, options, more)
}
const sheets = async (assignments: Assignment[], k: number) =>
  (await allSheets(assignments, k)).clusters

describe('makeContactSheets', () => {
  it('orders by falling probability, with sizes, medians, links and the most frequent class', async () => {
    const [a, b, c, d, e] = drawn
    const [first, second] = await sheets(
      [assignment(a, 0, 0.5), assignment(b, 0, 0.9), assignment(d, 0, 0.7), assignment(e, 1, 1)],
      3,
    )
    expect(first).toMatchObject({ id: 0, size: 3, confidence: 0.7, omitted: 0, leastSure: [] })
    expect(first.surest.map((image) => image.assignment.path)).toEqual([b, d, a])
    expect(first.surest.map((image) => image.href)).toEqual(
      [b, d, a].map((path) => `../../${path}`),
    )
    expect(first.majority).toEqual({ label: c.split('/')[0], share: 2 / 3 })
    expect(second).toMatchObject({ size: 1, majority: { label: e.split('/')[0], share: 1 } })
    expect(first.surest[0].thumbnail).toMatchObject({ width: 149, height: 112 })
  })

  it('draws further pictures in the same pass', async () => {
    const [a, , , d] = drawn
    const { clusters, pictureOf } = await allSheets([assignment(a, 0, 0.9)], 2, [d, 'gone.png'])
    expect(pictureOf(a)).toEqual({
      href: clusters[0].surest[0].href,
      thumbnail: clusters[0].surest[0].thumbnail,
    })
    expect(pictureOf(d)).toMatchObject({ href: `../../${d}`, thumbnail: { height: 112 } })
    expect(pictureOf('gone.png').thumbnail).toBeUndefined()
  })

  it('shows empty clusters and files that are gone or broken', async () => {
    await writeFile(join(root, 'broken.png'), 'x')
    const [first, second] = await sheets(
      [assignment('broken.png', 0, 0.5), assignment('gone.png', 0, 0.4)],
      2,
    )
    expect(first.surest.map((image) => image.thumbnail)).toEqual([undefined, undefined])
    expect(second).toMatchObject({ size: 0, confidence: 0, surest: [], majority: undefined })
  })

  it('leaves out the middle of a large cluster, and keeps the least sure', async () => {
    const many = Array.from({ length: 100 }, (_, i) => assignment(drawn[i % 6], 0, 1 - i / 200))
    const [{ surest, omitted, leastSure, size }] = await sheets(many, 2)
    expect([surest.length, omitted, leastSure.length, size]).toEqual([48, 40, 12, 100])
    expect(surest[0].assignment.probability).toBe(1)
    expect(leastSure[11].assignment.probability).toBeCloseTo(1 - 99 / 200)
    // With many clusters, each shows fewer.
    const [{ surest: fewer, leastSure: last }] = await sheets(many, 200)
    expect([fewer.length, last.length]).toEqual([10, 2])
  })
})
