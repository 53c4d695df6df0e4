import { createHash } from 'node:crypto'
import { mkdir, readFile, readdir, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { PreprocessConfig } from '../model/preprocess.ts'
import { KeeplightError } from '../runtime/errors.ts'
import type { ImageCollection } from './collection.ts'
import { SafetensorsRows, SafetensorsWriter, temporaryName } from './safetensorsFile.node.ts'

/**
 * Embedding a collection in chunks that survive a kill.
 *
 * The images of a collection are cut into chunks of equal size by their order. Which chunk an image is
 * in, and with which others it goes through the encoder, depends on nothing else, so that features have
 * the same bits whether one process embeds everything, was killed and went on, or many shards each took
 * every n-th chunk.
 *
 * While a job runs, `<out>.parts/` holds `job.json`, which says what is embedded how, and a file for
 * each finished chunk, complete since it was renamed to its name.
 */

/** Everything that features depend on, and how they are stored. */
export interface EmbedJob {
  readonly model: { readonly name: string; readonly hash: string }
  readonly preprocess: PreprocessConfig
  readonly pictures: Pictures
  /** Of the encoder's weights on the GPU. */
  readonly weights: string
  /** Of the features in the file. */
  readonly store: 'f32' | 'f16'
  readonly dimension: number
  readonly chunk: number
  readonly batch: number
  readonly images: number
  /** SHA-256 over the names and classes of the collection's images. */
  readonly listing: string
  /** Where features of several encoders stand side by side: each of them. */
  readonly encoders?: readonly (EmbedJob['model'] & Pick<EmbedJob, 'preprocess' | 'dimension'>)[]
}

/** Whether decoders may reduce large photos before they are resized. */
export type Pictures = 'exact' | 'reduced'

export interface Shard {
  readonly index: number
  readonly count: number
}

/** A chunk's results: one row for each image that could be read, and why the others could not. */
export interface Chunk {
  readonly features: Uint8Array
  /** Places in the collection. */
  readonly indices: Uint32Array
  /** 32 bytes a row: SHA-256 of the image file. */
  readonly hashes: Uint8Array
  readonly failed: readonly FailedImage[]
}

export interface FailedImage {
  readonly index: number
  readonly message: string
}

/** Tensors of a chunk and of a whole file of features, without the labels. */
export const rowTensors = ['features', 'indices', 'hashes'] as const

export function listingHash({ files, labels, classes }: ImageCollection): string {
  const hash = createHash('sha256').update(JSON.stringify(classes))
  files.forEach((file, i) => hash.update(`\0${labels?.[i] ?? ''}\0${file}`))
  return hash.digest('hex')
}

/** The numbers of a shard's chunks: every n-th, so that shards finish together. */
export function chunksOf({ images, chunk }: EmbedJob, { index, count }: Shard): number[] {
  const chunks: number[] = []
  for (let number = index; number * chunk < images; number += count) chunks.push(number)
  return chunks
}

/** Images of some chunks together. */
export const imagesOf = ({ images, chunk }: EmbedJob, chunks: readonly number[]): number =>
  chunks.reduce((sum, number) => sum + Math.min(chunk, images - number * chunk), 0)

/** Shapes and dtypes of `rows` rows. */
export const rowSpecs = ({ store, dimension }: EmbedJob, rows: number) =>
  ({
    features: { dtype: store === 'f16' ? 'F16' : 'F32', shape: [rows, dimension] },
    indices: { dtype: 'U32', shape: [rows] },
    hashes: { dtype: 'U8', shape: [rows, 32] },
  }) as const

/** The folder of a job's finished chunks. */
export class ChunkStore {
  readonly folder: string
  readonly #job: EmbedJob

  private constructor(folder: string, job: EmbedJob) {
    this.folder = folder
    this.#job = job
  }

  /**
   * Opens the folder, or makes it.
   *
   * @throws KeeplightError `input` when it holds chunks of another job
   */
  static async open(folder: string, job: EmbedJob, shard: Shard): Promise<ChunkStore> {
    const path = join(folder, 'job.json')
    const text = await readFile(path, 'utf8').catch(() => undefined)
    const before = text === undefined ? undefined : parseJob(text)
    const difference = before && jobDifference(before, { ...job, shard })
    if (text !== undefined && (before === undefined || difference !== undefined)) {
      throw new KeeplightError(
        'input',
        `${folder}: unfinished features of another job are here (${difference ?? 'unreadable'}). ` +
          'Give the same arguments as before to go on with it, another --out, or --overwrite to ' +
          'start anew.',
      )
    }
    if (text === undefined) {
      await mkdir(folder, { recursive: true })
      const temporary = temporaryName(path)
      await writeFile(temporary, `${JSON.stringify({ ...job, shard }, null, 2)}\n`)
      await rename(temporary, path)
    }
    return new ChunkStore(folder, job)
  }

  /** Numbers of the chunks that are here and whole; a damaged one is removed. */
  async finished(): Promise<Set<number>> {
    const numbers = new Set<number>()
    for (const name of await readdir(this.folder)) {
      const number = /^chunk-(\d+)\.safetensors$/.exec(name)?.[1]
      if (number === undefined) continue
      if (
        await this.read(Number(number)).then(
          () => true,
          () => false,
        )
      )
        numbers.add(Number(number))
      else await rm(join(this.folder, name), { force: true })
    }
    return numbers
  }

  async write(number: number, { features, indices, hashes, failed }: Chunk): Promise<void> {
    const data = { features, indices, hashes }
    const metadata = { failed: JSON.stringify(failed), checksum: checksum(data, failed) }
    const writer = await SafetensorsWriter.create(
      this.#path(number),
      rowSpecs(this.#job, indices.length),
      metadata,
    )
    try {
      for (const name of rowTensors) await writer.append(name, data[name])
      await writer.finish()
    } catch (error) {
      await writer.abandon()
      throw error
    }
  }

  /** @throws KeeplightError `format` when the chunk is damaged */
  async read(number: number): Promise<Chunk> {
    const file = await SafetensorsRows.open(this.#path(number))
    try {
      const [features, words, hashes] = await Promise.all(rowTensors.map((name) => file.read(name)))
      const indices = new Uint32Array(new Uint8Array(words).buffer)
      const failed = JSON.parse(file.metadata.get('failed') ?? 'null') as FailedImage[]
      if (checksum({ features, indices, hashes }, failed) !== file.metadata.get('checksum')) {
        throw new KeeplightError('format', `${file.path}: damaged, its checksum is another`)
      }
      return { features, indices, hashes, failed }
    } finally {
      await file.close()
    }
  }

  /** Removes the folder with everything in it. */
  async remove(): Promise<void> {
    await rm(this.folder, { recursive: true, force: true })
  }

  #path(number: number): string {
    return join(this.folder, `chunk-${String(number).padStart(8, '0')}.safetensors`)
  }
}

function checksum(
  { features, indices, hashes }: Omit<Chunk, 'failed'>,
  failed: readonly FailedImage[],
): string {
  const hash = createHash('sha256').update(features).update(indices).update(hashes)
  return hash.update(JSON.stringify(failed)).digest('hex')
}

type ShardedJob = EmbedJob & { readonly shard: Shard }

function parseJob(text: string): ShardedJob | undefined {
  try {
    return JSON.parse(text) as ShardedJob
  } catch {
    return undefined
  }
}

/** The first thing in which two jobs differ, in words; undefined when they are the same. */
export function jobDifference(before: object, now: object): string | undefined {
  const old = Object.entries(before)
  const keys = new Set([...old.map(([key]) => key), ...Object.keys(now)])
  for (const key of keys) {
    const [a, b] = [before, now].map((job) => JSON.stringify((job as Record<string, unknown>)[key]))
    if (a === b) continue
    if (key === 'listing' || key === 'images') return 'the images in the collection are others now'
    return `${key} was ${a ?? 'not given'}, now it is ${b ?? 'not given'}`
  }
  return undefined
}
