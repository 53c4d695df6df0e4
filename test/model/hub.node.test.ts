import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import {
  cachedModel,
  cacheStatus,
  downloadModel,
  downloadTokenizer,
  verifyModel,
  type DownloadOptions,
} from '../../src/model/hub.node.ts'
import { findManifest } from '../../src/model/manifest.ts'
import type { ModelManifest } from '../../src/model/manifestFormat.ts'
import { KeeplightError } from '../../src/runtime/errors.ts'
import { type HostedFile, HubServer } from '../support/hubServer.node.ts'

const root = resolve(import.meta.dirname, '../..')
const sha256Of = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

const SIZE = 400_000
const bytes = Uint8Array.from({ length: SIZE }, (_, i) => (i * 2654435761) >>> 24)
const sha256 = sha256Of(bytes)
const commit = 'b33cedfd'.padEnd(40, '0')
const manifest: ModelManifest = {
  ...findManifest('dinov2-vit-s-14')!,
  ...{ name: 'small', repository: 'org/small', revision: 'refs/pr/1', commit: null },
  ...{ size: SIZE, sizeSource: 'published', sha256 },
}
const hosted: HostedFile = {
  ...{ repository: 'org/small', revision: 'refs/pr/1', commit, file: 'model.safetensors', bytes },
}

let server: HubServer
let home: string
let env: Record<string, string>
const repository = (): string => join(home, 'hub/models--org--small')
const blob = (): string => join(repository(), 'blobs', sha256)
const incomplete = (): string => `${blob()}.keeplight.incomplete`
const snapshot = (): string => join(repository(), 'snapshots', commit, 'model.safetensors')
const lock = (): string => join(home, 'hub/.locks/models--org--small', `${sha256}.keeplight.lock`)

beforeAll(async () => {
  server = await HubServer.start()
})
afterAll(() => server.close())
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'keeplight-hub-'))
  server.reset(hosted)
  env = { HF_HOME: home, HF_ENDPOINT: server.endpoint, KEEPLIGHT_CACHE: join(home, 'keeplight') }
})
afterEach(() => {
  rmSync(home, { recursive: true, force: true })
})

const download = (options: DownloadOptions = {}, wanted = manifest): Promise<string> =>
  downloadModel(wanted, { env, retryDelay: 1, ...options })

/** What a promise is rejected with. */
async function failureOf(work: Promise<unknown>): Promise<KeeplightError> {
  const error: unknown = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  if (error instanceof KeeplightError) return error
  throw error ?? new Error('nothing was thrown')
}

/** Files of the repository's cache and locks that only an unfinished download has. */
const leftovers = (): string[] =>
  readdirSync(home, { recursive: true, encoding: 'utf8' }).filter((path) =>
    /incomplete|\.lock$|\.tmp$/.test(path),
  )

function put(path: string, content: string | Uint8Array): void {
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, content)
}

