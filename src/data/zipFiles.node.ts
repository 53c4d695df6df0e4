import type { FileHandle } from 'node:fs/promises'
import { Readable, pipeline } from 'node:stream'
import { createInflateRaw } from 'node:zlib'
import yauzl from 'yauzl'
import { KeeplightError } from '../runtime/errors.ts'
import { crc32 } from './crc32.ts'
import { openUnchanged, readRange, type DiskFile } from './diskFile.node.ts'
import { entryName } from './entryName.ts'
import type { FilePart, FileSet } from './fileSet.ts'
import type { ArchiveLimits } from './limits.ts'
import { refuseTwins } from './tarFiles.node.ts'

/** Deflate can't shrink bytes to less than one in 1032. */
const deflateRatio = 1032
const windowBytes = 64 * 1024
const localHeaderBytes = 30

/** What is needed to read an entry's bytes. */
interface ZipPlaces {
  readonly names: string[]
  readonly sizes: number[]
  readonly offsets: number[]
  readonly stored: number[]
  readonly isDeflated: boolean[]
  readonly checksums: number[]
}

/**
 * The files of a zip archive, by its central directory, which yauzl reads. An entry whose bytes are
 * damaged is told of in its turn; the others can be read.
 *
 * @throws KeeplightError `input`: no zip, encrypted entries, links, methods other than stored and
 *   deflate, names that lead out or come twice, more than the limits allow
 */
export async function openZip(
  file: DiskFile,
  limits: ArchiveLimits,
  signal?: AbortSignal,
): Promise<FileSet> {
  const handle = await openUnchanged(file)
  let places: ZipPlaces
  try {
    places = await readDirectory(handle, file, limits, signal)
  } finally {
    await handle.close()
  }
  refuseTwins(file.path, places.names)
  return {
    root: file.path,
    kind: 'zip',
    names: places.names,
    sizes: places.sizes,
    holder: () => file.path,
    read: (indices, signal) => readEntries(file, places, indices, signal),
  }
}

/** Reads of the directory by windows, since an entry takes two small ones. */
class WindowReader extends yauzl.RandomAccessReader {
  /** Rejects with what yauzl throws where it can't be caught. */
  readonly failed: Promise<never>
  #fail!: (error: unknown) => void
  #window = Buffer.alloc(0)
  #begin = 0

