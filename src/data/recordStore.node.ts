import { createHash, randomBytes } from 'node:crypto'
import {
  closeSync,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readSync,
  readdirSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'

const hashBytes = 32
const checksumBytes = 8

export interface RecordStoreOptions {
  /** Folder of the segments; made when it is missing. */
  readonly folder: string
  /** Ending of the segments' names. */
  readonly extension: string
  /** First line of every segment, with everything that the records depend on. */
  readonly header: string
  /** Bytes of a record's content. */
  readonly payloadBytes: number
}

/**
 * Records of equal size on disk, by the SHA-256 of an image's content.
 *
 * A folder holds segments: one per run, append-only, never rewritten. A segment is a header line, then
 *
 *     SHA-256 (32 bytes) | content | checksum (8)
 *
 * A record torn by a kill is shorter, or fails its checksum; readers skip it. Runs side by side write
 * different segments, so they can't harm each other.
 */
export class RecordStore {
  private readonly folder: string
  private readonly extension: string
  private readonly header: Buffer
  private readonly recordBytes: number
  private readonly places = new Map<string, { file: number; offset: number }>()
  private readonly files: number[] = []
  private readonly pending = new Map<string, Buffer>()
  private written = -1
  private total = 0

  /** Opens the store and reads the hashes that it holds. Throws when its folder can't be made. */
  constructor({ folder, extension, header, payloadBytes }: RecordStoreOptions) {
    this.folder = folder
    this.extension = extension
    this.header = Buffer.from(header)
    this.recordBytes = recordBytesOf(payloadBytes)
    mkdirSync(folder, { recursive: true })
    for (const name of readdirSync(folder)) {
      if (name.endsWith(extension)) this.readSegment(join(folder, name))
    }
  }

  /** How many images this store knows, and the bytes of its segments on disk. */
  get size(): { readonly records: number; readonly bytes: number } {
    return { records: this.places.size + this.pending.size, bytes: this.total }
  }

  /** The hashes of all known images. */
  hashes(): Set<string> {
    return new Set([...this.places.keys(), ...this.pending.keys()])
  }

  /** The content of an image's record, or undefined when there is none or it is damaged. */
  get(hash: string): Buffer | undefined {
    const record = this.pending.get(hash) ?? this.readRecord(hash)
    return record?.subarray(hashBytes, this.recordBytes - checksumBytes)
  }

  /** Adds a record; it is on disk after the next {@link flush}. */
  put(hash: string, ...parts: readonly Uint8Array[]): void {
    const length = parts.reduce((sum, part) => sum + part.length, 0)
    if (length !== this.recordBytes - hashBytes - checksumBytes) {
      throw new RangeError(
        `RecordStore.put: ${length} bytes, expected ${this.recordBytes - hashBytes - checksumBytes}`,
      )
    }
    const record = Buffer.alloc(this.recordBytes)
    record.set(Buffer.from(hash, 'hex'))
    let at = hashBytes
    for (const part of parts) {
      record.set(part, at)
      at += part.length
    }
    checksum(record).copy(record, at)
    this.pending.set(hash, record)
  }

  /** Appends what was added to this run's segment. */
  flush(): void {
    if (this.pending.size === 0) return
    const blocks = [...this.pending.values()]
    if (this.written < 0) {
      const file = openSync(join(this.folder, `${uniqueName()}${this.extension}`), 'ax+')
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

/** Bytes on disk of a record with this content. */
export function recordBytesOf(payloadBytes: number): number {
  return hashBytes + payloadBytes + checksumBytes
}

/** A file name that no other run takes; names sort by their time. */
export function uniqueName(): string {
  const time = Date.now().toString(36).padStart(9, '0')
  return `${time}-${process.pid}-${randomBytes(4).toString('hex')}`
}

export function writeAll(file: number, data: Buffer): void {
  for (let done = 0; done < data.length;) done += writeSync(file, data, done)
}

function checksum(record: Buffer): Buffer {
  const content = record.subarray(0, record.length - checksumBytes)
  return createHash('sha256').update(content).digest().subarray(0, checksumBytes)
}
