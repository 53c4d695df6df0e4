import { rm } from 'node:fs/promises'
import { floatToHalf } from '../model/half.ts'
import type { VisionModel } from '../model/model.ts'
import { KeeplightError } from '../runtime/errors.ts'
import type { ImageCollection } from './collection.ts'
import { decodeCollection, type PoolSettings } from './decode.node.ts'
import { ChunkStore, chunksOf, imagesOf, jobDifference, listingHash } from './embedJob.node.ts'
import type { Chunk, EmbedJob, FailedImage, Pictures, Shard } from './embedJob.node.ts'
import { FeatureFile, featurePaths, writeFeatureFile } from './featureFile.node.ts'
import type { FeatureBlock } from './featureFile.node.ts'

/** What embedding needs of a model; a `VisionModel` has it. */
export type CollectionEncoder = Pick<
  VisionModel,
  'name' | 'hash' | 'preprocess' | 'dimension' | 'embedPixels'
>

export interface EmbedCollectionOptions {
  /** The file of features, ending in `.safetensors`. */
  readonly out: string
  /** Default 0 of 1: everything. */
  readonly shard?: Shard
  /** Dtype of the stored features. Default f32. */
  readonly store?: 'f32' | 'f16'
  /** Dtype of the encoder's weights, as noted in the file. */
  readonly weights?: string
  /** Images that are saved together. Default 256. */
  readonly chunk?: number
  /**
   * `exact` resizes as Pillow does, to the byte, and nothing else; `reduced` lets the decoder halve large
   * photos first, which is faster and moves pixels by less than a level on average. Default `exact`.
   */
  readonly pictures?: Pictures
  /** Images that go through the encoder together. Default 32. */
  readonly batch?: number
  /** What computes, as noted in the file. */
  readonly adapter?: string
  /** Starts anew where there are features already, finished or not. */
  readonly overwrite?: boolean
  readonly signal?: AbortSignal
  readonly decoding?: Omit<PoolSettings, 'signal'>
  /** Told the images of this shard that are saved or under way. */
  readonly onProgress?: (done: number, total: number) => void
}

export interface EmbedCollectionResult {
  /** Images of this shard. */
  readonly images: number
  /** Rows of the file: images that could be read. */
  readonly rows: number
  readonly failed: number
  /** Images whose features were there from an earlier run. */
  readonly reused: number
  readonly paths: ReturnType<typeof featurePaths>
}

/** The shard that is everything. */
export const WHOLE: Shard = { index: 0, count: 1 }

/** Chunks that wait to be written: while one is, the GPU embeds the next. */
const CHUNKS_IN_WRITING = 1
/** Batches that the GPU has: one that it computes, one that is ready. */
const BATCHES_IN_FLIGHT = 2

/**
 * Embeds a collection, or one shard of it, into a file of features (see `featureFile.node.ts`), in
 * memory that doesn't grow with it but for the list of its names.
 *
 * Decoding, computing and writing overlap. Finished chunks survive a kill at any moment: the same call
 * again goes on with the first unfinished one, and gives the bits of an undisturbed run. When the file
 * is there already, nothing is done.
 *
 * @throws KeeplightError `input` when no image can be read, or other features are where these should
 *   go; `aborted` after `signal`; `internal` when the encoder gives a value that is not finite
 */
