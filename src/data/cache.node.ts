import { createHash } from 'node:crypto'
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import type { PreprocessConfig } from '../model/preprocess.ts'
import { appearanceBytes, appearanceVersion } from './appearance.ts'
import { RecordStore, recordBytesOf, uniqueName, writeAll } from './recordStore.node.ts'

export { defaultCacheFolder } from '../runtime/cacheFolder.node.ts'

/**
 * Features on disk, so that a second run starts at once and a killed run loses no finished batch.
 *
 * `<cache>/features/<key>/<unique>.features` are segments of a `RecordStore`, each record with
 * (1 + views) · dimension float32 and the raw picture. The key covers everything that the numbers depend
 * on: weights, preprocessing, views, and the version below. `<cache>/appearance/<unique>.looks` has what
 * no model is needed for: figures of quality and the print that finds copies.
 *
 * `<cache>/files/<folder>/<unique>.jsonl` remembers each file's size, modification time and hash, so
 * that known files aren't read again. An edit that keeps both size and time goes unseen: that is the
 * price of not reading every photo at every start (`--no-cache` reads all).
 */

/** Raise when decoding, augmentation or the file layout changes, so that old numbers aren't used. */
const formatVersion = 1
const magic = 'KLFEAT01'
/** Views that the command line lets a run have. */
const MOST_VIEWS = 64

export interface CacheOptions {
  /** The cache's folder; see `defaultCacheFolder`. */
  readonly folder: string
  /** Hash of the model's weights file. */
  readonly model: string
  readonly preprocess: PreprocessConfig
  /** Augmented views beside the clean one, and the seed of their augmentations. */
  readonly views: number
  readonly seed: number
  /** Length of a feature. */
  readonly dimension: number
  /** Length of the raw picture kept beside the features. */
  readonly rawBytes: number
}

export interface CacheRecord {
  /** (1 + views) · dimension floats, the clean view's first. */
  readonly features: Float32Array
  readonly raw: Uint8Array
}

/** The features of one model and one set of views, by the hash of the image file. */
export class FeatureCache {
  private readonly store: RecordStore
  private readonly featureBytes: number
  private readonly rawBytes: number

  /** Opens the cache and reads the hashes that it holds. Throws when its folder can't be made. */
  constructor(options: CacheOptions) {
    const { views, dimension } = options
    const { folder, text } = placeOf(options)
    this.featureBytes = 4 * (1 + views) * dimension
    this.rawBytes = options.rawBytes
    const payloadBytes = this.featureBytes + options.rawBytes
    const header = `${magic}${text}\n`
    this.store = new RecordStore({ folder, extension: '.features', header, payloadBytes })
  }

  /** The caches of the same model's same views and more, which hold these features too. */
  static wider(options: CacheOptions): FeatureCache[] {
    const more = Array.from({ length: MOST_VIEWS - options.views }, (_, i) => i + 1)
    return more
      .map((others) => ({ ...options, views: options.views + others }))
      .filter((wider) => existsSync(placeOf(wider).folder))
      .map((wider) => new FeatureCache(wider))
  }

  /** How many images this cache knows, and the bytes of its segments on disk. */
  get size(): { readonly records: number; readonly bytes: number } {
    return this.store.size
  }

  /** The hashes of all known images. */
  hashes(): Set<string> {
    return this.store.hashes()
  }

  /** The record of an image file, or undefined when there is none or it is damaged. */
  get(hash: string): CacheRecord | undefined {
    const content = this.store.get(hash)
    if (!content) return undefined
    const features = new Float32Array(this.featureBytes / 4)
    new Uint8Array(features.buffer).set(content.subarray(0, this.featureBytes))
    return { features, raw: new Uint8Array(content.subarray(this.featureBytes)) }
  }

  /** Adds a record; it is on disk after the next {@link flush}. */
  put(hash: string, { features, raw }: CacheRecord): void {
    const { buffer, byteOffset, byteLength } = features
    if (byteLength !== this.featureBytes || raw.length !== this.rawBytes) {
      throw new RangeError(
        `FeatureCache.put: record of ${features.length} floats, ${raw.length} bytes`,
      )
    }
    this.store.put(hash, new Uint8Array(buffer, byteOffset, byteLength), raw)
  }

  /** Appends what was added to this run's segment. */
  flush(): void {
    this.store.flush()
  }

  /** Closes the files; what was not flushed is lost. */
  close(): void {
    this.store.close()
  }
}

