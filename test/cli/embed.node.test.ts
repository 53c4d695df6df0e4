import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { mkdtemp, readFile, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { resolveShard, shardPath } from '../../src/cli/shard.ts'
import { createDevice, embedImages, loadModel, parseSafetensors } from '../../src/index.node.ts'
import { decodePixels } from '../../src/data/decodeImage.node.ts'
import { errorOf } from '../support/errorOf.ts'
import { drawFolder } from './drawFolder.ts'
import { type Finished, ensureBuilt, startCli } from './runCli.ts'

/** `keeplight embed` and `keeplight merge` as a user runs them, and as a machine that fails runs them. */

let folder: string
let pictures: string
let drawn: readonly string[]
const chunks = ['--chunk', '8', '--batch', '8']

beforeAll(async () => {
  ensureBuilt()
  folder = await mkdtemp(join(tmpdir(), 'keeplight-embed-cli-'))
  pictures = join(folder, 'pictures')
  drawn = await drawFolder(pictures, 8, 10)
})
afterAll(() => rm(folder, { recursive: true }))

const start = (...args: string[]) => startCli(join(folder, 'cache'), args)
const run = (...args: string[]): Promise<Finished> => start(...args).finished
const out = (name: string): string => join(folder, `${name}.safetensors`)
const hashOf = (path: string): string =>
  createHash('sha256').update(readFileSync(path)).digest('hex')

/** The file of an undisturbed run, which the others have to equal. */
let whole: Promise<Finished> | undefined
const undisturbed = async (): Promise<string> => {
  whole ??= run('embed', pictures, '--out', out('whole'), '--json', ...chunks)
  expect((await whole).errors).toEqual([])
  return hashOf(out('whole'))
}

describe('keeplight embed', () => {
  it('writes the features that the library computes, and says what it did', async () => {
    await undisturbed()
    const { code, stdout, stderr } = await whole!
    expect(code).toBe(0)
    expect(stderr).toMatch(/embedding: 80\/80 images, [\d.]+\/s/)
    expect(JSON.parse(stdout)).toMatchObject({
      ...{ model: 'keeplight-tiny', dimension: 192, store: 'f32', shard: { index: 0, count: 1 } },
      ...{ images: 80, rows: 80, failed: 0, reused: 0 },
    })
    const lines = (await readFile(join(folder, 'whole.jsonl'), 'utf8')).trimEnd().split('\n')
    expect(lines.map((line) => (JSON.parse(line) as { path: string }).path)).toEqual(drawn)

    const device = await createDevice({ adapter: 'lavapipe' })
    try {
      const model = await loadModel('keeplight-tiny', { device })
      const first = await decodePixels(await readFile(join(pictures, drawn[0])))
      const { clean } = await embedImages(model, [first], { views: 0 })
      const file = parseSafetensors(await readFile(out('whole')))
      const row = file.float32('features').subarray(0, 192)
      // Another batch may take another kernel, whose sums round otherwise.
      clean.forEach((value, i) => expect(Math.abs(row[i] - value)).toBeLessThan(1e-4))
    } finally {
      device.close()
    }
  })

  it('tells of a file that is there, and of wrong arguments', async () => {
    await undisturbed()
    const again = await run('embed', pictures, '--out', out('whole'), ...chunks)
    expect([again.code, again.errors]).toEqual([0, []])
    expect(again.stdout).toMatch(/^80 features are there already\n/)
    const wrong = await run('embed', pictures, '--out', join(folder, 'features.npy'))
    expect(wrong.code).toBe(2)
    expect(wrong.errors).toEqual([
      `keeplight: --out ${join(folder, 'features.npy')}: expected a file name ending in .safetensors`,
    ])
  })

  it('stops cleanly at Ctrl-C and goes on', async () => {
    const expected = await undisturbed()
    const args = ['embed', pictures, '--out', out('stopped'), ...chunks]
    const running = start(...args)
    await chunkIn(`${out('stopped')}.parts`, running.finished)
    running.child.kill('SIGINT')
    const { code, errors } = await running.finished
    expect(code).toBe(130)
    expect(errors).toEqual(['keeplight: interrupted; run it again to go on with what is cached'])
    expect(existsSync(out('stopped'))).toBe(false)
    const again = await run(...args, '--json')
    expect(again.code).toBe(0)
    expect((JSON.parse(again.stdout) as { reused: number }).reused).toBeGreaterThan(0)
    expect(hashOf(out('stopped'))).toBe(expected)
  })

  it('gives the same bits after any number of kills at random moments', async () => {
    const expected = await undisturbed()
    const kills = import.meta.env.VITE_KEEPLIGHT_FULL ? 30 : 3
    let state = 1
    const random = (): number => (state = (state * 48_271) % 0x7fffffff) / 0x7fffffff
    let done = 0
    for (let round = 0; done < kills; round++) {
      const target = out(`killed-${round}`)
      for (;;) {
        const running = start('embed', pictures, '--out', target, '--quiet', ...chunks)
        const timer = setTimeout(() => running.child.kill('SIGKILL'), 300 + 4_000 * random() ** 2)
        const { code, signal, errors } = await running.finished
        clearTimeout(timer)
        if (signal === 'SIGKILL') done++
        else expect([code, errors]).toEqual([0, []])
        if (code === 0) break
      }
      expect(hashOf(target)).toBe(expected)
      expect(hashOf(target.replace('.safetensors', '.jsonl'))).toBe(
        hashOf(join(folder, 'whole.jsonl')),
      )
      expect(existsSync(`${target}.parts`)).toBe(false)
    }
  }, 600_000)
})

/** Waits for the first finished chunk; fails when the process ends before. */
async function chunkIn(parts: string, finished: Promise<Finished>): Promise<void> {
  let ended: Finished | undefined
  void finished.then((result) => (ended = result))
  for (;;) {
    const names = await readdir(parts).catch(() => [])
    if (names.some((name) => name.startsWith('chunk'))) return
    if (ended) throw new Error(`it ended before its first chunk: ${ended.stderr}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

describe('the number of a shard', () => {
  it('is given, or comes from the array job', () => {
    expect(resolveShard(undefined, undefined, {})).toEqual({ index: 0, count: 1 })
    expect(resolveShard('3/16', undefined, {})).toEqual({ index: 3, count: 16 })
    for (const name of [
      'SLURM_ARRAY_TASK_ID',
      'JOB_COMPLETION_INDEX',
      'AWS_BATCH_JOB_ARRAY_INDEX',
    ]) {
      expect(resolveShard(undefined, 4, { [name]: '2' })).toEqual({ index: 2, count: 4 })
    }
    expect(shardPath('a/b.safetensors', { index: 3, count: 16 })).toBe(
      'a/b.shard-03-of-16.safetensors',
    )
    expect(shardPath('b.safetensors', { index: 0, count: 1 })).toBe('b.safetensors')
  })

  it.each([
    ['4/4', undefined, {}, /--shard 4\/4: expected I\/N with I from 0 to N − 1/],
    ['1', undefined, {}, /--shard 1: expected I\/N/],
    ['0/2', 2, {}, /either --shard I\/N or --shards N/],
    [undefined, 4, {}, /none of them is set\. Outside an array job give --shard I\/4/],
    [undefined, 4, { SLURM_ARRAY_TASK_ID: '4' }, /SLURM_ARRAY_TASK_ID is 4.*--array=0-3/],
    [undefined, 4, { JOB_COMPLETION_INDEX: 'x' }, /JOB_COMPLETION_INDEX is x/],
  ])('is refused: %s %s %o', (shard, shards, env, message) => {
    const error = errorOf(() => resolveShard(shard, shards, env))
    expect(error.code).toBe('usage')
    expect(error.message).toMatch(message)
  })
})