export async function embedCollection(
  collection: ImageCollection,
  model: CollectionEncoder,
  options: EmbedCollectionOptions,
): Promise<EmbedCollectionResult> {
  const { out, shard = WHOLE, overwrite = false } = options
  const job = jobOf(collection, model, options)
  const numbers = chunksOf(job, shard)
  const images = imagesOf(job, numbers)
  const paths = featurePaths(out)

  const folder = `${out}.parts`
  const rows = overwrite ? undefined : await finishedRows(out, { ...job, shard })
  if (overwrite || rows !== undefined) await rm(folder, { recursive: true, force: true })
  if (rows !== undefined) return { images, rows, failed: images - rows, reused: images, paths }
  const chunks = await ChunkStore.open(folder, job, shard)
  const finished = await chunks.finished()
  const missing = numbers.filter((number) => !finished.has(number))
  const reused = images - imagesOf(job, missing)
  await embedChunks(collection, model, job, missing, chunks, {
    ...options,
    onProgress: (done) => options.onProgress?.(reused + done, images),
  })

  const read = async function* (): AsyncGenerator<Chunk> {
    for (const number of numbers) yield await chunks.read(number)
  }
  let count = 0
  let first: string | undefined
  for await (const { indices, failed } of read()) {
    count += indices.length
    if (failed[0]) first ??= `${collection.files[failed[0].index]}: ${failed[0].message}`
  }
  // A shard may be unlucky; a whole collection is the wrong one.
  if (count === 0 && shard.count === 1) {
    await chunks.remove()
    throw new KeeplightError(
      'input',
      `${collection.root}: none of the ${images} images can be read; the first, ${first}. ` +
        'Give a collection of intact images.',
    )
  }
  const info = {
    ...{ job, shard, rows: count, classes: collection.classes, adapter: options.adapter ?? '' },
    coarseClasses: collection.coarse?.classes ?? [],
  }
  await writeFeatureFile(out, info, blocksOf(read(), collection), failedLines(read(), collection))
  await chunks.remove()
  return { images, rows: count, failed: images - count, reused, paths }
}

/** What embedding a collection by a model is to do. */
export function jobOf(
  collection: ImageCollection,
  model: CollectionEncoder,
  {
    store = 'f32',
    weights = 'f32',
    pictures = 'exact',
    chunk = 256,
    batch = 32,
  }: EmbedCollectionOptions,
): EmbedJob {
  return {
    model: { name: model.name, hash: model.hash },
    preprocess: model.preprocess,
    pictures,
    weights,
    store,
    dimension: model.dimension,
    chunk,
    batch,
    images: collection.files.length,
    listing: listingHash(collection),
  }
}

/**
 * Rows of the file when it holds just these features already.
 *
 * @throws KeeplightError `input` when it holds others
 */
export async function finishedRows(
  out: string,
  job: EmbedJob & { readonly shard: Shard },
): Promise<number | undefined> {
  const file = await FeatureFile.open(out).catch((error: unknown) => {
    const { cause } = error as KeeplightError
    if ((cause as NodeJS.ErrnoException | undefined)?.code === 'ENOENT') return undefined
    throw error
  })
  if (!file) return undefined
  await file.close()
  const difference = jobDifference({ ...file.info.job, shard: file.info.shard }, job)
  if (difference === undefined) return file.info.rows
  throw new KeeplightError(
    'input',
    `${out}: other features are here already (${difference}). Give another --out, or --overwrite ` +
      'to replace them.',
  )
}

function indicesOf({ chunk, images }: EmbedJob, number: number): number[] {
  const first = number * chunk
  return Array.from({ length: Math.min(chunk, images - first) }, (_, i) => first + i)
}

async function embedChunks(
  collection: ImageCollection,
  model: CollectionEncoder,
  job: EmbedJob,
  numbers: readonly number[],
  store: ChunkStore,
  { signal, decoding, onProgress }: EmbedCollectionOptions & { onProgress: (done: number) => void },
): Promise<void> {
  const indices = numbers.flatMap((number) => indicesOf(job, number))
  const images = decodeCollection(collection, {
    ...{ ...decoding, indices, preprocess: model.preprocess, views: 0, signal, ordered: true },
    ...{ reduce: job.pictures === 'reduced', raw: false },
  })
  const writing = new Queue(CHUNKS_IN_WRITING)
  const computing = new Queue(BATCHES_IN_FLIGHT)
  let done = 0
  try {
    for (const number of numbers) {
      const batches: {
        readonly images: readonly Readable[]
        readonly rows: Promise<Float32Array>
      }[] = []
      const failed: FailedImage[] = []
      let batch: Readable[] = []
      const send = async (): Promise<void> => {
        if (batch.length === 0) return
        const sent = batch
        batch = []
        const rows = model.embedPixels(joined(sent))
        batches.push({ images: sent.map(({ index, hash }) => ({ index, hash })), rows })
        await computing.add(rows.then(() => onProgress((done += sent.length))))
      }
      for (let left = indicesOf(job, number).length; left > 0; left--) {
        const { value: image, done: ended } = await images.next()
        if (signal?.aborted || ended) throw new KeeplightError('aborted', 'embed: stopped')
        if (!image.ok) {
          failed.push({ index: image.index, message: image.message })
          onProgress(++done)
        } else {
          batch.push({ index: image.index, hash: image.hash, pixels: image.image!.views })
          if (batch.length === job.batch) await send()
        }
      }
      await send()
      const write = async (): Promise<void> => {
        await store.write(number, await toChunk(batches, failed, job, collection))
      }
      await writing.add(write())
    }
    await computing.drain()
    await writing.drain()
  } finally {
    await images.return(undefined)
    await Promise.allSettled([computing.drain(), writing.drain()])
  }
}

