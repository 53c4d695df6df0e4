import { classify, cluster, kmeans, MlpHead, scope, scpHeadConfig } from '../../index.node.ts'
import type { ClusterOptions, Device, HeadWeights, ZeroShotClassifier } from '../../index.node.ts'
import { argmaxRows, inertiaOf } from '../../train/cluster.ts'
import { assignToNearest } from '../baselines.ts'
import type { StudyData } from './data.ts'
import { scoresOf } from './scores.ts'
import type { Run } from './store.ts'

/** What a method runs with. */
export interface MethodContext {
  readonly device: Device
  readonly data: StudyData
  readonly signal?: AbortSignal | undefined
  /** Told of steps done, of all. */
  readonly onProgress?: (done: number, all: number, detail: string) => void
}

/** Settings of training that a study may set. */
export type TrainSettings = Omit<
  Partial<ClusterOptions>,
  'k' | 'device' | 'seed' | 'restarts' | 'signal' | 'onProgress'
>

/** k-means on the clean, normalised features; scored images go to their nearest centre. */
export async function runKmeans(
  { device, data, signal }: MethodContext,
  seed: number,
  restarts = 20,
): Promise<Run> {
  const { clean, features, scored, scoredLabels, k } = data
  const { count, dimension } = features
  const result = await kmeans(clean, { device, count, dimension, k, restarts, seed, signal })
  const { centres, inertia } = result
  const rows = { data: scored, count: scored.length / dimension, dimension }
  const assignments = data.onTest ? assignToNearest(rows, centres, k) : result.assignments
  return { seed, inertia, scores: scoresOf(scoredLabels, assignments) }
}

/** SCP from each of `seeds`, each scored by its own head. */
export async function runScp(
  { device, data, signal, onProgress }: MethodContext,
  seeds: readonly number[],
  settings: TrainSettings,
): Promise<Run[]> {
  const runs: Run[] = []
  for (const seed of seeds) {
    const result = await cluster(data.features, {
      ...settings,
      ...{ device, k: data.k, seed, restarts: 1, signal },
      onProgress: ({ step, steps, loss }) => {
        onProgress?.(runs.length * steps + step, seeds.length * steps, `loss ${loss.toFixed(3)}`)
      },
    })
    const assignments = data.onTest ? await predict(device, result.head, data) : result.assignments
    const scores = scoresOf(data.scoredLabels, assignments)
    runs.push({ seed, inertia: result.inertia, scores })
  }
  return runs
}

/** CLIP's classes of the scored images. They have no fit: the inertia is that of the images scored. */
export async function runZeroShot(
  { device, data, signal }: MethodContext,
  classifier: ZeroShotClassifier,
): Promise<Run> {
  const { scored, scoredLabels, features, k } = data
  const { dimension } = features
  const count = scored.length / dimension
  const input = { count, dimension, data: new Float32Array(scored) }
  const { labels } = await classify(device, classifier, input, signal)
  // Classes have names here: ACC is their share, not that of the best matching of clusters.
  const right = labels.filter((label, i) => label === scoredLabels[i]).length
  return {
    seed: 0,
    inertia: inertiaOf(scored, dimension, labels, k),
    scores: { ...scoresOf(scoredLabels, labels), accuracy: (100 * right) / count },
  }
}

const PREDICT_ROWS = 4096

/** Clusters of the scored images by a trained head, BatchNorm in evaluation mode. */
async function predict(
  device: Device,
  weights: HeadWeights,
  { scored, features, k }: StudyData,
): Promise<Int32Array> {
  const { dimension } = features
  const head = new MlpHead(device, scpHeadConfig(dimension, k))
  head.write(weights)
  const count = scored.length / dimension
  const assignments = new Int32Array(count)
  for (let start = 0; start < count; start += PREDICT_ROWS) {
    const rows = Math.min(PREDICT_ROWS, count - start)
    const part = scored.subarray(start * dimension, (start + rows) * dimension)
    const logits = scope(() => head.forward(device.tensor(part, [rows, dimension]), false))
    assignments.set(argmaxRows(await logits.read(), k), start)
    logits.dispose()
  }
  head.dispose()
  return assignments
}
