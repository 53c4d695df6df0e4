import { KeeplightError } from '../runtime/errors.ts'
import { record } from '../runtime/plan.ts'
import { withRecovery } from '../runtime/recovery.ts'
import type { Adapter } from './adapter.ts'
import type { BatchSource } from './batchSource.ts'
import {
  TrainingState,
  trainingStep,
  type OptimizerOptions,
  type TraceRow,
  type TrainingSnapshot,
} from './trainingState.ts'

export interface TrainProgress {
  /** Steps done. */
  readonly step: number
  readonly steps: number
  /** [R]: each run's total loss at the latest step. */
  readonly losses: Float32Array
}

export interface TrainOptions extends OptimizerOptions {
  readonly adapter: Adapter
  readonly source: BatchSource
  /** [R]: run r's initial weights, batches and noise are a function of seeds[r]. */
  readonly seeds: readonly number[]
  /** Of every step; their number is that of the steps. */
  readonly learningRates: ArrayLike<number>
  /** Told while it trains; after a loss of the device the steps since the last snapshot come again. */
  readonly onProgress?: ((progress: TrainProgress) => void) | undefined
  /** Steps between copies of the training state on the host. Default: one every 5 s. */
  readonly snapshotEvery?: number
  /** Where to go on. */
  readonly resume?: TrainingSnapshot | undefined
  /**
   * Given a copy of the training state, to write it: at every snapshot if these come by steps, else
   * about every `checkpointSeconds`, and when the signal stops the run.
   */
  readonly onCheckpoint?: ((snapshot: TrainingSnapshot) => Promise<void> | void) | undefined
  /** Default 60. */
  readonly checkpointSeconds?: number
  /** Called with the weights as they are after each of these steps (0: before the first). */
  readonly probe?: Probe | undefined
  readonly signal?: AbortSignal | undefined
}

export interface Probe {
  readonly steps: readonly number[]
  readonly take: (step: number, adapter: Adapter) => Promise<void>
}

/** Where a run's loss was first not a number, or infinite. */
export interface Divergence {
  readonly step: number
  /** The terms that were not finite; none when all were: the weights were so before. */
  readonly terms: readonly string[]
}

/** The loss of every run is no longer finite. */
export class DivergedError extends KeeplightError {
  readonly diverged: ReadonlyMap<number, Divergence>

  constructor(message: string, diverged: ReadonlyMap<number, Divergence>) {
    super('internal', message)
    this.diverged = diverged
  }
}

/** What `finish` is given: the adapter's weights are trained. */
export interface TrainedRuns {
  /** Runs whose loss is not finite, by their number. The others don't depend on them. */
  readonly diverged: ReadonlyMap<number, Divergence>
  readTrace(run: number): Promise<TraceRow[]>
}

/** Steps between two readings of the loss take about this long; submits within have their own budget. */
const PROGRESS_MS = 100
const SNAPSHOT_MS = 5000
/** Share of the time that snapshots may take. */
const SNAPSHOT_SHARE = 0.05

/**
 * Trains R runs of an adapter side by side by one recorded plan: draw the batch, forward, loss, backward,
 * update. Nothing is read back but the losses.
 *
 * When the device is lost it is recovered (`recoverDevice`), and the runs go on from their last snapshot
 * to the same bits; at the fourth loss the error is thrown. `finish` runs within that, so that a loss
 * there is survived too.
 *
 * @throws KeeplightError `aborted` when the signal says so; `internal` when the loss of every run is no
 *   longer finite, with the step and the term
 */
export async function train<T>(
  options: TrainOptions,
  finish: (trained: TrainedRuns) => Promise<T>,
): Promise<T> {
  const { adapter, source, learningRates, signal } = options
  const { device } = adapter.parameters
  const state = new TrainingState(adapter, learningRates, options)
  const enqueue = (): void => trainingStep(adapter, state, source.enqueue(state.step))
  const plan = await withRecovery(device, () => record(device, {}, enqueue), { signal }).catch(
    (error: unknown) => {
      state.dispose()
      throw error
    },
  )
  const loop = new Loop(options, state, (steps) => plan.replay(steps))
  try {
    return await withRecovery(device, async () => finish(await loop.run()), { signal })
  } finally {
    plan.dispose()
    state.dispose()
  }
}

/** One training, from its latest snapshot on as often as the device is lost. */
class Loop {
  readonly #options: TrainOptions
  readonly #state: TrainingState
  readonly #replay: (steps: number) => Promise<void>
  readonly #steps: number
  #snapshot: TrainingSnapshot | undefined
  #perRead = 1
  /** When the latest snapshot and checkpoint were done, and what a snapshot took. */
  #saved = performance.now()
  #written = performance.now()
  #savingMs = 0

  constructor(
    options: TrainOptions,
    state: TrainingState,
    replay: (steps: number) => Promise<void>,
  ) {
    this.#options = options
    this.#state = state
    this.#replay = replay
    this.#steps = options.learningRates.length
    this.#snapshot = options.resume
  }