interface Readable {
  readonly index: number
  readonly hash: string
  readonly pixels?: Uint8Array
}

function joined(images: readonly Readable[]): Uint8Array {
  const bytes = images[0].pixels!.length
  const all = new Uint8Array(images.length * bytes)
  images.forEach(({ pixels }, i) => all.set(pixels!, i * bytes))
  return all
}

async function toChunk(
  batches: readonly {
    readonly images: readonly Readable[]
    readonly rows: Promise<Float32Array>
  }[],
  failed: readonly FailedImage[],
  { store, dimension }: EmbedJob,
  { files }: ImageCollection,
): Promise<Chunk> {
  const images = batches.flatMap((batch) => batch.images)
  const values = new Float32Array(images.length * dimension)
  let offset = 0
  for (const { rows } of batches) {
    const part = await rows
    values.set(part, offset)
    offset += part.length
  }
  const stored = store === 'f16' ? Uint16Array.from(values, floatToHalf) : values
  const bad = values.findIndex((value, i) => {
    return !Number.isFinite(value) || (store === 'f16' && (stored[i] & 0x7c00) === 0x7c00)
  })
  if (bad >= 0) {
    throw new KeeplightError(
      'internal',
      `${files[images[Math.floor(bad / dimension)].index]}: its feature has the value ${values[bad]}, ` +
        `which ${store} can't hold; embed with --store f32, and with --dtype f32 if that doesn't help`,
    )
  }
  const hashes = new Uint8Array(images.length * 32)
  images.forEach(({ hash }, i) => hashes.set(Buffer.from(hash, 'hex'), i * 32))
  return {
    features: new Uint8Array(stored.buffer),
    indices: Uint32Array.from(images, ({ index }) => index),
    hashes,
    failed,
  }
}

async function* blocksOf(
  chunks: AsyncIterable<Chunk>,
  { files, labels, classes, coarse }: ImageCollection,
): AsyncGenerator<FeatureBlock> {
  for await (const { features, indices, hashes } of chunks) {
    const tensors: Record<string, ArrayBufferView> = { features, indices, hashes }
    if (labels) tensors.labels = Int32Array.from(indices, (index) => labels[index])
    if (coarse) tensors.coarse_labels = Int32Array.from(indices, (index) => coarse.labels[index])
    const lines = Array.from(indices, (index, row) => {
      const sha256 = Buffer.from(hashes.subarray(row * 32, (row + 1) * 32)).toString('hex')
      const label = labels && { label: labels[index], class: classes[labels[index]] }
      return JSON.stringify({ index, path: files[index], ...label, sha256 })
    })
    yield { tensors, lines }
  }
}

async function* failedLines(
  chunks: AsyncIterable<Chunk>,
  { files }: ImageCollection,
): AsyncGenerator<string> {
  for await (const { failed } of chunks) {
    for (const { index, message } of failed) {
      yield JSON.stringify({ index, path: files[index], error: message })
    }
  }
}

/** Work in the background, of limited number; the first failure is thrown by the next call. */
class Queue {
  readonly #limit: number
  readonly #pending = new Set<Promise<void>>()
  #failure: { readonly error: unknown } | undefined

  constructor(limit: number) {
    this.#limit = limit
  }

  /** Takes a promise in, and waits until no more than the limit are under way. */
  async add(promise: Promise<void>): Promise<void> {
    const pending = promise
      .catch((error: unknown) => void (this.#failure ??= { error }))
      .finally(() => this.#pending.delete(pending))
    this.#pending.add(pending)
    while (this.#pending.size > this.#limit) await Promise.race(this.#pending)
    this.#check()
  }

  async drain(): Promise<void> {
    await Promise.all(this.#pending)
    this.#check()
  }

  #check(): void {
    if (this.#failure) throw this.#failure.error
  }
}
