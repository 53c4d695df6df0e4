import { normalizeRows, type Features } from '../model/features.ts'
import type { HeadWeights } from '../model/mlpHead.ts'
import type { Device } from '../runtime/device.ts'
import { KeeplightError } from '../runtime/errors.ts'
import { withRecovery } from '../runtime/recovery.ts'
import type { Adapter, AdapterMaker } from './adapter.ts'
import type { BatchSource } from './batchSource.ts'
import {
  expectJob,
  hashFeatures,
  parseCheckpoint,
  serializeCheckpoint,
  type Checkpoint,
  type FinishedRuns,
  type Job,
  type RestartSummary,
} from './checkpoint.ts'
import { chooseSource, type SourceOptions } from './chooseSource.ts'
import { nearestNeighbours } from './neighbours.ts'
import { OnlineSource, type OnlineViews } from './onlineSource.ts'
import { decayMatricesOfRuns, parameterGroups } from './parameterGroups.ts'
import {
  argmaxRows,
  inertiaOf,
  predictProbabilities,
  predictRuns,
  type PredictionInput,
} from './predictRuns.ts'
import { runGroups } from './runGroups.ts'
import { cosineSchedule, type AdamOptions } from './schedule.ts'
import { resolveSettings, scpMaker, type Preset, type ScpSettings } from './scpSettings.ts'
import { DivergedError, train, type Probe, type TrainedRuns } from './trainer.ts'
import type { TraceRow, TrainingSnapshot } from './trainingState.ts'

export interface ClusterProgress {
  /** First of the runs that are training side by side, from 0; and how many they are. */
  readonly restart: number
  readonly runs: number
  /** Runs in all. */
  readonly restarts: number
  /** Steps of these runs done. */
  readonly step: number
  readonly steps: number
  /** Total loss of the latest step: the mean over the runs. */
  readonly loss: number
}

/** What to train in the place of SCP's head; see `docs/adapters.md`. */
export interface ClusterMethod {
  readonly name: string
  readonly maker: AdapterMaker
  /** Of every step. Default: the settings' cosine. */
  readonly learningRates?: (steps: number, batch: number) => ArrayLike<number>
  readonly adam?: AdamOptions
  /** Weight decay of matrices; makes the optimiser AdamW. */
  readonly decay?: number
}

/** Makes the source of the training's batches; it is disposed at the end. */
export type SourceMaker = (
  device: Device,
  features: Features,
  options: SourceOptions,
) => BatchSource | Promise<BatchSource>

export interface ClusterOptions extends Partial<ScpSettings> {
  /** K, number of clusters. */
  readonly k: number
  readonly device: Device
  readonly preset?: Preset
  /** Default: SCP, by the settings. */
  readonly method?: ClusterMethod
  /** Trains on views that are made while it trains; those among the features are not looked at. */
  readonly online?: OnlineViews | undefined
  /**
   * Bytes of features that may lie on the GPU. More stay on the host, and the rows of the coming steps
   * are uploaded, to the same bits; 0 forces that. Default 4 GiB.
   */
  readonly memoryBudget?: number | undefined
  /** Default: what `memoryBudget` says. */
  readonly source?: SourceMaker
  /** Run r's seed is seed + r. Default 0. */
  readonly seed?: number
  /** Told while it trains; after a loss of the device the steps since the last snapshot come again. */
  readonly onProgress?: (progress: ClusterProgress) => void
  /**
   * Steps between copies of the training state on the host, from which runs go on after their device
   * was lost and recovered. Default: one every 5 s, or less often where they take long.
   */
  readonly snapshotEvery?: number
  /** Given all that {@link ClusterOptions.resume} needs, a safetensors file, to be written. */
  readonly onCheckpoint?: ((bytes: Uint8Array<ArrayBuffer>) => Promise<void> | void) | undefined
  /** Between checkpoints, where `snapshotEvery` is not given. Default 60. */
  readonly checkpointSeconds?: number
  /** A checkpoint of the same features and settings: goes on from there, to the same bits. */
  readonly resume?: Uint8Array | undefined
  /** Bytes on the GPU that runs side by side may take; more runs train in groups. Default 1 GiB. */
  readonly memory?: number
  /** Called with the weights after some steps of every group of runs. */
  readonly probe?: Probe
  readonly signal?: AbortSignal | undefined
}

export interface ClusterResult {
  readonly method: string
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
  /** Every run's assignments [N]; empty for a run that diverged. */
  readonly runs: readonly Int32Array[]
  /** Which of the restarts was kept: the one of lowest inertia. */
  readonly kept: number
  readonly inertia: number
  readonly steps: number
  readonly batch: number
  /** Runs that trained side by side, group by group. */
  readonly groups: readonly number[]
}

const DEFAULT_MEMORY = 2 ** 30