describe('a download', () => {
  it('leaves what Hugging Face’s own tools leave, and is found without network', async () => {
    const seen: number[] = []
    const path = await download({ onProgress: ({ bytes, total }) => seen.push(bytes / total) })
    expect(path).toBe(snapshot())
    expect(readFileSync(path).equals(bytes)).toBe(true)
    expect(lstatSync(blob()).isFile()).toBe(true)
    expect(readlinkSync(path)).toBe(`../../blobs/${sha256}`)
    expect(readFileSync(join(repository(), 'refs/refs/pr/1'), 'utf8')).toBe(commit)
    expect(leftovers()).toEqual([])
    expect(seen[0]).toBe(0)
    expect(seen.at(-1)).toBe(1)
    expect([...seen].sort((a, b) => a - b)).toEqual(seen)
    expect(server.asked[0]!.url).toBe('/org/small/resolve/refs%2Fpr%2F1/model.safetensors')

    server.reset()
    expect(await download()).toBe(path)
    expect(await cachedModel(manifest, env)).toBe(path)
    expect(await download({ env: { ...env, HF_HUB_OFFLINE: 'ON' } })).toBe(path)
    expect(server.asked).toEqual([])
  })

  it('takes what the hub sends itself, and a file below a folder', async () => {
    const file = '0_CLIPModel/model.safetensors'
    server.reset({ ...hosted, file, direct: true })
    const path = await download({}, { ...manifest, file })
    expect(readFileSync(path).equals(bytes)).toBe(true)
    expect(readlinkSync(path)).toBe(`../../../blobs/${sha256}`)
  })

  it('asks for the known commit first, and takes the branch’s or a mirror’s same bytes else', async () => {
    const pinned = { ...manifest, commit: 'c'.repeat(40) }
    server.reset({ ...hosted, revision: pinned.commit, commit: pinned.commit })
    expect(await download({}, pinned)).toContain(`snapshots/${pinned.commit}/`)
    rmSync(join(home, 'hub'), { recursive: true })

    server.reset(hosted)
    expect(await download({}, pinned)).toBe(snapshot())
    rmSync(join(home, 'hub'), { recursive: true })

    const mirror = { repository: 'other/place', revision: 'main', file: 'x/model.safetensors' }
    server.reset({ ...hosted, ...mirror })
    const path = await download({}, { ...pinned, mirrors: [mirror] })
    expect(path).toBe(join(home, 'hub/models--other--place/snapshots', commit, mirror.file))
    expect(await cachedModel({ ...pinned, mirrors: [mirror] }, env)).toBe(path)
  })

  it('brings a tokenizer as it brings weights, under git’s name for small files', async () => {
    const etag = '5'.repeat(40)
    const text = bytes.subarray(0, 5000)
    const tokenizer = { file: 'tokenizer.json', size: 5000, sha256: sha256Of(text) }
    const stated = { etag }
    server.reset({ ...hosted, file: 'tokenizer.json', bytes: text, stated, direct: true })
    const path = await downloadTokenizer({ ...manifest, tokenizer }, { env, retryDelay: 1 })
    expect(path).toBe(join(dirname(snapshot()), 'tokenizer.json'))
    expect(readlinkSync(path)).toBe(`../../blobs/${etag}`)
    expect(readFileSync(path).equals(text)).toBe(true)
    server.reset()
    expect(await downloadTokenizer({ ...manifest, tokenizer }, { env })).toBe(path)
    expect((await failureOf(downloadTokenizer(manifest, { env }))).code).toBe('usage')
  })

  it('keeps a real file where links can’t be made, and finds it', async () => {
    const link = () => Promise.reject(Object.assign(new Error('no links'), { code: 'EPERM' }))
    const path = await download({ link })
    expect(lstatSync(path).isFile()).toBe(true)
    expect(existsSync(blob())).toBe(false)
    expect(leftovers()).toEqual([])
    server.reset()
    expect(await download()).toBe(path)
  })
})

describe('a connection that fails', () => {
  it('goes on where it was cut', async () => {
    server.faults.push({ cutAfter: 150_000 }, { cutAfter: 100_000 })
    const seen: number[] = []
    const path = await download({ onProgress: ({ bytes }) => seen.push(bytes) })
    expect(readFileSync(path).equals(bytes)).toBe(true)
    const [first, second, third] = server.begins
    expect(server.begins.length).toBe(3)
    expect(first).toBe(0)
    expect(second).toBe(150_000)
    expect(third).toBe(250_000)
    expect([...seen].sort((a, b) => a - b)).toEqual(seen)
  })

  it('is made anew when the server is silent for too long', async () => {
    env.HF_HUB_DOWNLOAD_TIMEOUT = '0.3'
    server.faults.push({ silentAfter: 200_000 })
    expect(readFileSync(await download()).equals(bytes)).toBe(true)
    expect(server.begins).toEqual([0, 200_000])
  })

  it('is given up after some times without a byte', async () => {
    env.HF_HUB_DOWNLOAD_TIMEOUT = '0.1'
    server.faults.push(...Array.from({ length: 6 }, () => ({ silentAfter: 0 })))
    const error = await failureOf(download())
    expect(error.code).toBe('input')
    expect(error.message).toMatch(/silent for 0\.1 s; tried 5 times$/)
    expect(error.message).not.toContain('signature')
    expect(server.begins.length).toBe(5)
  })

  it('is repeated when the server is busy, by hub and content server alike', async () => {
    server.refusals.push(503, 429)
    server.faults.push({ status: 500 })
    expect(readFileSync(await download()).equals(bytes)).toBe(true)
  })

  it('is an error that names the host when there is none', async () => {
    const closed = await HubServer.start()
    const { endpoint } = closed
    await closed.close()
    const error = await failureOf(download({ env: { ...env, HF_ENDPOINT: endpoint } }))
    expect(error.code).toBe('input')
    expect(error.message).toContain(`${endpoint} can't be reached`)
    expect(error.message).toContain('ECONNREFUSED')
  })

  it('begins anew on a server that ignores ranges', async () => {
    server.faults.push({ cutAfter: 300_000 }, { ignoreRange: true })
    expect(readFileSync(await download()).equals(bytes)).toBe(true)
    expect(server.begins).toEqual([0, 300_000])
  })

  it('begins anew when the server has less than what is here, or other bytes', async () => {
    put(incomplete(), bytes.subarray(0, 200_000))
    server.faults.push({ bytes: bytes.subarray(0, 100_000) })
    expect(readFileSync(await download()).equals(bytes)).toBe(true)
    expect(server.begins).toEqual([200_000, 0])

    rmSync(join(home, 'hub'), { recursive: true })
    server.asked.length = 0
    put(incomplete(), new Uint8Array(200_000)) // as a power cut may leave it
    expect(readFileSync(await download()).equals(bytes)).toBe(true)
    expect(server.begins).toEqual([200_000, 0])

    rmSync(join(home, 'hub'), { recursive: true })
    server.asked.length = 0
    put(incomplete(), new Uint8Array(SIZE + 1))
    expect(readFileSync(await download()).equals(bytes)).toBe(true)
    expect(server.begins).toEqual([0])
  })
})

