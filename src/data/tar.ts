import { KeeplightError } from '../runtime/errors.ts'
import { entryName } from './entryName.ts'
import { archiveLimits, type ArchiveLimits } from './limits.ts'
import { checksumHolds, numberAt, parsePax, textAt } from './tarHeader.ts'

/** Tar archives as a stream, in constant memory: ustar, GNU and pax headers. */

/** A regular file in a tar archive. */
export interface TarEntry {
  readonly name: string
  readonly size: number
  /** Where its bytes begin in the archive. */
  readonly offset: number
}

/** Told what a tar archive holds, in its order. */
export interface TarSink {
  /** A regular file begins; true asks for its bytes. */
  entry(entry: TarEntry): boolean
  /** Bytes of the file that was asked for: a view of what was pushed. */
  data?(part: Uint8Array): void
  /** The file that was asked for is complete. */
  end?(): void
}

const BLOCK = 512

/**
 * Takes an archive in chunks of any length and tells its sink of the files in it.
 *
 * Refused, by name: links, devices, sparse and unknown kinds of entries, paths that lead out of the
 * archive, headers whose checksum is wrong, and more than the limits allow.
 *
 * @throws KeeplightError `input` from `push` and `finish`
 */
export class TarParser {
  /** Bytes taken so far, those skipped included. */
  position = 0
  readonly #archive: string
  readonly #sink: TarSink
  readonly #limits: ArchiveLimits
  readonly #block = new Uint8Array(BLOCK)
  #filled = 0
  #content = 0
  #padding = 0
  #wanted = false
  #ended = false
  #entries = 0
  /** An extended header that is being collected. */
  #meta: { readonly kind: string; readonly bytes: Uint8Array; filled: number } | undefined
  /** What extended headers say about the next file. */
  #next: { path?: string; size?: number } = {}

  /** @param archive what errors call it */
  constructor(archive: string, sink: TarSink, limits: ArchiveLimits = archiveLimits) {
    this.#archive = archive
    this.#sink = sink
    this.#limits = limits
  }

  /** Whether the mark of the end was seen; what follows is ignored. */
  get ended(): boolean {
    return this.#ended
  }

  /** How many of the next bytes nobody asked for; `skip` takes them for pushed. */
  get skippable(): number {
    return this.#wanted || this.#meta || this.#filled > 0 ? 0 : this.#content + this.#padding
  }

  skip(): void {
    const bytes = this.skippable
    if (bytes === 0) return
    this.position += bytes
    this.#content = this.#padding = 0
  }

  push(chunk: Uint8Array): void {
    for (let at = 0; at < chunk.length && !this.#ended;) {
      const left = chunk.length - at
      const taken =
        this.#content > 0
          ? this.#takeContent(chunk.subarray(at, at + Math.min(left, this.#content)))
          : this.#padding > 0
            ? this.#takePadding(Math.min(left, this.#padding))
            : this.#takeHeader(chunk.subarray(at, at + Math.min(left, BLOCK - this.#filled)))
      at += taken
    }
  }

  /** To be called at the end of the archive. */
  finish(): void {
    if (this.#ended) return
    throw this.#error(
      `ends after ${this.position} bytes without the mark of its end; the file is cut. Get it again`,
    )
  }

  #takeContent(part: Uint8Array): number {
    this.position += part.length
    this.#content -= part.length
    if (this.#meta) {
      this.#meta.bytes.set(part, this.#meta.filled)
      this.#meta.filled += part.length
      if (this.#content === 0) this.#endMeta()
    } else if (this.#wanted) {
      this.#sink.data?.(part)
      if (this.#content === 0) this.#endFile()
    }
    return part.length
  }

  #takePadding(bytes: number): number {
    this.position += bytes
    this.#padding -= bytes
    return bytes
  }

