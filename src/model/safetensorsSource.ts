import { KeeplightError } from '../runtime/errors.ts'
import { checkSize, hex, sha256Hex, type ByteSource } from './byteRange.ts'
import { readSpans, requestsFor } from './readSpans.ts'
import { headerEnd, parseHeader, show, type TensorInfo } from './safetensorsHeader.ts'
import { openShards, type ShardedSource } from './shards.ts'
import { toFloats, type StoredTensor } from './storedTensor.ts'

export type { ShardedSource } from './shards.ts'

/** One file of a checkpoint, its header read and checked. */
export interface SafetensorsPart {
  readonly source: ByteSource
  readonly tensors: ReadonlyMap<string, TensorInfo>
  readonly metadata: ReadonlyMap<string, string>
  readonly dataStart: number
  /** SHA-256 of the header with its length, in hex. */
  readonly headerHash: string
}

/**
 * Reads and checks a file's header, its length against the file's, and no byte of its data.
 *
 * @throws KeeplightError `format` for anything that the format doesn't allow
 */
export async function openPart(source: ByteSource, signal?: AbortSignal): Promise<SafetensorsPart> {
  const { size } = source
  const start = await source.read(0, Math.min(8, size), signal)
  const end = named(source, () => headerEnd(start, size))
  // The first bytes are not read again: a source that only goes forwards would start anew.
  const head = new Uint8Array(end)
  head.set(start)
  head.set(await source.read(start.length, end, signal), start.length)
  const { tensors, metadata, dataStart } = named(source, () => parseHeader(head, size))
  return { source, tensors, metadata, dataStart, headerHash: await sha256Hex(head) }
}

/** Errors of the format with the file's name before them. */
function named<T>({ name }: ByteSource, read: () => T): T {
  try {
    return read()
  } catch (error) {
    if (!(error instanceof KeeplightError)) throw error
    throw new KeeplightError(error.code, `${name}: ${error.message}`, { cause: error.cause })
  }
}

export interface StreamOptions {
  readonly signal?: AbortSignal
  readonly onProgress?: (progress: LoadProgress) => void
}

export interface LoadProgress {
  /** Bytes of weights that have come. */
  readonly bytes: number
  /** Bytes of all that are asked for. */
  readonly total: number
}

/**
 * A checkpoint whose tensors are read when they are asked for, from one file or several.
 */
export class SafetensorsSource {
  readonly name: string
  /** By name, in the order of the files and of the data in them. */
  readonly tensors: ReadonlyMap<string, TensorInfo>
  readonly metadata: ReadonlyMap<string, string>
  readonly #parts: readonly SafetensorsPart[]
  readonly #partOf = new Map<string, SafetensorsPart>()
  readonly #hashes = new Map<string, string>()

  /** @internal Use {@link openSafetensors}. */
  constructor(name: string, parts: readonly SafetensorsPart[]) {
    this.name = name
    this.#parts = parts
    const tensors = new Map<string, TensorInfo>()
    for (const part of parts) {
      for (const [tensor, info] of part.tensors) {
        tensors.set(tensor, info)
        this.#partOf.set(tensor, part)
      }
    }
    this.tensors = tensors
    this.metadata = new Map(parts.flatMap(({ metadata }) => [...metadata]))
  }

  /** Whether tensors can be read again later at little cost. */
  get durable(): boolean {
    return this.#parts.every(({ source }) => source.durable === true)
  }

  /** A tensor as the file has it. */
  async tensor(name: string, signal?: AbortSignal): Promise<StoredTensor> {
    const { dtype, shape, begin, end } = this.#info(name)
    const { source, dataStart } = this.#partOf.get(name)!
    const bytes = await source.read(dataStart + begin, dataStart + end, signal)
    return { dtype, shape, bytes }
  }

  /** The values of an F16, BF16, F32 or F64 tensor; others throw. */
  async float32(name: string, signal?: AbortSignal): Promise<Float32Array<ArrayBuffer>> {
    return toFloats(name, await this.tensor(name, signal))
  }