describe('bytes that are not the model’s', () => {
  it('are refused before they come, when the hub states another hash or size', async () => {
    for (const stated of [{ etag: 'a'.repeat(64) }, { size: SIZE + 1 }]) {
      server.reset({ ...hosted, stated })
      const error = await failureOf(download())
      expect(error.code).toBe('format')
      expect(error.message).toMatch(
        /model small from org\/small at refs\/pr\/1: the server has a file of/,
      )
      expect(server.begins).toEqual([])
    }
  })

  it('are deleted when their hash is wrong', async () => {
    const wrong = bytes.slice()
    wrong[123_456]! ^= 1
    server.faults.push({ bytes: wrong })
    const error = await failureOf(download())
    expect(error.code).toBe('format')
    expect(error.message).toContain(`SHA-256 ${sha256Of(wrong)}, expected ${sha256}`)
    expect(existsSync(blob())).toBe(false)
    expect(leftovers()).toEqual([])
  })

  it('are refused when they are more or, again and again, fewer than stated', async () => {
    server.faults.push({ bytes: new Uint8Array(SIZE + 10) })
    const more = await failureOf(download())
    expect(more.code).toBe('format')
    expect(more.message).toContain(`more than the ${SIZE} bytes`)
    expect(existsSync(blob())).toBe(false)

    server.faults.push(...Array.from({ length: 20 }, () => ({ bytes: bytes.subarray(0, 1000) })))
    const fewer = await failureOf(download())
    expect(fewer.code).toBe('input')
    expect(fewer.message).toContain('tried 5 times')
    expect(existsSync(blob())).toBe(false)
  })

  it('have the hub’s hash where the manifest has none, and are refused without any', async () => {
    const open: ModelManifest = {
      ...manifest,
      sha256: null,
      sizeSource: 'computed',
      size: SIZE - 9,
    }
    const path = await download({}, open)
    expect(readFileSync(path).equals(bytes)).toBe(true)
    expect(await cachedModel(open, env)).toBe(path)
    rmSync(join(home, 'hub'), { recursive: true })

    const wrong = bytes.slice()
    wrong[0]! ^= 1
    server.faults.push({ bytes: wrong })
    expect((await failureOf(download({}, open))).message).toContain('expected ' + sha256)

    for (const etag of ['', 'a'.repeat(40)]) {
      server.reset({ ...hosted, stated: { etag } })
      const error = await failureOf(download({}, open))
      expect(error.message).toContain('neither its manifest nor the server states its SHA-256')
    }
    server.reset({ ...hosted, stated: { size: SIZE + 100_000 } })
    expect((await failureOf(download({}, open))).message).toContain(
      'the server has a file of 500000 bytes',
    )
  })

  it('do not choose where they are written', async () => {
    for (const stated of [{ commit: '../../../../x' }, { commit: '' }]) {
      server.reset({ ...hosted, stated })
      expect((await failureOf(download())).message).toContain('the server names no commit')
    }
  })
})

describe('a refusal', () => {
  it('says what is missing, and what to do', async () => {
    server.reset()
    const absent = await failureOf(download())
    expect(absent.code).toBe('input')
    expect(absent.message).toContain('refused (401, RepoNotFound)')
    expect(absent.message).toContain('give a token in HF_TOKEN')

    server.reset({ ...hosted, file: 'pytorch_model.bin' })
    const file = await failureOf(download())
    expect(file.message).toContain(
      '/org/small/resolve/refs%2Fpr%2F1/model.safetensors is not there (404, EntryNotFound)',
    )
    expect(file.message).toContain('Give the path of its file instead')

    server.reset({ ...hosted, token: 'hf_right' })
    const gated = await failureOf(download({ env: { ...env, HF_TOKEN: 'hf_wrong' } }))
    expect(gated.message).toContain('accept its terms on the hub')
    expect(gated.message).not.toContain('hf_wrong')
  })

  it('of a model that comes with the package is a wrong use', async () => {
    const error = await failureOf(download({}, findManifest('keeplight-tiny')!))
    expect(error.code).toBe('usage')
  })
})

