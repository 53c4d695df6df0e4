import {
  cluster,
  kmeans,
  MlpHead,
  normalizeRows,
  scope,
  scpHeadConfig,
  type Device,
  type Features,
  type HeadWeights,
  type Preset,
} from '../../src/index.node.ts'
import { argmaxRows } from '../../src/train/predictRuns.ts'
import { firstImages, type Dataset } from './dataset.ts'
import { scoresOf, type Scores } from '../../src/cli/studies/scores.ts'

/** Classes of CIFAR-10, the number of clusters asked for. */
const K = 10
/** Larger collections are scored on the test images, as the reference is. */
const MAX_SELF_SCORED = 3000

export const scoredOnTest = (count: number): boolean => count > MAX_SELF_SCORED

export interface Run {
  readonly seed: number
  readonly scores: Scores
  /** Mean squared distance of the training features to their cluster's mean, or centre. */
  readonly inertia: number
  readonly seconds: number
}

/** The first `count` training images, and what partitions of them are scored on. */
export interface Task {
  readonly count: number
  readonly features: Features
  /** [count, D], normalised. */
  readonly clean: Float32Array
  /** [labels.length, D], normalised. */
  readonly scored: Float32Array
  readonly labels: Int32Array
}

export function taskOf({ train, trainLabels, test, testLabels }: Dataset, count: number): Task {
  const features = firstImages(train, count)
  const clean = features.clean.slice()
  normalizeRows(clean, features.dimension)
  return scoredOnTest(count)
    ? { count, features, clean, scored: test, labels: testLabels }
    : { count, features, clean, scored: clean, labels: trainLabels.subarray(0, count) }
}

/** k-means with 20 restarts on the clean features; images are scored by their nearest centre. */
export async function runKmeans(device: Device, task: Task, seed: number): Promise<Run> {
  const start = performance.now()
  const { count, features, clean, scored, labels } = task
  const { dimension } = features
  const { centres, inertia } = await kmeans(clean, { device, count, dimension, k: K, seed })
  const assignments = nearestCentres(scored, centres, dimension)
  return { seed, inertia, scores: scoresOf(labels, assignments), seconds: secondsSince(start) }
}

export interface ScpOptions {
  readonly preset: Preset
  readonly minSteps: number | undefined
}

export interface ScpRun extends Run {
  /** Loss of the last step. */
  readonly loss: number
  readonly steps: number
  readonly batch: number
}

/** One run of SCP, scored by its head. */
export async function runScp(
  device: Device,
  task: Task,
  seed: number,
  { preset, minSteps }: ScpOptions,
): Promise<ScpRun> {
  const start = performance.now()
  const { features, scored, labels } = task
  const result = await cluster(features, { device, k: K, preset, minSteps, seed, restarts: 1 })
  const assignments =
    scored === task.clean
      ? result.assignments
      : await predict(device, result.head, scored, features.dimension)
  const { inertia, steps, batch, restarts } = result
  const scores = scoresOf(labels, assignments)
  return {
    seed,
    inertia,
    scores,
    seconds: secondsSince(start),
    loss: restarts[0].loss,
    steps,
    batch,
  }
}

const PREDICT_ROWS = 4096

/** Clusters of normalised features by a trained head, BatchNorm in evaluation mode. */
async function predict(
  device: Device,
  weights: HeadWeights,
  data: Float32Array,
  dimension: number,
): Promise<Int32Array> {
  const head = new MlpHead(device, scpHeadConfig(dimension, K))
  head.write(weights)
  const count = data.length / dimension
  const assignments = new Int32Array(count)
  for (let start = 0; start < count; start += PREDICT_ROWS) {
    const rows = Math.min(PREDICT_ROWS, count - start)
    const part = data.subarray(start * dimension, (start + rows) * dimension)
    const logits = scope(() => head.forward(device.tensor(part, [rows, dimension]), false))
    assignments.set(argmaxRows(await logits.read(), K), start)
    logits.dispose()
  }
  head.dispose()
  return assignments
}

function nearestCentres(data: Float32Array, centres: Float32Array, dimension: number): Int32Array {
  // The nearest centre is the one of largest x·c − |c|²/2.
  const affinities = new Float32Array((data.length / dimension) * K)
  for (let i = 0; i < affinities.length; i++) {
    const row = Math.floor(i / K) * dimension
    const centre = (i % K) * dimension
    let sum = 0
    for (let d = 0; d < dimension; d++) {
      sum += centres[centre + d] * (data[row + d] - centres[centre + d] / 2)
    }
    affinities[i] = sum
  }
  return argmaxRows(affinities, K)
}

const secondsSince = (start: number): number => (performance.now() - start) / 1000
