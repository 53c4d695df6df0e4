import { mkdir, readdir, realpath, rename, rm, stat, statfs, symlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { defaultCacheFolder, type Environment } from '../runtime/cacheFolder.node.ts'
import { KeeplightError } from '../runtime/errors.ts'
import {
  candidatesInCache,
  expectedHash,
  findInCache,
  fitsSize,
  hashFile,
  hubFile,
  KnownHashes,
  publish,
  repositoryFolder,
  tokenizerFile,
  type HubFile,
  type Link,
} from './hubCache.node.ts'
import { hubEnvironment, type HubEnvironment } from './hubEnvironment.node.ts'
import { withLock } from './hubLock.node.ts'
import {
  AbsentError,
  RangeRefused,
  requestBytes,
  requestFacts,
  TransientError,
  withRetries,
  type HubClient,
} from './hubRequest.node.ts'
import { hubAddress } from './manifest.ts'
import type { HubPlace, ModelManifest } from './manifestFormat.ts'
import { PartialFile } from './partialFile.node.ts'

/*
 * Why not `@huggingface/hub` (2.1): its downloadFileToCacheDir begins a file anew after every cut or
 * kill, checks no hash, knows no HF_HUB_OFFLINE, no timeout, no AbortSignal and no progress, names
 * snapshots by the file's last commit instead of the revision's, and writes to the console.
 */

export interface DownloadOptions {
  /** Variables such as `HF_HOME`, `HF_TOKEN`, `HF_ENDPOINT`, `HF_HUB_OFFLINE`. Default `process.env`. */
  readonly env?: Environment
  readonly fetch?: typeof fetch
  /** Bytes that are there, of the whole file; what an earlier run left counts. */
  readonly onProgress?: (progress: { bytes: number; total: number }) => void
  readonly signal?: AbortSignal
  /** Milliseconds before a cut connection is made anew, doubling from then on. Default 1,000. */
  readonly retryDelay?: number
  /** Makes symbolic links. @internal */
  readonly link?: Link
}

/** Python's tools append to `<etag>.incomplete` under a lock that we can't take. */
const INCOMPLETE = '.keeplight.incomplete'
/** Times in a row that the hub may not answer; without a network one should not wait long. */
const CONTACTS = 3
/** Times in a row that a connection may bring nothing. */
const ATTEMPTS = 5

/**
 * Path of a model's weights in the Hugging Face cache, verified by size and SHA-256 (which is
 * remembered until the file changes); undefined when it is not there or damaged. Uses no network.
 */
export async function cachedModel(
  manifest: ModelManifest,
  env: Environment = process.env,
  signal?: AbortSignal,
): Promise<string | undefined> {
  const { cache } = hubEnvironment(env)
  const hashes = new KnownHashes(defaultCacheFolder(env))
  return (await findInCache(cache, hubFile(manifest), hashes, signal)).path
}

/**
 * Path of a model's weights in the Hugging Face cache, which are downloaded if they are not there.
 *
 * A download that was cut or killed goes on where it was. Size and SHA-256 are verified before the
 * file gets its name; where the manifest has no hash, the one that the hub states is taken.
 *
 * @throws KeeplightError `input` when it can't be had or stored, `format` when its bytes are wrong,
 *   `usage` for a model that comes with the package, `aborted`
 */
export async function downloadModel(
  manifest: ModelManifest,
  options: DownloadOptions = {},
): Promise<string> {
  return downloadFile(hubFile(manifest), options)
}

/**
 * Path of the vocabulary of a model's text tower, downloaded like the model.
 *
 * @throws KeeplightError as {@link downloadModel}; `usage` for a model without a text tower
 */
export async function downloadTokenizer(
  manifest: ModelManifest,
  options: DownloadOptions = {},
): Promise<string> {
  return downloadFile(tokenizerFile(manifest), options)
}

async function downloadFile(file: HubFile, options: DownloadOptions): Promise<string> {
  const env = options.env ?? process.env
  const hub = hubEnvironment(env)
  const hashes = new KnownHashes(defaultCacheFolder(env))
  const { path, damaged } = await findInCache(hub.cache, file, hashes, options.signal)
  if (path) return path
  if (hub.offline) throw offlineError(file, hub, damaged)
  const { fetch = globalThis.fetch, signal, retryDelay = 1_000 } = options
  const client: HubClient = { hub, fetch, signal, retryDelay }
  const refusals: string[] = []
  for (const place of file.places) {
    try {
      return await new Download(file, place, client, hashes, options).run()
    } catch (error) {
      if (!(error instanceof AbsentError)) throw asKeeplightError(error, hub)
      refusals.push(error.message)
    }
  }
  throw new KeeplightError(
    'input',
    `model ${file.label} can't be downloaded: ${refusals.join('; ')}. ` +
      'Give the path of its file instead, or set HF_ENDPOINT to another hub',
  )
}

/** What the cache has of a model. */
export interface CacheStatus {
  readonly path: string
  /** Right as it was last hashed, wrong, or not hashed since it changed. */
  readonly state: 'verified' | 'damaged' | 'unverified'
}

/** What the cache has of a model, without hashing it; all of it when it is there more than once. */
export async function cacheStatus(
  manifest: ModelManifest,
  env: Environment = process.env,
): Promise<CacheStatus[]> {
  return inspectCache(manifest, env, (hashes, blob) => hashes.recall(blob))
}

/** Bytes of a model that an unfinished download left. */
export async function partialBytes(
  manifest: ModelManifest,
  env: Environment = process.env,
): Promise<number> {
  const { cache } = hubEnvironment(env)
  let most = 0
  for (const { repository } of hubFile(manifest).places) {
    const blobs = join(repositoryFolder(cache, repository), 'blobs')
    for (const name of await readdir(blobs).catch(() => [])) {
      if (!name.endsWith(INCOMPLETE)) continue
      most = Math.max(most, (await stat(join(blobs, name)).catch(() => undefined))?.size ?? 0)
    }
  }
  return most
}

/** What the cache has of a model, every byte hashed anew. */
export async function verifyModel(
  manifest: ModelManifest,
  env: Environment = process.env,
  signal?: AbortSignal,
): Promise<CacheStatus[]> {
  return inspectCache(manifest, env, async (hashes, blob) => {
    const sha256 = await hashFile(blob, signal)
    await hashes.remember(blob, sha256)
    return sha256
  })
}

async function inspectCache(
  manifest: ModelManifest,
  env: Environment,
  hashOf: (hashes: KnownHashes, blob: string) => Promise<string | undefined>,
): Promise<CacheStatus[]> {
  const { cache } = hubEnvironment(env)
  const file = hubFile(manifest)
  const hashes = new KnownHashes(defaultCacheFolder(env))
  const found: CacheStatus[] = []
  for (const path of await candidatesInCache(cache, file)) {
    const blob = await realpath(path)
    const expected = expectedHash(file, blob)
    const actual = await hashOf(hashes, blob)
    const state = actual === expected ? 'verified' : 'damaged'
    found.push({ path, state: actual && expected ? state : 'unverified' })
  }
  return found
}

/** One file from one place. */
class Download {
  constructor(
    private readonly file: HubFile,
    private readonly place: HubPlace,
    private readonly client: HubClient,
    private readonly hashes: KnownHashes,
    private readonly options: DownloadOptions,
  ) {}

  async run(): Promise<string> {
    const { file, place, client, options } = this
    const { cache, endpoint } = client.hub
    const url = hubAddress(place, endpoint)
    const facts = await withRetries(client, CONTACTS, () => requestFacts(url, client))
    const commit = facts.commit ?? (/^[0-9a-f]{40}$/.test(place.revision) ? place.revision : null)
    if (!commit) {
      throw this.#wrong('the server names no commit (X-Repo-Commit); is HF_ENDPOINT a hub?')
    }
    const stated = facts.etag?.length === 64 ? facts.etag : undefined
    const sha256 = file.sha256 ?? stated
    if (!sha256) throw this.#wrong('neither its manifest nor the server states its SHA-256')
    if (stated && stated !== sha256) {
      throw this.#wrong(`the server has a file of SHA-256 ${stated}, expected ${sha256}`)
    }
    const size = facts.size ?? file.size
    if (!fitsSize(file, size)) {
      throw this.#wrong(`the server has a file of ${size} bytes, expected ${file.size}`)
    }

    const folder = repositoryFolder(cache, place.repository)
    const blob = join(folder, 'blobs', facts.etag ?? sha256)
    const locks = join(cache, '.locks', `models--${place.repository.replaceAll('/', '--')}`)
    await makeFolders(locks, dirname(blob))
    const incomplete = blob + INCOMPLETE
    const report = (bytes: number): void => options.onProgress?.({ bytes, total: size })
    return withLock(
      join(locks, `${facts.etag ?? sha256}.keeplight.lock`),
      client.signal,
      async () => report((await stat(incomplete).catch(() => undefined))?.size ?? 0),
      async () => {
        // Another process, or another revision of the repository, may have brought it by now.
        const there = await stat(blob).catch(() => undefined)
        if (there?.size !== size || (await hashFile(blob, client.signal)) !== sha256) {
          await this.#transfer(url, incomplete, size, sha256, report)
          await rename(incomplete, blob)
        }
        report(size)
        const path = await publish(cache, place, commit, blob, options.link ?? symlink)
        const bytes = (await stat(blob).catch(() => undefined)) ? blob : path
        await this.hashes.remember(bytes, sha256)
        return path
      },
    )
  }

  /** Brings the whole file to `path`, going on with what is there. */
  async #transfer(
    url: URL,
    path: string,
    size: number,
    sha256: string,
    report: (bytes: number) => void,
  ): Promise<void> {
    const { client } = this
    const part = await PartialFile.open(path, size, client.signal)
    try {
      await requireSpace(path, size - part.length)
      report(part.length)
      let resumed = part.length > 0
      // Only bytes further than any before are a gain, or a server that sends too few were asked forever.
      let furthest = part.length
      for (;;) {
        await withRetries(client, ATTEMPTS, async (passed) => {
          while (part.length < size) {
            await this.#receive(url, part, size, report).finally(() => {
              if (part.length > furthest) passed()
              furthest = Math.max(furthest, part.length)
            })
          }
        })
        const actual = part.digest()
        if (actual === sha256) break
        await part.restart()
        // What an earlier run left may have been torn by a power cut; once more without it.
        if (!resumed) {
          await rm(path, { force: true })
          throw this.#wrong(`what came has SHA-256 ${actual}, expected ${sha256}; it was deleted`)
        }
        resumed = false
      }
      await part.flush()
    } finally {
      await part.close()
    }
  }

  /** One connection's worth of bytes. */
  async #receive(
    url: URL,
    part: PartialFile,
    size: number,
    report: (bytes: number) => void,
  ): Promise<void> {
    const { begin, chunks } = await requestBytes(url, part.length, size, this.client).catch(
      async (error: unknown) => {
        if (!(error instanceof RangeRefused)) throw error
        // There is more here than the server has: it is not the same file any more.
        await part.restart()
        throw new TransientError(error.message)
      },
    )
    if (begin !== part.length) await part.restart()
    for await (const chunk of chunks) {
      if (part.length + chunk.length > size) {
        await part.restart()
        throw this.#wrong(`the server sends more than the ${size} bytes that it stated`)
      }
      await part.append(chunk)
      report(part.length)
    }
    if (part.length < size) {
      throw new TransientError(
        `${url.origin} cut the connection after ${part.length} of ${size} bytes`,
      )
    }
  }

  #wrong(problem: string): KeeplightError {
    const { repository, revision } = this.place
    return new KeeplightError(
      'format',
      `model ${this.file.label} from ${repository} at ${revision}: ${problem}. ` +
        'Try again, or give the path of a file that you trust',
    )
  }
}

