import { sampleBatchKernel } from '../kernels/sampleBatch.ts'
import type { Features } from '../model/features.ts'
import { MlpHead, scpHeadConfig, type HeadWeights } from '../model/mlpHead.ts'
import type { Device } from '../runtime/device.ts'
import { KeeplightError } from '../runtime/errors.ts'
import { softmax } from '../runtime/ops/softmax.ts'
import { record } from '../runtime/plan.ts'
import { withRecovery } from '../runtime/recovery.ts'
import { scope } from '../runtime/tensor.ts'
import { FeatureStore } from './featureStore.ts'
import { nearestNeighbours } from './neighbours.ts'
import { cosineSchedule } from './schedule.ts'
import { scpStep, TrainingState, type TraceRow, type TrainingSnapshot } from './scpStep.ts'

export interface ScpSettings {
  /** Feature noise, in standard deviations of all entries of the features. */
  readonly noise: number
  /** The second view shows one of this many nearest neighbours; 0: the same image. */
  readonly pairs: number
  /** Runs from different seeds; the one of lowest inertia is kept. */
  readonly restarts: number
  /** Weight of the entropy term. */
  readonly alpha: number
  readonly epochs: number
  /** The schedule has at least this many steps, however small the collection. */
  readonly minSteps: number
  /** Images of a step at most; a small collection takes all of itself. */
  readonly batch: number
  readonly learningRate: number
}

export type Preset = 'keeplight' | 'paper'

/**
 * Settings of a preset, by number of clusters. `paper` is SCP as published; `keeplight` adds noise on
 * the features, pairs of neighbours, and restarts, which lift it above k-means where classes overlap.
 */
export function scpSettings(preset: Preset, k: number): ScpSettings {
  const alpha = k <= 10 ? 2 : k <= 20 ? 3 : 5
  const common = { alpha, epochs: 30, batch: 512, learningRate: 1e-3 }
  return preset === 'paper'
    ? { ...common, noise: 0, pairs: 0, restarts: 1, minSteps: 600 }
    : { ...common, noise: 2, pairs: 10, restarts: 8, minSteps: 600 }
}

export interface ClusterProgress {
  /** Run in progress, from 0. */
  readonly restart: number
  readonly restarts: number
  /** Steps of this run done. */
  readonly step: number
  readonly steps: number
  /** Total loss of the latest step. */
  readonly loss: number
}

export interface ClusterOptions extends Partial<ScpSettings> {
  /** K, number of clusters. */
  readonly k: number
  readonly device: Device
  readonly preset?: Preset
  readonly seed?: number
  /** Told while it trains; after a loss of the device the steps since the last snapshot come again. */
  readonly onProgress?: (progress: ClusterProgress) => void
  /**
   * Steps between copies of the training state on the host, from which a run goes on after its device
   * was lost and recovered. Default: one every 5 s.
   */
  readonly snapshotEvery?: number
  readonly signal?: AbortSignal | undefined
}

export interface RestartSummary {
  readonly seed: number
  /** Mean squared distance of the clean, normalised features to their cluster's mean. */
  readonly inertia: number
  /** Loss of the last step. */
  readonly loss: number
}

export interface ClusterResult {
  readonly k: number
  /** [N] */
  readonly assignments: Int32Array
  /** [N, K], the head's softmax on clean features. */
  readonly probabilities: Float32Array
  readonly head: HeadWeights
  readonly settings: ScpSettings
  /** Loss curve of the run that was kept. */
  readonly trace: readonly TraceRow[]
  readonly restarts: readonly RestartSummary[]
  /** Which of the restarts was kept. */
  readonly kept: number
  readonly inertia: number
  readonly steps: number
  readonly batch: number
}

/** Steps between two readings of the loss take about this long; submits within have their own budget. */
const PROGRESS_MS = 100
const SNAPSHOT_MS = 5000

/** Where a run goes on after a loss. */
interface Snapshot {
  readonly step: number
  readonly head: HeadWeights
  readonly state: TrainingSnapshot
}

/**
 * Clusters images by SCP (Li et al., arXiv 2502.04226): an MLP head with a softmax over K clusters,
 * trained so that two views of an image agree, surely and with all clusters in use. No labels.
 *
 * When the device is lost it is recovered (`recoverDevice`), and the run goes on from its last
 * snapshot to the same bits; at a restart's fourth loss the error is thrown.
 *
 * @throws KeeplightError `usage` for impossible settings, `aborted` when the signal says so
 */
