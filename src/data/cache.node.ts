import { createHash, randomBytes } from 'node:crypto'
import {
  closeSync,
  existsSync,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  readdirSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import type { PreprocessConfig } from '../model/preprocess.ts'

export { defaultCacheFolder } from '../runtime/cacheFolder.node.ts'

/**
 * Features on disk, so that a second run starts at once and a killed run loses no finished batch.
 *
 * `<cache>/features/<key>/<unique>.features` are segments: one per run, append-only, never rewritten.
 * The key covers everything that the numbers depend on: weights, preprocessing, views, and the
 * version below. A segment is a header, then records of equal size:
 *
 *     SHA-256 of the image file (32 bytes) | (1 + views) · dimension float32 | raw bytes | checksum (8)
 *
 * A record torn by a kill is shorter, or fails its checksum; readers skip it. Runs side by side
 * write different segments, so they can't harm each other.
 *
 * `<cache>/files/<folder>/<unique>.jsonl` remembers each file's size, modification time and hash, so
 * that known files aren't read again. An edit that keeps both size and time goes unseen: that is the
 * price of not reading every photo at every start (`--no-cache` reads all).
 */

/** Raise when decoding, augmentation or the file layout changes, so that old numbers aren't used. */
const formatVersion = 1
const magic = 'KLFEAT01'
const hashBytes = 32
const checksumBytes = 8
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
  private readonly folder: string
  private readonly header: Buffer
  private readonly featureBytes: number
  private readonly recordBytes: number
  private readonly places = new Map<string, { file: number; offset: number }>()
  private readonly files: number[] = []
  private readonly pending = new Map<string, Buffer>()
  private written = -1
  private total = 0

  /** Opens the cache and reads the hashes that it holds. Throws when its folder can't be made. */
  constructor(options: CacheOptions) {
    const { views, dimension } = options
    const { folder, text } = placeOf(options)
    this.featureBytes = 4 * (1 + views) * dimension
    this.recordBytes = recordBytesOf(options)
    this.header = Buffer.from(`${magic}${text}\n`)
    this.folder = folder
    mkdirSync(this.folder, { recursive: true })
    for (const name of readdirSync(this.folder)) {
      if (name.endsWith('.features')) this.readSegment(join(this.folder, name))
    }
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
    return { records: this.places.size + this.pending.size, bytes: this.total }
  }

  /** The hashes of all known images. */
  hashes(): Set<string> {
    return new Set([...this.places.keys(), ...this.pending.keys()])
  }

  /** The record of an image file, or undefined when there is none or it is damaged. */
  get(hash: string): CacheRecord | undefined {
    const record = this.pending.get(hash) ?? this.readRecord(hash)
    if (!record) return undefined
    const rawStart = hashBytes + this.featureBytes
    const features = new Float32Array(this.featureBytes / 4)
    new Uint8Array(features.buffer).set(record.subarray(hashBytes, rawStart))
    return {
      features,
      raw: new Uint8Array(record.subarray(rawStart, this.recordBytes - checksumBytes)),
    }
  }

  /** Adds a record; it is on disk after the next {@link flush}. */
  put(hash: string, { features, raw }: CacheRecord): void {
    if (features.byteLength + raw.byteLength !== this.recordBytes - hashBytes - checksumBytes) {
      throw new RangeError(
        `FeatureCache.put: record of ${features.length} floats, ${raw.length} bytes`,
      )
    }
    const record = Buffer.alloc(this.recordBytes)
    record.set(Buffer.from(hash, 'hex'))
    record.set(new Uint8Array(features.buffer, features.byteOffset, features.byteLength), hashBytes)
    record.set(raw, hashBytes + this.featureBytes)
    checksum(record).copy(record, this.recordBytes - checksumBytes)
    this.pending.set(hash, record)
  }

  /** Appends what was added to this run's segment. */
  flush(): void {
    if (this.pending.size === 0) return
    const blocks = [...this.pending.values()]
    if (this.written < 0) {
      const file = openSync(join(this.folder, `${uniqueName()}.features`), 'ax+')
      this.written = this.files.push(file) - 1
      blocks.unshift(this.header)
    }
    const file = this.files[this.written]
    const start = fstatSync(file).size
    try {
      writeAll(file, Buffer.concat(blocks))
    } catch (error) {
      ftruncateSync(file, start) // A full disk must not leave half a record in the middle.
      throw error
    }
    let offset = start || this.header.length
    for (const hash of this.pending.keys()) {
      this.places.set(hash, { file, offset })
      offset += this.recordBytes
    }
    this.total += blocks.reduce((sum, block) => sum + block.length, 0)
    this.pending.clear()
  }

  /** Closes the files; what was not flushed is lost. */
  close(): void {
    for (const file of this.files.splice(0)) closeSync(file)
    this.places.clear()
  }

  private readSegment(path: string): void {
    const file = openSync(path, 'r')
    const header = Buffer.alloc(this.header.length)
    readSync(file, header, 0, header.length, 0)
    const { size } = fstatSync(file)
    const count = Math.floor((size - header.length) / this.recordBytes)
    if (!header.equals(this.header) || count < 1) {
      closeSync(file) // torn in its first write
      return
    }
    this.files.push(file)
    this.total += size
    const hash = Buffer.alloc(hashBytes)
    for (let i = 0; i < count; i++) {
      const offset = header.length + i * this.recordBytes
      readSync(file, hash, 0, hashBytes, offset)
      this.places.set(hash.toString('hex'), { file, offset })
    }
  }

  private readRecord(hash: string): Buffer | undefined {
    const place = this.places.get(hash)
    if (!place) return undefined
    const record = Buffer.alloc(this.recordBytes)
    const read = readSync(place.file, record, 0, this.recordBytes, place.offset)
    const end = this.recordBytes - checksumBytes
    if (read === this.recordBytes && checksum(record).equals(record.subarray(end))) return record
    this.places.delete(hash)
    return undefined
  }
}

/** The folder that a cache has to itself, and the text that its name is the hash of. */
function placeOf(options: CacheOptions): { readonly folder: string; readonly text: string } {
  const { model, preprocess, views, seed, dimension, rawBytes } = options
  const { size, resize, mean, std } = preprocess
  const content = { formatVersion, model, size, resize, mean, std, views, seed, rawBytes }
  const text = JSON.stringify({ ...content, dimension, recordBytes: recordBytesOf(options) })
  const key = createHash('sha256').update(text).digest('hex').slice(0, 24)
  return { folder: join(options.folder, 'features', key), text }
}

function recordBytesOf({ views, dimension, rawBytes }: CacheOptions): number {
  return hashBytes + 4 * (1 + views) * dimension + rawBytes + checksumBytes
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

function uniqueName(): string {
  const time = Date.now().toString(36).padStart(9, '0')
  return `${time}-${process.pid}-${randomBytes(4).toString('hex')}`
}

function checksum(record: Buffer): Buffer {
  const content = record.subarray(0, record.length - checksumBytes)
  return createHash('sha256').update(content).digest().subarray(0, checksumBytes)
}

function writeAll(file: number, data: Buffer): void {
  for (let done = 0; done < data.length;) done += writeSync(file, data, done)
}
