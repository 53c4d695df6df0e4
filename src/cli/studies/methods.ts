import { classify, cluster, kmeans } from '../../index.node.ts'
import type { ClusterOptions, Device, ZeroShotClassifier } from '../../index.node.ts'
import { stepsPerEpoch } from '../../train/batchSource.ts'
import { inertiaOf, predictRuns } from '../../train/predictRuns.ts'
import { resolveSettings, type ScpSettings } from '../../train/scpSettings.ts'
import { assignToCentres } from '../../train/assignToCentres.ts'
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
  'k' | 'device' | 'seed' | 'restarts' | 'signal' | 'onProgress' | 'probe'
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
  const assignments = data.onTest
    ? await assignToCentres(device, rows, centres)
    : result.assignments
  return { seed, inertia, scores: scoresOf(scoredLabels, assignments) }
}

/**
 * SCP, or the method of the settings, from each of `restarts` seeds from `seed` on, side by side, each run
 * scored by its own head. A run whose loss was no longer finite is left out.
 */
export async function runTraining(
  { device, data, signal, onProgress }: MethodContext,
  seed: number,
  restarts: number,
  settings: TrainSettings,
): Promise<Run[]> {
  const { features, scored, scoredLabels, k } = data
  const { dimension, count } = features
  const steps = stepsOf(data, settings)
  const rows = 2 * Math.min(resolvedSettings(data, settings).batch, count)
  const input = { data: scored, count: scored.length / dimension, dimension, rows }
  const predicted: Int32Array[] = []
  let first = 0
  const result = await cluster(features, {
    ...settings,
    ...{ device, k, seed, restarts, signal },
    onProgress: (progress) => {
      first = progress.restart
      const done = first * steps + progress.runs * progress.step
      onProgress?.(done, restarts * steps, `loss ${progress.loss.toFixed(3)}`)
    },
    ...(data.onTest && {
      probe: {
        steps: [steps],
        take: async (_, adapter) => {
          const all = await predictRuns(adapter, input)
          all.forEach((assignments, run) => (predicted[first + run] = assignments))
        },
      },
    }),
  })
  return result.restarts.flatMap(({ seed, inertia, diverged }, run) => {
    if (diverged) return []
    const assignments = data.onTest ? predicted[run] : result.runs[run]
    return [{ seed, inertia, scores: scoresOf(scoredLabels, assignments) }]
  })
}

/** A study's settings with the preset's for all others. */
export function resolvedSettings({ features, k }: StudyData, settings: TrainSettings): ScpSettings {
  return resolveSettings(settings.preset ?? 'keeplight', k, features.count, settings)
}

/** How many steps a run takes. */
export function stepsOf(data: StudyData, settings: TrainSettings): number {
  const { batch, dropLast, minSteps, epochs } = resolvedSettings(data, settings)
  const { count } = data.features
  return Math.max(minSteps, epochs * stepsPerEpoch(count, Math.min(batch, count), dropLast))
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