  #takeHeader(part: Uint8Array): number {
    this.position += part.length
    this.#block.set(part, this.#filled)
    this.#filled += part.length
    if (this.#filled === BLOCK) {
      this.#filled = 0
      this.#readHeader(this.#block)
    }
    return part.length
  }

  #readHeader(block: Uint8Array): void {
    if (block.every((byte) => byte === 0)) {
      this.#ended = true
      return
    }
    const at = this.position - BLOCK
    if (!checksumHolds(block)) {
      throw this.#error(
        at === 0
          ? 'does not begin with a tar header; expected a tar archive. Pack the images again'
          : `the header at byte ${at} is damaged (wrong checksum). Get the archive again`,
      )
    }
    if (++this.#entries > this.#limits.entries) {
      throw this.#error(`has more than ${this.#limits.entries} entries. Split it`)
    }
    const kind = String.fromCharCode(block[156]!)
    const size = numberAt(block, 124, 12)
    if (size === undefined) throw this.#error(`the size in the header at byte ${at} is no number`)
    if (kind === 'x' || kind === 'g' || kind === 'L' || kind === 'K' || kind === 'X') {
      this.#beginMeta(kind, size, at)
      return
    }
    const { path = headerName(block), size: length = size } = this.#next
    this.#next = {}
    const name = entryName(path, this.#archive, this.#limits.nameBytes)
    // An old tar marks a folder by nothing but the end of its name.
    const isFile = (kind === '0' || kind === '\0' || kind === '7') && !path.endsWith('/')
    const isFolder = kind === '5' || kind === 'D' || (!isFile && '0\x007'.includes(kind))
    if (isFile) this.#beginFile(name, length)
    else if (isFolder) this.#beginIgnored(kind === 'D' ? length : 0)
    else if (kind === 'V') this.#beginIgnored(0)
    else {
      throw this.#error(
        `the entry ${JSON.stringify(name.slice(0, 200))} is ${kindNames[kind] ?? `of an unknown kind (${JSON.stringify(kind)})`}; ` +
          'expected files and folders alone. Pack it again without',
      )
    }
  }

  #beginMeta(kind: string, size: number, at: number): void {
    if (size > this.#limits.headerBytes) {
      throw this.#error(
        `the extended header at byte ${at} has ${size} bytes, at most ${this.#limits.headerBytes} are read`,
      )
    }
    this.#begin(size)
    this.#wanted = false
    this.#meta = { kind, bytes: new Uint8Array(size), filled: 0 }
    if (size === 0) this.#endMeta()
  }

  #endMeta(): void {
    const { kind, bytes } = this.#meta!
    this.#meta = undefined
    if (kind === 'L') this.#next.path = textAt(bytes, 0, bytes.length)
    if (kind !== 'x') return // a long name of a link, or notes for all that follows
    const records = parsePax(bytes)
    if (!records) throw this.#error(`the pax header before byte ${this.position} is damaged`)
    for (const [key, value] of records) {
      if (key === 'path') this.#next.path = value
      if (key.startsWith('GNU.sparse.')) {
        throw this.#error(
          `has a sparse file before byte ${this.position}. Pack it without --sparse`,
        )
      }
      if (key === 'size') {
        const size = /^\d{1,16}$/.test(value) ? Number(value) : NaN
        if (!Number.isSafeInteger(size)) {
          throw this.#error(`the pax header before byte ${this.position} has no sound size`)
        }
        this.#next.size = size
      }
    }
  }

  #beginFile(name: string, size: number): void {
    if (name === '') throw this.#error(`a file before byte ${this.position} has no name`)
    this.#wanted = this.#sink.entry({ name, size, offset: this.position })
    this.#begin(size)
    if (size === 0 && this.#wanted) this.#endFile()
  }

  #endFile(): void {
    this.#wanted = false
    this.#sink.end?.()
  }

  #beginIgnored(size: number): void {
    this.#wanted = false
    this.#begin(size)
  }

  #begin(size: number): void {
    const padding = (BLOCK - (size % BLOCK)) % BLOCK
    if (!Number.isSafeInteger(this.position + size + padding)) {
      throw this.#error(`an entry before byte ${this.position} claims ${size} bytes`)
    }
    this.#content = size
    this.#padding = padding
  }

  #error(problem: string): KeeplightError {
    return new KeeplightError('input', `${this.#archive}: ${problem}.`)
  }
}

const kindNames: Readonly<Record<string, string>> = {
  1: 'a hard link',
  2: 'a symbolic link',
  3: 'a character device',
  4: 'a block device',
  6: 'a pipe',
  S: 'a sparse file',
  M: 'the rest of a file in another volume',
}

/** The name of a plain header: ustar puts the front of a long one into a field of its own. */
function headerName(block: Uint8Array): string {
  const name = textAt(block, 0, 100)
  const isUstar = textAt(block, 257, 6) === 'ustar' && block[263] === 0x30
  const prefix = isUstar ? textAt(block, 345, 155) : ''
  return prefix === '' ? name : `${prefix}/${name}`
}