/** Node's own recursive mkdir never returns where the system takes no folders, as below /proc. */
async function makeFolders(...paths: string[]): Promise<void> {
  for (const path of paths) {
    const parent = dirname(path)
    if ((await stat(path).catch(() => undefined))?.isDirectory()) continue
    if (parent !== path) await makeFolders(parent)
    await mkdir(path).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error
    })
  }
}

async function requireSpace(path: string, bytes: number): Promise<void> {
  const system = await statfs(dirname(path)).catch(() => undefined)
  if (!system || system.bavail * system.bsize >= bytes) return
  const mega = (count: number): string => `${Math.ceil(count / 1e6).toLocaleString('en')} MB`
  throw new KeeplightError(
    'input',
    `${dirname(path)}: ${mega(bytes)} are still to come, but only ` +
      `${mega(system.bavail * system.bsize)} are free. Make room, or set HF_HOME to another disk`,
  )
}

function offlineError(
  { label }: HubFile,
  { cache }: HubEnvironment,
  damaged: readonly string[],
): KeeplightError {
  const problem =
    damaged.length > 0
      ? `its file ${damaged[0]} is damaged (its SHA-256 is wrong)`
      : `it is not in the cache ${cache}`
  return new KeeplightError(
    'input',
    `model ${label}: ${problem}, and HF_HUB_OFFLINE forbids a download. Unset it, copy the cache of ` +
      `a machine that has it, or give the path of its file`,
  )
}

/** A failure of the file system as an error that says what to do. */
function asKeeplightError(error: unknown, { cache }: HubEnvironment): unknown {
  const { code, path } = error as NodeJS.ErrnoException
  if (error instanceof KeeplightError || !code || !/^E[A-Z]+$/.test(code)) return error
  const problem =
    code === 'ENOSPC' || code === 'EDQUOT'
      ? 'the disk is full; what has come is kept'
      : code === 'EACCES' || code === 'EPERM' || code === 'EROFS'
        ? `can't be written (${code}: read-only or no permission)`
        : `can't be written (${code})`
  return new KeeplightError(
    'input',
    `${path ?? cache}: ${problem}. Set HF_HOME or HF_HUB_CACHE to another folder`,
    { cause: error },
  )
}