/** Of features on the GPU, unless told otherwise. */
const DEFAULT_BUDGET = 2 ** 32

/**
 * Clusters images by SCP (Li et al., arXiv 2502.04226): an MLP head with a softmax over K clusters,
 * trained so that two views of an image agree, surely and with all clusters in use. No labels.
 *
 * All restarts train side by side in one program, as many at a time as memory allows (`runGroups`); a
 * run's bits don't depend on the others. A run whose loss is no longer finite is reported and never kept.
 *
 * When the device is lost it is recovered (`recoverDevice`), and the runs go on from their last
 * snapshot to the same bits; at a group's fourth loss the error is thrown.
 *
 * @throws KeeplightError `usage` for impossible settings, `aborted` when the signal says so, `input` for
 *   a checkpoint of another run, `internal` when every run diverged
 */
export async function cluster(features: Features, options: ClusterOptions): Promise<ClusterResult> {
  const { device, k, preset = 'keeplight', seed = 0, signal } = options
  const asked = resolveSettings(preset, k, features.count, options)
  // Fewer others than asked for: pairs are drawn from all there are.
  const settings = { ...asked, pairs: Math.min(asked.pairs, features.count - 1) }
  const method = options.method ?? {
    ...{ name: 'scp', maker: scpMaker(settings) },
    adam: { beta1: settings.beta1, beta2: settings.beta2, eps: 1e-8 },
  }
  const batch = Math.min(settings.batch, features.count)
  const { dimension } = features
  const one = method.maker(device, { runs: 1, dimension, outputs: k })
  let source: BatchSource | undefined
  try {
    const clean = cleanRows(features)
    const memory = options.memory ?? DEFAULT_MEMORY
    const groups = runGroups(device, one, 2 * batch, settings.restarts, memory)
    source = await openSource(features, clean, settings, {
      ...{ ...options, batch, seed, runs: Math.max(...groups) },
    })
    const checkpointed = options.onCheckpoint !== undefined || options.resume !== undefined
    const job: Job = {
      ...{ method: method.name, k, seed, groups },
      settings: { ...settings, ...(options.online && { online: options.online.refresh ?? 1 }) },
      features: checkpointed ? hashFeatures(features) : '',
    }
    const steps = Math.max(settings.minSteps, settings.epochs * source.stepsPerEpoch)
    const input = { data: settings.normalize ? clean : features.clean, rows: 2 * batch }
    const run = new ClusterRun(options, job, method, {
      ...{ settings, source, clean, steps },
      input: { ...input, count: features.count, dimension },
    })
    const { summaries, assignments: runs, best } = await run.all()
    const { head, trace, run: kept } = best!
    const probabilities = await withRecovery(
      device,
      () => {
        one.write(head)
        return predictProbabilities(one, run.input)
      },
      { signal },
    )
    return {
      ...{ method: method.name, k, probabilities, head, settings, trace, kept, steps, batch },
      assignments: argmaxRows(probabilities, k),
      restarts: summaries,
      ...{ runs, groups, inertia: summaries[kept]!.inertia },
    }
  } finally {
    source?.dispose()
    one.dispose()
  }
}

/** [N, d]: the clean features, normalised: the yardstick of inertia. */
function cleanRows({ clean, dimension }: Features): Float32Array<ArrayBuffer> {
  const rows = Float32Array.from(clean)
  normalizeRows(rows, dimension)
  return rows
}

async function openSource(
  features: Features,
  clean: Float32Array,
  { pairs, noise, dropLast, normalize }: ScpSettings,
  { device, signal, source, online, ...options }: ClusterOptions & Record<Sizes, number>,
): Promise<BatchSource> {
  const { count, dimension } = features
  const { batch, seed, runs, memoryBudget = DEFAULT_BUDGET } = options
  const search = (): Promise<Uint32Array<ArrayBuffer>> =>
    nearestNeighbours(device, clean, { count, dimension, neighbours: pairs, memory: memoryBudget })
  const neighbours = pairs > 0 ? await withRecovery(device, search, { signal }) : undefined
  const sampling = { batch, pairs, neighbours, noise, dropLast, normalize }
  if (online) return OnlineSource.open(device, features, online, { ...sampling, seed, signal })
  return (source ?? chooseSource)(device, features, { ...sampling, runs, memoryBudget })
}

type Sizes = 'batch' | 'seed' | 'runs'

interface Parts {
  readonly settings: ScpSettings
  readonly source: BatchSource
  /** [N, d], normalised. */
  readonly clean: Float32Array
  readonly steps: number
  readonly input: PredictionInput
}

/** Trains one group of runs after another, and keeps the best. */
class ClusterRun {
  readonly input: PredictionInput
  readonly #options: ClusterOptions
  readonly #job: Job
  readonly #method: ClusterMethod
  readonly #parts: Parts
  #finished: FinishedRuns = { summaries: [], assignments: [] }

