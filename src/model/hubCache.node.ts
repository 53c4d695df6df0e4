import { createHash, randomBytes } from 'node:crypto'
import { createReadStream } from 'node:fs'
import {
  copyFile,
  mkdir,
  readdir,
  readFile,
  realpath,
  rename,
  rm,
  stat,
  writeFile,
} from 'node:fs/promises'
import { basename, dirname, join, relative } from 'node:path'
import { KeeplightError } from '../runtime/errors.ts'
import { aborted } from './hubRequest.node.ts'
import type { HubPlace, ModelManifest } from './manifestFormat.ts'

/**
 * The cache that Hugging Face's tools share:
 *
 *     models--org--name/refs/<revision>          text: a commit's hash
 *     models--org--name/blobs/<etag>             the bytes
 *     models--org--name/snapshots/<commit>/<file>  link to ../../blobs/<etag>, or the bytes themselves
 */

/** A file that is wanted: where it may be had, and what it should be. */
export interface HubFile {
  /** What messages call it. */
  readonly label: string
  /** In the order in which they are asked. */
  readonly places: readonly HubPlace[]
  readonly size: number
  readonly sizeSource: 'published' | 'computed'
  readonly sha256: string | null
}

/** What the manifest of a model wants from the hub. @throws KeeplightError `usage` for one that comes with the package */
export function hubFile(manifest: ModelManifest): HubFile {
  const { name, repository, revision, commit, file, size, sizeSource, sha256, mirrors } = manifest
  if (repository === null || revision === null) {
    throw new KeeplightError('usage', `${name} comes with the package and is not on the hub`)
  }
  // Where the hash is known, the commit may move on and a mirror will do; else only the commit is certain.
  const exact = commit === null ? [] : [{ repository, revision: commit, file }]
  const other = [{ repository, revision, file }, ...mirrors]
  const places = sha256 !== null || exact.length === 0 ? [...exact, ...other] : exact
  return { label: name, places, size, sizeSource, sha256 }
}

/** What the manifest of a model with a text tower wants besides. @throws KeeplightError `usage` for one without */
export function tokenizerFile(manifest: ModelManifest): HubFile {
  const { name, tokenizer } = manifest
  if (!tokenizer) throw new KeeplightError('usage', `${name} has no text tower, so no tokenizer`)
  const { places } = hubFile({ ...manifest, ...tokenizer, mirrors: [] })
  return { label: `${name} (${tokenizer.file})`, places, sizeSource: 'published', ...tokenizer }
}

/** A header may be laid out another way than was computed; tensors may not. */
const HEADER_SLACK = 65_536

/** Whether a file may have this many bytes. */
export function fitsSize({ size, sizeSource }: HubFile, bytes: number): boolean {
  return sizeSource === 'published' ? bytes === size : Math.abs(bytes - size) <= HEADER_SLACK
}

export const repositoryFolder = (cache: string, repository: string): string =>
  join(cache, `models--${repository.replaceAll('/', '--')}`)

/** Files in the cache that may be the one wanted, by name and size; whoever put them there. */
export async function candidatesInCache(cache: string, file: HubFile): Promise<string[]> {
  const found = new Set<string>()
  for (const { repository, revision, file: path } of file.places) {
    const folder = repositoryFolder(cache, repository)
    const named = await readFile(join(folder, 'refs', revision), 'utf8').catch(() => '')
    const commits = [revision, named.trim()].filter((name) => /^[0-9a-f]{40}$/.test(name))
    // By its hash the file is the same in any other snapshot.
    if (file.sha256) commits.push(...(await readdir(join(folder, 'snapshots')).catch(() => [])))
    for (const commit of commits) {
      const place = join(folder, 'snapshots', commit, path)
      const entry = await stat(place).catch(() => undefined)
      if (entry?.isFile() && fitsSize(file, entry.size)) found.add(place)
    }
  }
  return [...found]
}

/** SHA-256 of a file, in hex. */
export async function hashFile(path: string, signal?: AbortSignal): Promise<string> {
  const hash = createHash('sha256')
  try {
    for await (const part of createReadStream(path, { highWaterMark: 1 << 20, signal })) {
      hash.update(part as Buffer)
    }
  } catch (cause) {
    if (signal?.aborted) throw aborted()
    throw new KeeplightError('input', `${path} can't be read: ${String(cause)}`, { cause })
  }
  return hash.digest('hex')
}

