import type { FileHandle } from 'node:fs/promises'
import { pipeline } from 'node:stream'
import { createGunzip } from 'node:zlib'
import { KeeplightError } from '../runtime/errors.ts'
import { changed, openUnchanged, readError, readRange, type DiskFile } from './diskFile.node.ts'
import type { FilePart, FileSet } from './fileSet.ts'
import type { ArchiveLimits } from './limits.ts'
import { TarParser, type TarEntry } from './tar.ts'

/** Headers are read in pieces of this many bytes, so that large files are stepped over. */
const headerBytes = 64 * 1024

/**
 * The files of a tar archive, plain or gzipped. A plain one is read by offsets; a gzipped one is
 * inflated once to list it, and again whenever files are read, in constant memory beside the names.
 *
 * @throws KeeplightError `input`: see {@link TarParser}; a name twice; damaged gzip data; a bomb
 */
export async function openTar(
  file: DiskFile,
  gzip: boolean,
  limits: ArchiveLimits,
  signal?: AbortSignal,
): Promise<FileSet> {
  const names: string[] = []
  const sizes: number[] = []
  const offsets: number[] = []
  const sink = {
    entry: ({ name, size, offset }: TarEntry): boolean => {
      names.push(name)
      sizes.push(size)
      offsets.push(offset)
      return false
    },
  }
  const parser = new TarParser(file.path, sink, limits)
  const handle = await openUnchanged(file)
  try {
    if (gzip) {
      // To the end, so that the checksum of gzip is compared.
      for await (const chunk of inflate(handle, file, limits, signal)) parser.push(chunk)
    } else {
      await walk(handle, file, parser, signal)
    }
  } finally {
    await handle.close()
  }
  parser.finish()
  refuseTwins(file.path, names)
  const known = { names, sizes, offsets }
  return {
    root: file.path,
    kind: gzip ? 'tar.gz' : 'tar',
    names,
    sizes,
    holder: () => file.path,
    read: (indices, signal) =>
      gzip
        ? readInflated(file, known, indices, limits, signal)
        : readByOffset(file, known, indices, signal),
  }
}

/** @throws KeeplightError `input` when two entries of an archive share a name */
export function refuseTwins(archive: string, names: readonly string[]): void {
  if (new Set(names).size === names.length) return
  const seen = new Set<string>()
  const twin = names.find((name) => seen.size === seen.add(name).size)
  throw new KeeplightError(
    'input',
    `${archive}: has two files named ${JSON.stringify(twin?.slice(0, 200))}; expected each name once. ` +
      'Pack it again from its folder.',
  )
}

interface Known {
  readonly names: readonly string[]
  readonly sizes: readonly number[]
  readonly offsets: readonly number[]
}

async function walk(
  handle: FileHandle,
  file: DiskFile,
  parser: TarParser,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { path, size } = file
  while (!parser.ended && parser.position < size) {
    const end = Math.min(size, parser.position + headerBytes)
    for await (const chunk of readRange(handle, path, parser.position, end, signal)) {
      parser.push(chunk)
    }
    parser.skip()
  }
  if (parser.position > size) {
    throw new KeeplightError('input', `${path}: ends within a file; it is cut. Get it again.`)
  }
}

/** The inflated bytes of a gzipped file, within the limits. */
async function* inflate(
  handle: FileHandle,
  { path, size }: DiskFile,
  { ratio, freeBytes, totalBytes }: ArchiveLimits,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
  const gunzip = createGunzip({ chunkSize: 64 * 1024 })
  const input = handle.createReadStream({ start: 0, autoClose: false, highWaterMark: 256 * 1024 })
  // Errors of either come out of the iteration below.
  pipeline(input, gunzip, () => {})
  const most = Math.min(totalBytes, freeBytes + ratio * size)
  let total = 0
  try {
    for await (const chunk of gunzip as AsyncIterable<Uint8Array>) {
      if (signal?.aborted) throw new KeeplightError('aborted', 'reading was stopped')
      total += chunk.length
      if (total > most) {
        throw new KeeplightError(
          'input',
          `${path}: inflates to more than ${most} bytes (${ratio} times its size, or ${totalBytes} ` +
            'in all); it may be a decompression bomb. Unpack it by hand and give the folder.',
        )
      }
      yield chunk
    }
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? ''
    if (!code.startsWith('Z_')) throw readError(path, cause)
    const problem = code === 'Z_BUF_ERROR' ? 'is cut' : 'is damaged'
    throw new KeeplightError(
      'input',
      `${path}: the gzip data ${problem} (${(cause as Error).message}). Get it again.`,
      { cause },
    )
  } finally {
    gunzip.destroy()
    input.destroy()
  }
}

async function* readInflated(
  file: DiskFile,
  { names, sizes }: Known,
  indices: readonly number[],
  limits: ArchiveLimits,
  signal: AbortSignal | undefined,
): AsyncGenerator<FilePart> {
  let entry = -1
  let next = 0
  let left = 0
  const parts: FilePart[] = []
  const parser = new TarParser(
    file.path,
    {
      entry: ({ name, size }) => {
        entry++
        if (name !== names[entry] || size !== sizes[entry]) throw changed(file.path)
        left = size
        return entry === indices[next]
      },
      data: (data) => {
        left -= data.length
        if (left > 0) parts.push({ index: entry, data, last: false })
        else parts.push({ index: entry, data, last: true })
      },
      end: () => {
        if (sizes[entry] === 0) parts.push({ index: entry, data: new Uint8Array(0), last: true })
        next++
      },
    },
    limits,
  )
  if (indices.length === 0) return
  const handle = await openUnchanged(file)
  try {
    for await (const chunk of inflate(handle, file, limits, signal)) {
      parser.push(chunk)
      yield* parts.splice(0)
      if (next === indices.length) return
    }
  } finally {
    await handle.close()
  }
  throw changed(file.path)
}

async function* readByOffset(
  file: DiskFile,
  { sizes, offsets }: Known,
  indices: readonly number[],
  signal: AbortSignal | undefined,
): AsyncGenerator<FilePart> {
  if (indices.length === 0) return
  const handle = await openUnchanged(file)
  try {
    for (const index of indices) {
      if (sizes[index] === 0) yield { index, data: new Uint8Array(0), last: true }
      let left = sizes[index]!
      const end = offsets[index]! + left
      for await (const data of readRange(handle, file.path, offsets[index]!, end, signal)) {
        left -= data.length
        yield { index, data, last: left === 0 }
      }
    }
  } finally {
    await handle.close()
  }
}