/**
 * What images look like (`Appearance`), by the hash of the file: it depends on no model, so every run on
 * an image serves the later ones.
 */
export class AppearanceCache {
  private readonly store: RecordStore

  /** @param cacheFolder the cache's folder; see `defaultCacheFolder` */
  constructor(cacheFolder: string) {
    const folder = join(cacheFolder, 'appearance')
    const header = `KLLOOK01${JSON.stringify({ version: appearanceVersion })}\n`
    const payloadBytes = appearanceBytes
    this.store = new RecordStore({ folder, extension: '.looks', header, payloadBytes })
  }

  /** The hashes of all known images. */
  hashes(): Set<string> {
    return this.store.hashes()
  }

  /** An image's appearance as bytes, or undefined when there is none or it is damaged. */
  get(hash: string): Uint8Array | undefined {
    return this.store.get(hash)
  }

  /** Adds an appearance; it is on disk after the next {@link flush}. */
  put(hash: string, appearance: Uint8Array): void {
    this.store.put(hash, appearance)
  }

  /** Appends what was added to this run's segment. */
  flush(): void {
    this.store.flush()
  }

  /** Closes the files; what was not flushed is lost. */
  close(): void {
    this.store.close()
  }
}

/** The folder that a cache has to itself, and the text that its name is the hash of. */
function placeOf(options: CacheOptions): { readonly folder: string; readonly text: string } {
  const { model, preprocess, views, seed, dimension, rawBytes } = options
  const { size, resize, mean, std } = preprocess
  const content = { formatVersion, model, size, resize, mean, std, views, seed, rawBytes }
  const recordBytes = recordBytesOf(4 * (1 + views) * dimension + rawBytes)
  const text = JSON.stringify({ ...content, dimension, recordBytes })
  const key = createHash('sha256').update(text).digest('hex').slice(0, 24)
  return { folder: join(options.folder, 'features', key), text }
}

/** What the file index knows a file by. */
export interface FileStamp {
  readonly size: number
  readonly mtimeMs: number
}

/** Content hashes of one folder's files, by path, size and modification time. */
export class FileIndex {
  private readonly folder: string
  private readonly known = new Map<string, FileStamp & { readonly hash: string }>()
  private pending: string[] = []
  private file: number | undefined

  /** @param root absolute path of the image folder; the index belongs to it */
  constructor(cacheFolder: string, root: string) {
    const key = createHash('sha256').update(root).digest('hex').slice(0, 24)
    this.folder = join(cacheFolder, 'files', key)
    mkdirSync(this.folder, { recursive: true })
    // Names begin with their time, so later entries win.
    for (const name of readdirSync(this.folder).sort()) {
      if (name.endsWith('.jsonl')) this.read(join(this.folder, name))
    }
  }

  /** The hash of a file as last seen, or undefined when the file is new or was changed. */
  lookup(path: string, { size, mtimeMs }: FileStamp): string | undefined {
    const entry = this.known.get(path)
    return entry?.size === size && entry.mtimeMs === mtimeMs ? entry.hash : undefined
  }

  remember(path: string, { size, mtimeMs }: FileStamp, hash: string): void {
    if (this.lookup(path, { size, mtimeMs }) === hash) return
    this.known.set(path, { size, mtimeMs, hash })
    this.pending.push(`${JSON.stringify([path, size, mtimeMs, hash])}\n`)
  }

  flush(): void {
    if (this.pending.length === 0) return
    this.file ??= openSync(join(this.folder, `${uniqueName()}.jsonl`), 'ax')
    writeAll(this.file, Buffer.from(this.pending.join('')))
    this.pending = []
  }

  /** Closes the file; what was not flushed is lost. */
  close(): void {
    if (this.file !== undefined) closeSync(this.file)
    this.file = undefined
  }

  private read(path: string): void {
    for (const line of readFileSync(path, 'utf8').split('\n')) {
      const entry = parseEntry(line)
      if (entry) this.known.set(entry.path, entry)
    }
  }
}

function parseEntry(line: string): (FileStamp & { path: string; hash: string }) | undefined {
  let value: unknown
  try {
    value = JSON.parse(line)
  } catch {
    return undefined // the last line of a killed run
  }
  if (!Array.isArray(value) || value.length !== 4) return undefined
  const [path, size, mtimeMs, hash] = value as unknown[]
  const valid =
    typeof path === 'string' &&
    typeof size === 'number' &&
    typeof mtimeMs === 'number' &&
    typeof hash === 'string'
  return valid ? { path, size, mtimeMs, hash } : undefined
}