  async run(): Promise<TrainedRuns> {
    const { adapter, seeds, source, onProgress, signal } = this.#options
    if (this.#snapshot) this.#state.write(this.#snapshot, seeds)
    else {
      adapter.initialize(seeds)
      this.#state.reset(seeds)
    }
    const steps = this.#steps
    const diverged = new Map<number, Divergence>()
    let step = this.#snapshot?.step ?? 0
    if (step > 0) await this.#look(0, step, diverged)
    else await this.#probe(0)
    while (step < steps) {
      if (signal?.aborted) await this.#stop(step)
      const wanted = this.#next(step)
      const count = Math.min(wanted, (await source.prepare?.(step, wanted, seeds)) ?? wanted)
      const start = performance.now()
      await this.#replay(count)
      // Reading the loss is the one readback, and waiting for it is waiting for the steps.
      const losses = await this.#look(step, count, diverged)
      const ms = performance.now() - start
      const fitting = Math.floor((PROGRESS_MS * count) / ms)
      this.#perRead = Math.max(1, Math.min(count * 2, fitting, 1000))
      step += count
      onProgress?.({ step, steps, losses })
      await this.#probe(step)
      if (step < steps) await this.#save(step)
    }
    return { diverged, readTrace: (run) => this.#state.readTrace(run, steps) }
  }

  /** How many steps to enqueue: none past what must be done between two. */
  #next(step: number): number {
    const { snapshotEvery = Infinity, probe } = this.#options
    const stops = (probe?.steps ?? []).filter((at) => at > step).map((at) => at - step)
    const snapshot = snapshotEvery - (step % snapshotEvery)
    const all = [this.#perRead, this.#steps - step, ...stops]
    return Math.min(...all, Number.isFinite(snapshotEvery) ? snapshot : Infinity)
  }

  async #probe(step: number): Promise<void> {
    const { probe, adapter } = this.#options
    if (probe?.steps.includes(step)) await probe.take(step, adapter)
  }

  /** Reads the losses of some steps, notes runs that diverged, and gives each run's latest loss. */
  async #look(
    first: number,
    count: number,
    diverged: Map<number, Divergence>,
  ): Promise<Float32Array> {
    const { runs, terms } = this.#options.adapter
    const width = terms.length + 2
    const data = await this.#state.readRows(first, count)
    for (let i = 0; i < count * runs; i++) {
      const row = data.subarray(i * width, i * width + width - 1)
      const run = i % runs
      if (row.every(Number.isFinite) || diverged.has(run)) continue
      const bad = terms.filter((_, term) => !Number.isFinite(row[1 + term]!))
      const step = first + Math.floor(i / runs)
      diverged.set(run, { step, terms: bad.length === terms.length ? [] : bad })
    }
    if (diverged.size === runs) throw this.#divergenceError(diverged)
    const last = (count - 1) * runs
    return Float32Array.from({ length: runs }, (_, run) => data[(last + run) * width]!)
  }

  #divergenceError(diverged: ReadonlyMap<number, Divergence>): DivergedError {
    const { adapter, seeds, learningRates } = this.#options
    const [[run, { step, terms }]] = [...diverged] as [[number, Divergence]]
    const rate = Math.max(...Array.from(learningRates))
    const what =
      terms.length > 0
        ? terms.join(' and ')
        : 'every term, so the weights were not finite before it'
    const whose = adapter.runs > 1 ? `of all ${adapter.runs} runs, first that ` : ''
    return new DivergedError(
      `${adapter.name}: the loss ${whose}of seed ${seeds[run]} is not finite from step ${step} on, in ` +
        `${what}; lower the learning rate (now ${rate}), or look for features that are not finite`,
      diverged,
    )
  }

  /** A copy of the state, and a checkpoint of it, where they are due. */
  async #save(step: number): Promise<void> {
    const { snapshotEvery = Infinity, onCheckpoint, checkpointSeconds = 60 } = this.#options
    const now = performance.now()
    const bySteps = Number.isFinite(snapshotEvery)
    const pause = Math.max(SNAPSHOT_MS, this.#savingMs / SNAPSHOT_SHARE)
    const due = bySteps ? step % snapshotEvery === 0 : now - this.#saved > pause
    if (!due) return
    this.#snapshot = await this.#state.read(step)
    this.#saved = performance.now()
    this.#savingMs = this.#saved - now
    if (!onCheckpoint || !(bySteps || this.#saved - this.#written > checkpointSeconds * 1000))
      return
    await onCheckpoint(this.#snapshot)
    this.#written = performance.now()
  }

  async #stop(step: number): Promise<never> {
    const { adapter, onCheckpoint } = this.#options
    if (onCheckpoint && step > 0) await onCheckpoint(await this.#state.read(step))
    throw new KeeplightError('aborted', `${adapter.name}: stopped after ${step} steps`)
  }
}