export async function cluster(features: Features, options: ClusterOptions): Promise<ClusterResult> {
  const { device, k, seed = 0, signal, onProgress, snapshotEvery = Infinity } = options
  const settings = resolveSettings(features, options)
  const { restarts, noise, alpha } = settings
  const { count } = features
  const batch = Math.min(settings.batch, count)
  const stepsPerEpoch = Math.max(1, Math.floor(count / batch))
  const steps = Math.max(settings.minSteps, settings.epochs * stepsPerEpoch)

  const store = new FeatureStore(device, features)
  const { dimension, views, chunks } = store
  // Fewer others than asked for: pairs are drawn from all there are.
  const pairs = Math.min(settings.pairs, count - 1)
  const neighbours =
    pairs > 0
      ? await withRecovery(
          device,
          () => nearestNeighbours(device, store.clean, { count, dimension, neighbours: pairs }),
          { signal },
        )
      : new Uint32Array(1)
  const neighbourTensor = device.constant(neighbours, [neighbours.length])
  const head = new MlpHead(device, scpHeadConfig(dimension, k))
  const state = new TrainingState(device, head, cosineSchedule(steps, settings.learningRate))
  const enqueueStep = (): void => {
    scope(() => {
      const rows = device.empty([2 * batch, dimension])
      for (const chunk of chunks) {
        device.dispatch(
          sampleBatchKernel,
          { store: chunk.tensor, neighbours: neighbourTensor, state: state.step, out: rows },
          {
            batch,
            count,
            views,
            pairs,
            dimension,
            stepsPerEpoch,
            firstRow: chunk.firstRow,
            rows: chunk.rows,
            noise: noise * store.deviation,
          },
        )
      }
      scpStep(head, state, rows, { crossEntropy: 1, confidence: 1, entropy: alpha })
    })
  }
  const plan = await withRecovery(device, () => record(device, {}, enqueueStep), { signal })

  try {
    const summaries: RestartSummary[] = []
    let best: (Prediction & { head: HeadWeights; trace: TraceRow[]; kept: number }) | undefined
    for (let restart = 0; restart < restarts; restart++) {
      const runSeed = seed + restart
      let snapshot: Snapshot | undefined
      const train = async (): Promise<Prediction & { trace: TraceRow[]; head?: HeadWeights }> => {
        if (snapshot) {
          head.write(snapshot.head)
          state.write(snapshot.state)
        } else {
          head.initialize(runSeed)
          state.reset(runSeed)
        }
        let perRead = 1
        let saved = performance.now()
        for (let step = snapshot?.step ?? 0; step < steps;) {
          if (signal?.aborted) throw new KeeplightError('aborted', 'cluster: stopped')
          const run = Math.min(perRead, steps - step, snapshotEvery - (step % snapshotEvery))
          const start = performance.now()
          await plan.replay(run)
          // The loss ring is the one readback, and waiting for it is waiting for the steps.
          const losses = await state.trace.read()
          const now = performance.now()
          perRead = Math.max(
            1,
            Math.min(perRead * 2, Math.floor((PROGRESS_MS * run) / (now - start)), 1000),
          )
          step += run
          onProgress?.({ restart, restarts, step, steps, loss: losses[(step - 1) * 5]! })
          const due = Number.isFinite(snapshotEvery)
            ? step % snapshotEvery === 0
            : now - saved > SNAPSHOT_MS
          if (due && step < steps) {
            snapshot = { step, head: await head.read(), state: await state.read() }
            saved = now
          }
        }
        const prediction = await predict(device, head, store, k)
        const trace = await state.readTrace()
        const better = !best || prediction.inertia < best.inertia
        return { ...prediction, trace, ...(better && { head: await head.read() }) }
      }
      const { trace, head: weights, ...prediction } = await withRecovery(device, train, { signal })
      const loss = trace.at(-1)?.total ?? NaN
      if (!Number.isFinite(loss)) {
        const bad = trace.findIndex(({ total }) => !Number.isFinite(total))
        throw new KeeplightError(
          'internal',
          `cluster: the loss of run ${restart} is ${loss} from step ${bad} on; lower the learning rate`,
        )
      }
      summaries.push({ seed: runSeed, inertia: prediction.inertia, loss })
      if (weights) best = { ...prediction, head: weights, trace, kept: restart }
    }
    const { assignments, probabilities, inertia, kept, trace, head: weights } = best!
    return {
      k,
      assignments,
      probabilities,
      head: weights,
      settings: { ...settings, pairs },
      trace,
      restarts: summaries,
      kept,
      inertia,
      steps,
      batch,
    }
  } finally {
    plan.dispose()
    state.dispose()
    head.dispose()
    neighbourTensor.dispose()
    store.dispose()
  }
}