/**
 * SHA-256 of files that were hashed before, by size and time of change, so that weights of a gigabyte
 * are hashed once and not at every start.
 */
export class KnownHashes {
  readonly #folder: string

  /** @param cache Keeplight's own cache; Hugging Face's may be shared and read-only */
  constructor(cache: string) {
    this.#folder = join(cache, 'hashes')
  }

  /** The hash as remembered, if the file has not changed since. */
  async recall(path: string): Promise<string | undefined> {
    const { size, mtimeMs } = await stat(path)
    const text = await readFile(this.#place(path), 'utf8').catch(() => '')
    const [file, bytes, time, sha256] = text.split('\n')
    const same = file === path && Number(bytes) === size && Number(time) === mtimeMs
    return same && /^[0-9a-f]{64}$/.test(sha256 ?? '') ? sha256 : undefined
  }

  /** Remembers a hash; where nothing can be written the file is hashed again next time. */
  async remember(path: string, sha256: string): Promise<void> {
    const { size, mtimeMs } = await stat(path)
    const text = [path, size, mtimeMs, sha256, ''].join('\n')
    await mkdir(this.#folder, { recursive: true })
      .then(() => writeAtomic(this.#place(path), text))
      .catch(() => undefined)
  }

  /** The hash, remembered or computed. */
  async of(path: string, signal?: AbortSignal): Promise<string> {
    const known = await this.recall(path)
    if (known) return known
    const sha256 = await hashFile(path, signal)
    await this.remember(path, sha256)
    return sha256
  }

  #place(path: string): string {
    return join(this.#folder, createHash('sha256').update(path).digest('hex').slice(0, 32))
  }
}

/**
 * What the SHA-256 of a cached file should be: the manifest's, else the one that its blob is named by,
 * which the hub stated when it was downloaded; undefined when nothing says it.
 */
export function expectedHash({ sha256 }: HubFile, blob: string): string | undefined {
  return sha256 ?? /^[0-9a-f]{64}$/.exec(basename(blob))?.[0]
}

/** The first candidate whose hash is right, and those whose hash is wrong. */
export async function findInCache(
  cache: string,
  file: HubFile,
  hashes: KnownHashes,
  signal?: AbortSignal,
): Promise<{ readonly path: string | undefined; readonly damaged: readonly string[] }> {
  const damaged: string[] = []
  for (const path of await candidatesInCache(cache, file)) {
    const blob = await realpath(path)
    const expected = expectedHash(file, blob)
    // Nothing to compare with: the reader of the file checks what its format lets one check.
    if (!expected || (await hashes.of(blob, signal)) === expected) return { path, damaged }
    damaged.push(path)
  }
  return { path: undefined, damaged }
}

/** Makes a symbolic link at `path`, as `symlink` of `node:fs/promises` does. */
export type Link = (target: string, path: string, type: 'file') => Promise<void>

/**
 * Shows a blob under its name in a snapshot, and the commit under its revision.
 *
 * @returns path of the file in the snapshot
 */
export async function publish(
  cache: string,
  { repository, revision, file }: HubPlace,
  commit: string,
  blob: string,
  link: Link,
): Promise<string> {
  const folder = repositoryFolder(cache, repository)
  if (revision !== commit) {
    const reference = join(folder, 'refs', revision)
    await mkdir(dirname(reference), { recursive: true })
    await writeAtomic(reference, commit)
  }
  const place = join(folder, 'snapshots', commit, file)
  await mkdir(dirname(place), { recursive: true })
  const temporary = `${place}.${unique()}`
  try {
    await link(relative(dirname(place), blob), temporary, 'file')
  } catch {
    // No symbolic links here, as on Windows without the right to make them: the file itself, then.
    await rename(blob, temporary).catch(() => copyFile(blob, temporary))
  }
  await rename(temporary, place)
  return place
}

const unique = (): string => `${process.pid}.${randomBytes(4).toString('hex')}.tmp`

async function writeAtomic(path: string, text: string): Promise<void> {
  const temporary = `${path}.${unique()}`
  try {
    await writeFile(temporary, text)
    await rename(temporary, path)
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => undefined)
    throw error
  }
}
