import { rm } from 'node:fs/promises'
import { concatRows } from '../model/features.ts'
import { floatToHalf, halfToFloat } from '../model/half.ts'
import { KeeplightError } from '../runtime/errors.ts'
import type { ImageCollection } from './collection.ts'
import { embedCollection, finishedRows, jobOf, WHOLE } from './embedCollection.node.ts'
import type {
  CollectionEncoder,
  EmbedCollectionOptions,
  EmbedCollectionResult,
} from './embedCollection.node.ts'
import { chunksOf, imagesOf, type EmbedJob } from './embedJob.node.ts'
import { checkedLine, FeatureFile, featurePaths, linesOf } from './featureFile.node.ts'
import { writeFeatureFile, type FeatureBlock } from './featureFile.node.ts'

/** Rows that are joined at once. */
const ROWS = 1024

/**
 * Like `embedCollection`, by several encoders one after the other; their rows, each of length 1, stand
 * side by side. While it runs, each encoder's features are in a file of their own beside `out`, so that
 * a killed run goes on where it was; they are removed at the end.
 *
 * @throws KeeplightError as `embedCollection`, and `input` when an image was readable for one encoder
 *   and not for another
 */
export async function embedMixed(
  collection: ImageCollection,
  models: readonly CollectionEncoder[],
  options: EmbedCollectionOptions,
): Promise<EmbedCollectionResult> {
  const { out, shard = WHOLE, overwrite = false, onProgress } = options
  const job = mixedJob(collection, models, options)
  const rows = overwrite ? undefined : await finishedRows(out, { ...job, shard })
  const parts = models.map((_, i) => out.replace(/safetensors$/, `encoder-${i}.safetensors`))
  const paths = featurePaths(out)
  if (rows !== undefined) {
    // A kill may have come between the file and its parts.
    await removeAll(parts)
    const images = imagesOf(job, chunksOf(job, shard))
    return { images, rows, failed: images - rows, reused: images, paths }
  }
  const results: EmbedCollectionResult[] = []
  for (const [i, model] of models.entries()) {
    const result = await embedCollection(collection, model, {
      ...{ ...options, out: parts[i] },
      onProgress: (done, total) => onProgress?.(i * total + done, models.length * total),
    })
    results.push(result)
  }
  await joinFiles(parts, { ...options, out, job, shard }, collection)
  await removeAll(parts)
  const reused = Math.min(...results.map((result) => result.reused))
  return { ...results[0], reused, paths }
}

function mixedJob(
  collection: ImageCollection,
  models: readonly CollectionEncoder[],
  options: EmbedCollectionOptions,
): EmbedJob {
  const encoders = models.map(({ name, hash, preprocess, dimension }) => {
    return { name, hash, preprocess, dimension }
  })
  const joined = (key: 'name' | 'hash'): string => encoders.map((one) => one[key]).join('+')
  return {
    ...jobOf(collection, models[0], options),
    model: { name: joined('name'), hash: joined('hash') },
    dimension: encoders.reduce((sum, { dimension }) => sum + dimension, 0),
    encoders,
  }
}

async function joinFiles(
  parts: readonly string[],
  { out, job, shard, adapter = '' }: EmbedCollectionOptions & { job: EmbedJob },
  { classes, coarse }: ImageCollection,
): Promise<void> {
  const files: FeatureFile[] = []
  try {
    for (const path of parts) files.push(await FeatureFile.open(path))
    const [first, ...others] = files
    const indices = await first.indices()
    for (const other of others) {
      const found = await other.indices()
      if (indices.length === found.length && indices.every((index, i) => index === found[i]))
        continue
      throw new KeeplightError(
        'input',
        `${other.path}: its ${found.length} images are not the ${indices.length} of ${first.path}; ` +
          'some could be read only once. Embed again with --overwrite.',
      )
    }
    const info = {
      ...{ job, shard: shard ?? WHOLE, rows: indices.length, classes, adapter },
      coarseClasses: coarse?.classes ?? [],
    }
    const failed = linesOf(featurePaths(first.path).failed, true)
    await writeFeatureFile(out, info, joinRows(files, indices, job), failed)
  } finally {
    await Promise.all(files.map((file) => file.close()))
  }
}

async function* joinRows(
  files: readonly FeatureFile[],
  indices: Uint32Array,
  { store }: EmbedJob,
): AsyncGenerator<FeatureBlock> {
  const { path } = files[0]
  const lines = linesOf(featurePaths(path).images)
  for (let start = 0; start < indices.length; start += ROWS) {
    const end = Math.min(start + ROWS, indices.length)
    const blocks = await Promise.all(files.map((file) => file.read(start, end)))
    const joined = concatRows(
      blocks.map(({ features }, i) => {
        return { data: floatsOf(features, store), dimension: files[i].info.job.dimension }
      }),
    )
    const own: string[] = []
    for (let row = start; row < end; row++) {
      own.push(checkedLine(path, (await lines.next()).value, row, indices[row]))
    }
    const features = store === 'f16' ? Uint16Array.from(joined, floatToHalf) : joined
    yield { tensors: { ...blocks[0], features }, lines: own }
  }
}

function floatsOf(bytes: Uint8Array, store: EmbedJob['store']): Float32Array<ArrayBuffer> {
  const { buffer } = new Uint8Array(bytes)
  return store === 'f16'
    ? Float32Array.from(new Uint16Array(buffer), halfToFloat)
    : new Float32Array(buffer)
}

async function removeAll(parts: readonly string[]): Promise<void> {
  for (const part of parts) {
    for (const path of Object.values(featurePaths(part))) await rm(path, { force: true })
  }
}