  /**
   * Tensors one after the other in the order of the data, neighbours in one request.
   *
   * @param names each once
   */
  async *stream(
    names: Iterable<string>,
    { signal, onProgress }: StreamOptions = {},
  ): AsyncGenerator<StoredTensor & { readonly name: string }, void, undefined> {
    const wanted = new Set(names)
    wanted.forEach((name) => this.#info(name))
    const files = this.#parts.map((part) => {
      const entries = [...part.tensors].filter(([name]) => wanted.has(name))
      const spans = entries.map(([, { begin, end }]) => {
        checkSize(this.name, end - begin)
        return { begin: part.dataStart + begin, end: part.dataStart + end }
      })
      return { part, entries, spans }
    })
    const requests = files.flatMap(({ spans }) => requestsFor(spans))
    const total = requests.reduce((sum, { begin, end }) => sum + end - begin, 0)
    let bytes = 0
    onProgress?.({ bytes, total })
    const onRequest = (read: number): void => onProgress?.({ bytes: (bytes += read), total })
    for (const { part, entries, spans } of files) {
      let next = 0
      for await (const data of readSpans(part.source, spans, { signal, onRequest })) {
        const [name, { dtype, shape }] = entries[next++]!
        if (!this.#hashes.has(name)) this.#hashes.set(name, await sha256Hex(data))
        yield { name, dtype, shape, bytes: data }
      }
    }
  }

  /**
   * What identifies the weights, in hex. Of one file that lies here: its SHA-256. Otherwise, as not
   * all of it was fetched, the SHA-256 over the SHA-256 of each header and of each of these tensors in
   * the order of the data; the same however the bytes came.
   *
   * @param names tensors that were streamed
   */
  async hash(names: Iterable<string>, signal?: AbortSignal): Promise<string> {
    const [first, ...others] = this.#parts
    if (first?.source.sha256 && others.length === 0) return first.source.sha256(signal)
    const wanted = new Set(names)
    const digests = this.#parts.flatMap(({ headerHash, tensors }) => {
      const streamed = [...tensors.keys()].filter((name) => wanted.has(name))
      return [headerHash, ...streamed.map((name) => this.#hashes.get(name) ?? '')]
    })
    const bytes = new TextEncoder().encode(digests.join('\n'))
    return hex(await crypto.subtle.digest('SHA-256', bytes))
  }

  /** Gives back what the files hold open; a later read opens them again. */
  async close(): Promise<void> {
    await Promise.all(this.#parts.map(async ({ source }) => source.close?.()))
  }

  #info(name: string): TensorInfo {
    const info = this.tensors.get(name)
    if (info) return info
    const some = [...this.tensors.keys()].slice(0, 5).join(', ') || 'none'
    throw new KeeplightError(
      'format',
      `${this.name}: no tensor ${show(name)}; it has ${this.tensors.size}, the first are ${some}`,
    )
  }
}

/**
 * Opens a safetensors file, or the files of a `model.safetensors.index.json`, reading nothing but
 * headers.
 *
 * @throws KeeplightError `format` when a header is damaged or the files do not fit their index
 */
export async function openSafetensors(
  source: ByteSource | ShardedSource,
  { signal }: { readonly signal?: AbortSignal } = {},
): Promise<SafetensorsSource> {
  if ('read' in source) return new SafetensorsSource(source.name, [await openPart(source, signal)])
  const { name, index, open } = source
  return new SafetensorsSource(name, await openShards(name, index, open, openPart, signal))
}

/**
 * Opens the files of an index.
 *
 * @param index text of `model.safetensors.index.json`
 * @param open a file by its name in the index, which is relative to it
 */
export function openShardedSafetensors(
  index: string,
  open: (file: string) => Promise<ByteSource>,
  { name = 'model.safetensors.index.json', signal }: { name?: string; signal?: AbortSignal } = {},
): Promise<SafetensorsSource> {
  return openSafetensors({ name, index, open }, { signal })
}