  constructor(options: ClusterOptions, job: Job, method: ClusterMethod, parts: Parts) {
    this.#options = options
    this.#job = job
    this.#method = method
    this.#parts = parts
    this.input = parts.input
  }

  async all(): Promise<FinishedRuns> {
    let resumed: Checkpoint | undefined
    if (this.#options.resume) {
      resumed = parseCheckpoint(this.#options.resume)
      expectJob(resumed.job, JSON.parse(JSON.stringify(this.#job)) as Job)
      this.#finished = resumed.finished
    }
    let first = 0
    let snapshot = resumed?.training
    let failure: DivergedError | undefined
    for (const runs of this.#job.groups) {
      if (first >= this.#finished.summaries.length) {
        failure = (await this.#group(first, runs, snapshot)) ?? failure
        snapshot = undefined
        if (first + runs < this.#parts.settings.restarts) await this.#checkpoint()
      }
      first += runs
    }
    if (!this.#finished.best) {
      throw failure ?? new KeeplightError('internal', 'cluster: every run diverged')
    }
    return this.#finished
  }

  async #checkpoint(training?: TrainingSnapshot): Promise<void> {
    const state = { job: this.#job, finished: this.#finished, training }
    await this.#options.onCheckpoint?.(serializeCheckpoint(state))
  }

  async #group(
    first: number,
    runs: number,
    resume: TrainingSnapshot | undefined,
  ): Promise<DivergedError | undefined> {
    const { device, k, onProgress, snapshotEvery, checkpointSeconds, probe, signal } = this.#options
    const { settings, source, steps } = this.#parts
    const { maker, learningRates, decay, adam } = this.#method
    const { restarts, learningRate, finalLearningRate } = settings
    const seeds = Array.from({ length: runs }, (_, run) => this.#job.seed + first + run)
    const adapter = maker(device, { runs, dimension: source.dimension, outputs: k })
    const groups =
      decay === undefined
        ? undefined
        : parameterGroups(adapter.parameters, decayMatricesOfRuns(decay))
    try {
      const finished = await train(
        {
          ...{ adapter, source, seeds, groups, resume, probe, signal, checkpointSeconds },
          ...(adam && { adam }),
          ...(snapshotEvery !== undefined && { snapshotEvery }),
          learningRates:
            learningRates?.(steps, source.batch) ??
            cosineSchedule(steps, learningRate, finalLearningRate),
          onProgress: ({ step, losses }) => {
            const finite = losses.filter(Number.isFinite)
            const loss = finite.reduce((sum, value) => sum + value, 0) / finite.length
            onProgress?.({ restart: first, runs, restarts, step, steps, loss })
          },
          ...(this.#options.onCheckpoint && {
            onCheckpoint: (snapshot) => this.#checkpoint(snapshot),
          }),
        },
        (trained) => this.#score(adapter, trained, first, seeds),
      )
      this.#finished = finished
      return undefined
    } catch (error) {
      if (!(error instanceof DivergedError)) throw error
      this.#finished = this.#diverged(error, seeds)
      return error
    } finally {
      adapter.dispose()
      groups?.table.dispose()
    }
  }

  /** Inertia of every run of a group, and the best of all runs so far. */
  async #score(
    adapter: Adapter,
    { diverged, readTrace }: TrainedRuns,
    first: number,
    seeds: readonly number[],
  ): Promise<FinishedRuns> {
    const { clean, input } = this.#parts
    let { best } = this.#finished
    const summaries = [...this.#finished.summaries]
    const assignments = [...this.#finished.assignments]
    const predicted = await predictRuns(adapter, input)
    for (const [run, labels] of predicted.entries()) {
      const seed = seeds[run]!
      const failed = diverged.get(run)
      const trace = failed ? [] : await readTrace(run)
      const inertia = failed ? NaN : inertiaOf(clean, input.dimension, labels, adapter.outputs)
      const lowest = best ? summaries[best.run]!.inertia : Infinity
      if (inertia < lowest) best = { run: first + run, head: await adapter.read(run), trace }
      const loss = trace.at(-1)?.total ?? NaN
      summaries.push({ seed, inertia, loss, ...(failed && { diverged: failed }) })
      assignments.push(failed ? new Int32Array() : labels)
    }
    return { summaries, assignments, best }
  }

  /** A group that diverged as a whole. */
  #diverged({ diverged }: DivergedError, seeds: readonly number[]): FinishedRuns {
    const { summaries, assignments, best } = this.#finished
    const failed = seeds.map((seed, run) => {
      return { seed, inertia: NaN, loss: NaN, diverged: diverged.get(run)! }
    })
    return {
      summaries: [...summaries, ...failed],
      assignments: [...assignments, ...seeds.map(() => new Int32Array())],
      best,
    }
  }
}
