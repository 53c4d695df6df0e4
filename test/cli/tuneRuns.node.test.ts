import { mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { version } from '../../package.json'
import { createDevice, fileTuneStore, saveTuning } from '../../src/index.node.ts'
import { drawFolder } from './drawFolder.ts'
import { type Finished, ensureBuilt, startCli } from './runCli.ts'

/** `keeplight tune` as a user runs it, then `cluster` with what it saved: processes of their own. */

let folder: string
let cache: string

beforeAll(async () => {
  ensureBuilt()
  folder = await mkdtemp(join(tmpdir(), 'keeplight-tune-'))
  cache = join(folder, 'cache')
  await drawFolder(join(folder, 'pictures'), 4, 5)
})
afterAll(() => rm(folder, { recursive: true }))

const run = (args: readonly string[], variables = {}): Promise<Finished> =>
  startCli(cache, args, variables).finished

interface Clustered {
  /** Rows of assignments.csv: path, cluster, probability, and those of the runner-up. */
  readonly rows: readonly (readonly string[])[]
  readonly tuned: unknown
  readonly finished: Finished
}

/** Embeds and clusters the pictures anew. */
async function cluster(name: string, variables = {}): Promise<Clustered> {
  const out = join(folder, name)
  const small =
    '--views 1 --restarts 1 --epochs 1 --min-steps 20 --pairs 3 --no-cache --no-cloud'.split(' ')
  const args = ['cluster', join(folder, 'pictures'), '-k', '4', '--out', out, ...small]
  const finished = await run(args, variables)
  expect(finished.code, finished.stderr).toBe(0)
  const table = await readFile(join(out, 'assignments.csv'), 'utf8')
  const metrics = JSON.parse(await readFile(join(out, 'metrics.json'), 'utf8')) as {
    settings: { tuned: unknown }
  }
  const rows = table
    .trimEnd()
    .split('\n')
    .slice(1)
    .map((line) => line.split(','))
  return { rows, tuned: metrics.settings.tuned, finished }
}

it('saves what it found; a run takes that over, and passes over what is damaged', async () => {
  const store = fileTuneStore(cache)
  const device = await createDevice({ adapter: 'lavapipe' })
  const before = { family: 'matmul', key: 'unmet', rule: 'tile64', best: 'tile32' }
  await saveTuning(device, [{ ...before, ruleSeconds: 2, bestSeconds: 1, discarded: [] }], store)
  device.close()

  const tuned = await run(['tune', '--only', 'attention', '--json'])
  expect([tuned.code, tuned.errors]).toEqual([0, []])
  const { adapter, problems } = JSON.parse(tuned.stdout) as {
    adapter: string
    problems: { family: string; key: string; rule: string; best: string; bestSeconds: number }[]
  }
  expect(adapter).toMatch(/^llvmpipe/)
  expect(problems.map(({ family, rule }) => [family, rule])).toEqual([['attention', 'subgroup8']])
  const [problem] = problems
  expect(problem!.bestSeconds).toBeGreaterThan(0)

  const place = join(cache, 'tune', version)
  const [name, ...others] = await readdir(place)
  expect(others).toEqual([])
  const path = join(place, name!)
  const saved = JSON.parse(await readFile(path, 'utf8')) as { choices: string[][] }
  const kept = ['matmul', 'unmet', 'tile32']
  const found = problem!.best === problem!.rule ? [] : [['attention', problem!.key, problem!.best]]
  expect(saved.choices).toEqual([kept, ...found])

  // As if the other kernel had come out faster, which the machine decides.
  const other = ['attention', problem!.key, 'tile']
  await writeFile(path, JSON.stringify({ ...saved, choices: [other] }))
  const plain = await cluster('plain', { KEEPLIGHT_TUNE: 'off' })
  expect([plain.tuned, plain.finished.errors]).toEqual([undefined, []])
  const tiled = await cluster('tiled')
  expect(tiled.tuned).toEqual({ [`attention/${problem!.key}`]: 'tile' })
  expect(tiled.finished.stderr).toContain('1 tuned kernel choices')
  const numbers = ({ rows }: Clustered): number[] => rows.map((row) => Number(row[2]))
  expect(numbers(tiled)).not.toEqual(numbers(plain))
  expect(tiled.rows.map((row) => row.slice(0, 2))).toEqual(plain.rows.map((row) => row.slice(0, 2)))
  numbers(plain).forEach((value, i) => expect(numbers(tiled)[i]).toBeCloseTo(value, 3))

  await writeFile(path, JSON.stringify({ ...saved, choices: [other] }).slice(0, -3))
  const damaged = await cluster('damaged')
  expect(damaged.finished.errors).toEqual([
    'keeplight: what keeplight tune saved for this adapter is passed over: it is no JSON; run keeplight tune again',
  ])
  expect(damaged.tuned).toBeUndefined()
  expect(damaged.rows).toEqual(plain.rows)
})

it('refuses a kind of kernel that it does not know', async () => {
  const { code, errors } = await run(['tune', '--only', 'softmax'])
  expect(code).toBe(2)
  expect(errors).toEqual([expect.stringMatching(/--only .*matmul, attention/)])
})
