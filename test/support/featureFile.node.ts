import type { ImageCollection } from '../../src/data/collection.ts'
import { listingHash, type EmbedJob } from '../../src/data/embedJob.node.ts'
import { writeFeatureFile } from '../../src/data/featureFile.node.ts'
import { floatToHalf } from '../../src/model/half.ts'

export interface FeatureFileSpec {
  readonly collection: Pick<ImageCollection, 'files' | 'labels' | 'classes' | 'coarse'>
  /** [N, dimension] */
  readonly data: Float32Array
  readonly dimension: number
  readonly store?: 'f32' | 'f16'
  readonly model?: { readonly name: string; readonly hash: string }
  /** Rows of images that could not be read. */
  readonly failed?: readonly number[]
}

/** Writes a file of features as `keeplight embed` does, of given numbers. */
export async function writeFeatures(out: string, spec: FeatureFileSpec): Promise<void> {
  const { collection, data, dimension, store = 'f32', failed = [] } = spec
  const { files, labels, classes, coarse } = collection
  const model = spec.model ?? { name: 'some-model', hash: 'ab12' }
  const job = {
    ...{ model, store, dimension, images: files.length, pictures: 'exact', weights: 'f32' },
    ...{ chunk: 256, batch: 32, listing: listingHash(collection as ImageCollection) },
    preprocess: { size: 32, resize: 32, mean: [0, 0, 0], std: [1, 1, 1] },
  } as unknown as EmbedJob
  const kept = files.flatMap((_, i) => (failed.includes(i) ? [] : [i]))
  const values = Float32Array.from(
    kept.flatMap((i) => [...data.subarray(i * dimension, (i + 1) * dimension)]),
  )
  const features = store === 'f16' ? Uint16Array.from(values, floatToHalf) : values
  const tensors: Record<string, ArrayBufferView> = {
    features,
    indices: Uint32Array.from(kept),
    hashes: new Uint8Array(kept.length * 32),
  }
  if (labels) tensors.labels = Int32Array.from(kept, (i) => labels[i])
  if (coarse) tensors.coarse_labels = Int32Array.from(kept, (i) => coarse.labels[i])
  const lines = kept.map((index) => JSON.stringify({ index, path: files[index] }))
  await writeFeatureFile(
    out,
    {
      ...{ job, shard: { index: 0, count: 1 }, rows: kept.length, classes, adapter: 'none' },
      coarseClasses: coarse?.classes ?? [],
    },
    each([{ tensors, lines }]),
    each(failed.map((index) => JSON.stringify({ index, path: files[index], error: 'broken' }))),
  )
}

async function* each<T>(values: readonly T[]): AsyncGenerator<T> {
  yield* values
}