  constructor(
    private readonly handle: FileHandle,
    private readonly file: DiskFile,
  ) {
    super()
    this.failed = new Promise((_, reject) => (this.#fail = reject))
    this.failed.catch(() => {})
  }

  override read(
    buffer: Buffer,
    offset: number,
    length: number,
    position: number,
    callback: (error: Error | null, bytesRead?: number) => void,
  ): void {
    this.#copy(buffer, offset, length, position)
      .then(
        (bytesRead) => callback(null, bytesRead),
        (error: Error) => callback(error),
      )
      .catch((error: unknown) => this.#fail(error))
  }

  async #copy(buffer: Buffer, offset: number, length: number, position: number): Promise<number> {
    if (!(position >= 0) || position + length > this.file.size) {
      throw new Error(`the directory leads to byte ${position}, where there is none`)
    }
    const isInside =
      position >= this.#begin && position + length <= this.#begin + this.#window.length
    if (!isInside) {
      const window = Buffer.allocUnsafeSlow(
        Math.min(Math.max(length, windowBytes), this.file.size - position),
      )
      const { bytesRead } = await this.handle.read(window, 0, window.length, position)
      this.#window = window.subarray(0, bytesRead)
      this.#begin = position
    }
    const from = position - this.#begin
    return this.#window.copy(buffer, offset, from, from + length)
  }
}

async function readDirectory(
  handle: FileHandle,
  file: DiskFile,
  limits: ArchiveLimits,
  signal: AbortSignal | undefined,
): Promise<ZipPlaces> {
  const reader = new WindowReader(handle, file)
  const list = async (): Promise<ZipPlaces> => {
    // Names are decoded below, where one rule for all archives refuses bad ones.
    const options = { decodeStrings: false, validateEntrySizes: true, autoClose: false }
    const zip = await yauzl.fromRandomAccessReaderPromise(reader, file.size, options)
    if (zip.entryCount > limits.entries) {
      throw refusal(file, `claims ${zip.entryCount} entries, at most ${limits.entries} are read`)
    }
    const places: ZipPlaces = {
      ...{ names: [], sizes: [], offsets: [], stored: [], isDeflated: [], checksums: [] },
    }
    const sums = { stored: 0, inflated: 0 }
    for await (const entry of zip.eachEntry()) {
      if (signal?.aborted) throw new KeeplightError('aborted', 'reading was stopped')
      addEntry(entry, places, sums, file, limits)
    }
    return places
  }
  try {
    return await Promise.race([list(), reader.failed])
  } catch (cause) {
    if (cause instanceof KeeplightError) throw cause
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new KeeplightError(
      'input',
      `${file.path}: cannot be read as a zip archive (${reason.slice(0, 300)}). Get it again, or pack it again.`,
      { cause },
    )
  }
}

function addEntry(
  entry: yauzl.Entry,
  places: ZipPlaces,
  sums: { stored: number; inflated: number },
  file: DiskFile,
  limits: ArchiveLimits,
): void {
  const raw = yauzl.getFileNameLowLevel(
    entry.generalPurposeBitFlag,
    entry.fileNameRaw,
    entry.extraFields,
    false,
  )
  const name = entryName(raw, file.path, limits.nameBytes)
  const refuse = (problem: string): never => {
    throw refusal(file, `the entry ${JSON.stringify(name.slice(0, 200))} ${problem}`)
  }
  checkKind(entry, refuse)
  const { uncompressedSize: size, compressedSize: stored } = entry
  const offset = entry.relativeOffsetOfLocalHeader
  if (raw.endsWith('/')) return
  if (name === '') refuse('has no name')
  if (![size, stored, offset].every((value) => Number.isSafeInteger(value) && value >= 0)) {
    refuse('claims sizes beyond all bounds')
  }
  if (offset + localHeaderBytes + stored > file.size) refuse('lies beyond the end of the file')
  if (size > stored * deflateRatio) {
    refuse(`claims ${size} bytes inflated from ${stored}, more than deflate can hold`)
  }
  sums.stored += stored + localHeaderBytes
  sums.inflated += size
  if (sums.stored > file.size) refuse('shares bytes with others; it may be a decompression bomb')
  const most = Math.min(limits.totalBytes, limits.freeBytes + limits.ratio * file.size)
  if (sums.inflated > most) {
    throw refusal(
      file,
      `inflates to more than ${most} bytes (${limits.ratio} times its size, or ${limits.totalBytes} in ` +
        'all); it may be a decompression bomb',
    )
  }
  places.names.push(name)
  places.sizes.push(size)
  places.offsets.push(offset)
  places.stored.push(stored)
  places.isDeflated.push(entry.compressionMethod === 8)
  places.checksums.push(entry.crc32)
}

function checkKind(entry: yauzl.Entry, refuse: (problem: string) => never): void {
  if (entry.isEncrypted() || entry.compressionMethod === 99) {
    refuse('is encrypted')
  }
  if (entry.compressionMethod !== 0 && entry.compressionMethod !== 8) {
    refuse(`is packed by method ${entry.compressionMethod}, expected stored (0) or deflate (8)`)
  }
  // The upper half holds a Unix mode where a Unix packed it; 0 names no kind.
  const kind = (entry.externalFileAttributes >>> 28) & 15
  const madeBy = entry.versionMadeBy >>> 8
  if ((madeBy === 3 || madeBy === 19) && kind !== 0 && kind !== 8 && kind !== 4) {
    refuse(kind === 10 ? 'is a symbolic link' : 'is a device or the like')
  }
}

function refusal({ path }: DiskFile, problem: string): KeeplightError {
  return new KeeplightError(
    'input',
    `${path}: ${problem}. Pack the images again, as plain files without a password.`,
  )
}

async function* readEntries(
  file: DiskFile,
  places: ZipPlaces,
  indices: readonly number[],
  signal: AbortSignal | undefined,
): AsyncGenerator<FilePart> {
  if (indices.length === 0) return
  const handle = await openUnchanged(file)
  try {
    for (const index of indices) yield* readEntry(handle, file, places, index, signal)
  } finally {
    await handle.close()
  }
}

async function* readEntry(
  handle: FileHandle,
  file: DiskFile,
  { sizes, offsets, stored, isDeflated, checksums }: ZipPlaces,
  index: number,
  signal: AbortSignal | undefined,
): AsyncGenerator<FilePart> {
  const size = sizes[index]!
  const damaged = (problem: string): FilePart => ({
    ...{ index, data: new Uint8Array(0), last: true },
    problem: `damaged in the archive: ${problem}`,
  })
  const header = Buffer.alloc(localHeaderBytes)
  await handle.read(header, 0, localHeaderBytes, offsets[index]!)
  if (header.readUInt32LE(0) !== 0x04034b50) {
    yield damaged('its header is not where the directory says')
    return
  }
  const begin =
    offsets[index]! + localHeaderBytes + header.readUInt16LE(26) + header.readUInt16LE(28)
  const end = begin + stored[index]!
  if (end > file.size) {
    yield damaged('it lies beyond the end of the file')
    return
  }
  const bytes = readRange(handle, file.path, begin, end, signal)
  let total = 0
  let crc = 0
  let held: Uint8Array = new Uint8Array(0)
  try {
    for await (const data of isDeflated[index] ? inflateRaw(bytes) : bytes) {
      if (total > 0) yield { index, data: held, last: false }
      held = data
      total += data.length
      crc = crc32(data, crc)
      if (total > size) break
    }
  } catch (error) {
    if (error instanceof KeeplightError) throw error
    yield damaged(error instanceof Error ? error.message : String(error))
    return
  }
  if (total !== size) yield damaged(`expected ${size} bytes, got ${total > size ? 'more' : total}`)
  else if (crc !== checksums[index]) yield damaged('its checksum is wrong')
  else yield { index, data: held, last: true }
}

async function* inflateRaw(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const inflate = createInflateRaw({ chunkSize: 64 * 1024 })
  const input = Readable.from(bytes, { objectMode: false })
  pipeline(input, inflate, () => {})
  try {
    yield* inflate as AsyncIterable<Uint8Array>
  } finally {
    input.destroy()
    inflate.destroy()
  }
}
