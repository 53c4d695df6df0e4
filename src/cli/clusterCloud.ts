import type { ImageCollection } from '../data/collection.ts'
import { predictClusters, type ClusterResult, type Device } from '../index.node.ts'
import type { Assignment } from '../train/assignments.ts'
import type { Collected } from './collect.ts'
import { linkTo } from './contactSheets.ts'
import type { Context } from './context.ts'
import { makeCloud } from './makeCloud.ts'
import type { ModelAbout } from './openData.ts'
import type { Cloud } from './report/cloudData.ts'

/** Images in a report's cloud at most: some seconds of work, and a page that stays smooth. */
const LIMIT = { software: 3000, hardware: 10_000 }
/** Few images settle in half of t-SNE's usual iterations. */
const FEW = { images: 1000, iterations: 500 }

/** What a run found that its cloud shows. */
export interface ClusteredImages {
  readonly collection: ImageCollection
  readonly collected: Collected
  readonly result: ClusterResult
  readonly assignments: readonly Assignment[]
  /** Folder of the report. */
  readonly out: string
  readonly model: ModelAbout
}

/** The image cloud of a clustering: t-SNE of its head's logits, as in SCP's Figs. 3 and 4. */
export async function clusterCloud(
  { collection, collected, result, assignments, out, model }: ClusteredImages,
  device: Device,
  seed: number,
  context: Context,
): Promise<Cloud> {
  const { kept, raw } = collected
  const { k } = result
  const vectors = await logitsOf(collected.features, result, model, device, context)
  const images = assignments.map(({ path, cluster, probability, label }, i) => {
    const href = linkTo(collection, kept[i], out)
    return { path, cluster, probability, label, ...(href !== undefined && { href }) }
  })
  const limit = LIMIT[device.adapter.software ? 'software' : 'hardware']
  const iterations = images.length <= FEW.images ? FEW.iterations : undefined
  const { cloud } = await makeCloud(
    { vectors, dimension: k, images, raw, what: 'the head’s logits' },
    { device, limit, seed, iterations },
    context,
  )
  return cloud
}

/** [N, K]: what the kept head says of the clean features, before its softmax. */
async function logitsOf(
  { count, dimension, clean: data }: Collected['features'],
  { method, k, head: weights, settings }: ClusterResult,
  { name }: ModelAbout,
  device: Device,
  { signal }: Context,
): Promise<Float32Array> {
  const head = { weights, method, settings: { ...settings }, dimension, k, model: name }
  const { logits } = await predictClusters(device, head, { count, dimension, data }, { signal })
  return logits
}