function resolveSettings(features: Features, options: ClusterOptions): ScpSettings {
  const { k, preset = 'keeplight' } = options
  const { count } = features
  if (!Number.isInteger(k) || k < 2) {
    throw new KeeplightError('usage', `cluster: k is ${k}, expected a whole number of 2 or more`)
  }
  if (k > count) {
    throw new KeeplightError(
      'usage',
      `cluster: k is ${k}, but there are only ${count} images; ask for ${count} clusters at most`,
    )
  }
  const given = Object.entries(options).filter(([, value]) => value !== undefined)
  const settings: ScpSettings = { ...scpSettings(preset, k), ...Object.fromEntries(given) }
  const { noise, pairs, restarts, alpha, epochs, minSteps, batch, learningRate } = settings
  const least = { noise: 0, pairs: 0, alpha: 0, restarts: 1, epochs: 1, minSteps: 1, batch: 2 }
  for (const [name, minimum] of Object.entries(least)) {
    const value = settings[name as keyof typeof least]
    const whole = name === 'noise' || name === 'alpha' || Number.isInteger(value)
    if (!(value >= minimum) || !Number.isFinite(value) || !whole) {
      throw new KeeplightError('usage', `cluster: ${name} is ${value}, expected ${minimum} or more`)
    }
  }
  if (!(learningRate > 0)) {
    throw new KeeplightError('usage', `cluster: learningRate is ${learningRate}, expected above 0`)
  }
  return { noise, pairs, restarts, alpha, epochs, minSteps, batch, learningRate }
}

interface Prediction {
  readonly assignments: Int32Array
  readonly probabilities: Float32Array
  readonly inertia: number
}

const PREDICT_ROWS = 4096

/** The head's softmax on every clean image, and the inertia of its labels. */
async function predict(
  device: Device,
  head: MlpHead,
  store: FeatureStore,
  k: number,
): Promise<Prediction> {
  const { clean, count, dimension } = store
  const probabilities = new Float32Array(count * k)
  for (let start = 0; start < count; start += PREDICT_ROWS) {
    const rows = Math.min(PREDICT_ROWS, count - start)
    const part = clean.subarray(start * dimension, (start + rows) * dimension)
    const output = scope(() => {
      return softmax(head.forward(device.tensor(part, [rows, dimension]), false))
    })
    try {
      probabilities.set(await output.read(), start * k)
    } finally {
      output.dispose()
    }
  }
  const assignments = argmaxRows(probabilities, k)
  return { assignments, probabilities, inertia: inertiaOf(clean, dimension, assignments, k) }
}

/** Column of the largest value of each row; ties to the lowest. */
export function argmaxRows(data: Float32Array, columns: number): Int32Array {
  return Int32Array.from({ length: data.length / columns }, (_, row) => {
    let best = 0
    for (let c = 1; c < columns; c++) {
      if (data[row * columns + c]! > data[row * columns + best]!) best = c
    }
    return best
  })
}

/** Mean squared distance of each row to the mean of its cluster, in f64. */
export function inertiaOf(
  data: Float32Array,
  dimension: number,
  assignments: ArrayLike<number>,
  k: number,
): number {
  const means = new Float64Array(k * dimension)
  const sizes = new Uint32Array(k)
  const count = data.length / dimension
  for (let row = 0; row < count; row++) {
    const cluster = assignments[row]!
    sizes[cluster]!++
    for (let d = 0; d < dimension; d++)
      means[cluster * dimension + d]! += data[row * dimension + d]!
  }
  for (let i = 0; i < means.length; i++) means[i]! /= Math.max(sizes[Math.floor(i / dimension)]!, 1)
  let sum = 0
  for (let row = 0; row < count; row++) {
    const centre = assignments[row]! * dimension
    for (let d = 0; d < dimension; d++)
      sum += (data[row * dimension + d]! - means[centre + d]!) ** 2
  }
  return sum / count
}