describe('the token', () => {
  const sentTo = (host: 'hub' | 'content'): (string | undefined)[] => [
    ...new Set(
      server.asked.filter((asked) => asked.host === host).map((asked) => asked.authorization),
    ),
  ]

  it('goes to the hub and to no content server, from the variable or either file', async () => {
    server.reset({ ...hosted, token: 'hf_right' })
    const file = join(home, 'elsewhere')
    put(file, 'hf_right\n')
    put(join(home, 'token'), 'hf_wrong')
    for (const source of [{ HF_TOKEN: ' hf_right\n' }, { HF_TOKEN_PATH: file }]) {
      await download({ env: { ...env, ...source } })
      expect(sentTo('hub')).toEqual(['Bearer hf_right'])
      expect(sentTo('content')).toEqual([undefined])
      rmSync(join(home, 'hub'), { recursive: true })
      server.asked.length = 0
    }
    put(join(home, 'token'), 'hf_right')
    await download()
    expect(sentTo('content')).toEqual([undefined])
  })

  it('is neither sent nor quoted when it could not be one', async () => {
    const error = await failureOf(download({ env: { ...env, HF_TOKEN: 'hf_a\nb' } }))
    expect(error.code).toBe('usage')
    expect(error.message).not.toContain('hf_a')
    expect(server.asked).toEqual([])
  })
})

describe('the cache', () => {
  /** As `huggingface_hub` in Python leaves it. */
  function pythonCache(content = bytes, revision = 'main', of = commit): void {
    put(blob(), content)
    put(join(repository(), 'refs', revision), of)
    const place = join(repository(), 'snapshots', of, 'model.safetensors')
    mkdirSync(dirname(place), { recursive: true })
    symlinkSync(`../../blobs/${sha256}`, place)
  }

  beforeEach(() => server.reset())

  it('may be Python’s, at another revision and without network', async () => {
    pythonCache()
    expect(await download()).toBe(snapshot())
    expect(server.asked).toEqual([])
  })

  it('is read by reference or commit where no hash is known', async () => {
    const open = { ...manifest, sha256: null }
    pythonCache(bytes, 'refs/pr/1')
    expect(await cachedModel(open, env)).toBe(snapshot())
    expect(await cachedModel({ ...open, revision: 'main', commit }, env)).toBe(snapshot())
    expect(await cachedModel({ ...open, revision: 'main' }, env)).toBeUndefined()
  })

  it('is hashed once, and again when a file changed', async () => {
    pythonCache()
    const time = new Date('2026-01-01')
    utimesSync(blob(), time, time)
    expect(await cacheStatus(manifest, env)).toEqual([{ path: snapshot(), state: 'unverified' }])
    expect(await cachedModel(manifest, env)).toBe(snapshot())
    expect(await cacheStatus(manifest, env)).toEqual([{ path: snapshot(), state: 'verified' }])

    const wrong = bytes.slice()
    wrong[7]! ^= 1
    writeFileSync(blob(), wrong)
    utimesSync(blob(), time, time)
    // Size and time are those of what was hashed: that is what remembering costs, and verify is for.
    expect(await cachedModel(manifest, env)).toBe(snapshot())
    expect(await verifyModel(manifest, env)).toEqual([{ path: snapshot(), state: 'damaged' }])
    expect(await cachedModel(manifest, env)).toBeUndefined()
    expect(await cacheStatus(manifest, env)).toEqual([{ path: snapshot(), state: 'damaged' }])
  })

  it('of wrong bytes is refused offline and mended online', async () => {
    const wrong = bytes.slice()
    wrong[7]! ^= 1
    pythonCache(wrong)
    const error = await failureOf(download({ env: { ...env, HF_HUB_OFFLINE: '1' } }))
    expect(error.message).toContain('is damaged (its SHA-256 is wrong)')
    server.reset(hosted)
    expect(readFileSync(await download()).equals(bytes)).toBe(true)
    expect(await verifyModel(manifest, env)).toEqual([{ path: snapshot(), state: 'verified' }])
  })

  it('of another size, or of a broken link, is no model', async () => {
    pythonCache()
    truncateSync(blob(), SIZE - 1)
    expect(await cachedModel(manifest, env)).toBeUndefined()
    rmSync(blob())
    expect(await cachedModel(manifest, env)).toBeUndefined()
    server.reset(hosted)
    expect(readFileSync(await download()).equals(bytes)).toBe(true)
  })

  it('without the model and without network is an error that says both', async () => {
    for (const value of ['1', 'on', 'YES', 'true']) {
      const error = await failureOf(download({ env: { ...env, HF_HUB_OFFLINE: value } }))
      expect(error.code).toBe('input')
      expect(error.message).toContain(`it is not in the cache ${join(home, 'hub')}`)
      expect(error.message).toContain('HF_HUB_OFFLINE')
    }
    expect(server.asked).toEqual([])
  })

  it('that can’t be written is an error that names it', async () => {
    server.reset(hosted)
    const file = join(home, 'file')
    writeFileSync(file, '')
    for (const folder of [file, '/proc/keeplight']) {
      const error = await failureOf(download({ env: { ...env, HF_HUB_CACHE: folder } }))
      expect(error.code).toBe('input')
      expect(error.message).toContain(folder)
      expect(error.message).toContain('Set HF_HOME')
    }
  })

  it('without room is an error before anything comes', async () => {
    const size = 2 ** 52
    server.reset({ ...hosted, stated: { size } })
    const error = await failureOf(download({}, { ...manifest, size }))
    expect(error.message).toMatch(/4,503,599,628 MB are still to come, but only [\d,]+ MB are free/)
    expect(server.begins).toEqual([])
  })
})

