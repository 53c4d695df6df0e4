import {
  closeSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { modelTable } from '../../src/cli/models.ts'
import { createDevice, findManifest, loadModel } from '../../src/index.node.ts'
import { blankDino } from '../support/blankDino.node.ts'
import { HubServer } from '../support/hubServer.node.ts'
import { type Finished, ensureBuilt, type Running, startCli } from './runCli.ts'

describe('the table of models', () => {
  it('shows sizes, licences and where models are', () => {
    const row = (
      name: string,
      status?: { path: string; state: 'verified' | 'damaged' },
      partial = 0,
    ) => ({ manifest: findManifest(name)!, status, partial })
    const table = modelTable([
      row('keeplight-tiny'),
      row('clip-vit-l-14'),
      row('dino-vit-s-8', { path: '/a', state: 'verified' }),
      row('dino-vit-b-8', { path: '/b', state: 'damaged' }),
      row('dino-vit-b-16', undefined, 120_400_000),
    ])
    expect(table.split('\n')).toEqual([
      'name            feature  input     file  licence     where',
      'keeplight-tiny      192     64   7.2 MB  Apache-2.0  in the package',
      'clip-vit-l-14       768    224  1.71 GB  MIT *       not downloaded',
      'dino-vit-s-8        384    224    87 MB  Apache-2.0  /a',
      'dino-vit-b-8        768    224   343 MB  Apache-2.0  /b (damaged: download it again)',
      'dino-vit-b-16       768    224   343 MB  Apache-2.0  120 MB downloaded so far',
      expect.stringMatching(/^\* The repository on the hub declares none; MIT is/),
    ])
  })
})

/**
 * The commands against a hub on this machine. It has `dino-vit-s-16`, whose manifest has no hash, with
 * other bytes than the real one's.
 */
describe('keeplight models', () => {
  const commit = 'a7a4d16'.padEnd(40, '0')
  const file = 'model.safetensors'
  const bytes = blankDino()
  const part = 30_000_000
  let server: HubServer
  let home: string
  let path: string

  beforeAll(async () => {
    ensureBuilt()
    server = await HubServer.start()
    home = mkdtempSync(join(tmpdir(), 'keeplight-models-'))
    path = join(home, 'hub/models--facebook--dino-vits16/snapshots', commit, file)
    server.reset({ repository: 'facebook/dino-vits16', revision: 'refs/pr/1', commit, file, bytes })
  })
  afterAll(async () => {
    await server?.close()
    rmSync(home, { recursive: true, force: true })
  })

  const variables = () => ({ HF_HOME: home, HF_ENDPOINT: server.endpoint, HF_TOKEN: 'hf_x' })
  const start = (...args: string[]): Running =>
    startCli(join(home, 'keeplight'), ['models', ...args], variables())
  const run = (...args: string[]): Promise<Finished> => start(...args).finished
  const blob = (): string => {
    const folder = join(home, 'hub/models--facebook--dino-vits16/blobs')
    return join(folder, readdirSync(folder)[0]!)
  }

  it('lists the models with what is cached', async () => {
    const { code, stdout, errors } = await run('--json')
    expect([code, errors]).toEqual([0, []])
    const { cache, models } = JSON.parse(stdout) as {
      cache: string
      models: { name: string; path: string | null; size: number }[]
    }
    expect(cache).toBe(join(home, 'hub'))
    expect(models.length).toBe(12)
    const tiny = models.find(({ name }) => name === 'keeplight-tiny')!
    expect(statSync(tiny.path!).size).toBe(tiny.size)
    expect(models.filter(({ path }) => path !== null)).toEqual([tiny])
  })

  it('keeps what came before a kill or Ctrl-C, and downloads the rest', async () => {
    for (const signal of ['SIGKILL', 'SIGINT'] as const) {
      server.faults.push({ silentAfter: part })
      const silent = server.silent()
      const { child, finished } = start('download', 'dino_vits16')
      await silent
      child.kill(signal)
      const { code, errors } = await finished
      expect(code).toBe(signal === 'SIGINT' ? 130 : null)
      expect(errors.length).toBe(signal === 'SIGINT' ? 1 : 0)
    }
    expect(statSync(blob()).size).toBe(2 * part)
    expect((await run()).stdout).toMatch(/^dino-vit-s-16 .* 60 MB downloaded so far$/m)

    const { code, stdout, stderr, errors } = await run('download', 'dino_vits16', 'keeplight-tiny')
    expect([code, errors]).toEqual([0, []])
    expect(stdout).toBe(`dino-vit-s-16  ${path}\n`)
    expect(stderr).toMatch(/^download: 87\/87 MB, .*\n/)
    expect(stderr).toContain(
      'dino-vit-s-16: nobody published its SHA-256; it has the one that the hub states',
    )
    expect(stderr).toContain('keeplight-tiny comes with the package')
    expect(readFileSync(path).equals(bytes)).toBe(true)
    expect(server.begins).toEqual([0, part, 2 * part])
    expect(
      server.asked.every(
        ({ host, authorization }) => (host === 'hub') === (authorization !== undefined),
      ),
    ).toBe(true)
  })

  it('has downloaded what loadModel loads by any of its names', async () => {
    server.asked.length = 0
    const env = { ...variables(), KEEPLIGHT_CACHE: join(home, 'keeplight') }
    const device = await createDevice()
    const model = await loadModel('facebook/dino-vits16', { device, env })
    expect(model.name).toBe('dino-vit-s-16')
    expect(model.preprocess).toEqual(findManifest('dino-vit-s-16')!.preprocess)
    const features = await model.embedPixels(new Uint8Array(224 * 224 * 3).fill(99))
    expect([...features]).toEqual(Array.from({ length: 384 }, (_, i) => i))
    await model.dispose()
    device.close()
    expect(server.asked).toEqual([])
  })

  it('verifies every byte, and brings what is damaged anew', async () => {
    const sound = await run('verify', '--json')
    expect(sound.code).toBe(0)
    expect(JSON.parse(sound.stdout)).toEqual([{ name: 'dino-vit-s-16', path, state: 'verified' }])

    const handle = openSync(blob(), 'r+')
    writeSync(handle, new Uint8Array([1]), 0, 1, 50_000_000)
    closeSync(handle)
    const damaged = await run('verify')
    expect(damaged.code).toBe(4)
    expect(damaged.stdout).toBe(`dino-vit-s-16  damaged  ${path}\n`)
    expect(damaged.errors).toEqual([
      'keeplight: damaged: dino-vit-s-16; keeplight models download dino-vit-s-16 brings them anew',
    ])
    expect((await run()).stdout).toContain(`${path} (damaged: download it again)`)

    const mended = await run('download', 'dino-vit-s-16', '--json')
    expect(JSON.parse(mended.stdout)).toEqual([{ name: 'dino-vit-s-16', path, verifiedBy: 'hub' }])
    expect(readFileSync(path).equals(bytes)).toBe(true)
  })

  it('names what is near to a wrong name', async () => {
    const { code, errors } = await run('download', 'dino-vit-s16')
    expect(code).toBe(3)
    expect(errors).toEqual([expect.stringMatching(/nearest are dino-vit-s-16/)])
  })
})