describe('a stop', () => {
  it('by a signal keeps what has come, and the next call goes on', async () => {
    const controller = new AbortController()
    server.faults.push({ silentAfter: 250_000 })
    const silent = server.silent()
    const stopped = failureOf(download({ signal: controller.signal }))
    await silent
    controller.abort()
    expect((await stopped).code).toBe('aborted')
    expect(statSync(incomplete()).size).toBe(250_000)
    expect(existsSync(lock())).toBe(false)
    expect((await failureOf(download({ signal: controller.signal }))).code).toBe('aborted')
    expect(readFileSync(await download()).equals(bytes)).toBe(true)
    expect(server.begins).toEqual([0, 250_000])
    expect(leftovers()).toEqual([])
  })

  it('by a kill leaves a file that goes on and a lock that is taken over', async () => {
    server.faults.push({ silentAfter: 250_000 })
    const silent = server.silent()
    const script = join(root, 'test/support/hubDownload.node.ts')
    const child = spawn(process.execPath, ['--import', 'tsx', script, JSON.stringify(manifest)], {
      cwd: root,
      env: { ...process.env, ...env },
      stdio: 'inherit',
    })
    const ended = new Promise((done) => child.on('close', done))
    await silent
    child.kill('SIGKILL')
    await ended
    expect(statSync(incomplete()).size).toBe(250_000)
    expect(existsSync(lock())).toBe(true)
    expect(readFileSync(await download()).equals(bytes)).toBe(true)
    expect(server.begins).toEqual([0, 250_000])
    expect(leftovers()).toEqual([])
  })

  it('of a process on another machine is noticed by its silence', async () => {
    put(lock(), JSON.stringify({ host: 'elsewhere', pid: 1, id: 'x' }))
    const old = new Date(Date.now() - 61_000)
    utimesSync(lock(), old, old)
    expect(readFileSync(await download()).equals(bytes)).toBe(true)
    expect(leftovers()).toEqual([])
  })
})

describe('two downloads at once', () => {
  it('bring the file once', async () => {
    server.faults.push({ cutAfter: 100_000 })
    const paths = await Promise.all([download(), download(), download()])
    expect(paths).toEqual([snapshot(), snapshot(), snapshot()])
    expect(server.begins).toEqual([0, 100_000])
    expect(leftovers()).toEqual([])
  })

  it('wait for a living process, and stop waiting when told to', async () => {
    put(lock(), JSON.stringify({ host: 'elsewhere', pid: 1, id: 'x' }))
    put(incomplete(), bytes.subarray(0, 1000))
    const seen: number[] = []
    const controller = new AbortController()
    const waiting = failureOf(
      download({ signal: controller.signal, onProgress: ({ bytes }) => seen.push(bytes) }),
    )
    while (seen.length < 2) await new Promise((done) => setTimeout(done, 20))
    controller.abort()
    expect((await waiting).code).toBe('aborted')
    expect(new Set(seen)).toEqual(new Set([1000]))
    expect(existsSync(lock())).toBe(true)
    expect(server.begins).toEqual([])
  })
})
