import { randomNormal } from '../kernels/random.ts'
import { tsneMoveKernel } from '../kernels/tsneGradient.ts'
import type { Device } from '../runtime/device.ts'
import { KeeplightError } from '../runtime/errors.ts'
import { MAX_NEAREST } from '../runtime/ops/distance.ts'
import { tsneGradient, tsneProbabilities, type TsneGraph } from '../runtime/ops/tsne.ts'
import { record, type Plan } from '../runtime/plan.ts'
import { withRecovery } from '../runtime/recovery.ts'
import { scope, type Tensor } from '../runtime/tensor.ts'
import { nearestLists } from './neighbours.ts'
import { principalComponents } from './pca.ts'
import { jointProbabilities, type SparseRows } from './tsneGraph.ts'

export interface TsneProgress {
  /** Iterations done. */
  readonly iteration: number
  readonly iterations: number
  /** Divergence of the layout before the latest of them. */
  readonly kl: number
}

export interface TsneOptions {
  readonly device: Device
  /** N, rows of the data: 1 to {@link MAX_TSNE_ROWS}. */
  readonly count: number
  /** D, length of a row. */
  readonly dimension: number
  /** Neighbours that count, 1 to 64 and below N. Default 30, fewer where N is below 91. */
  readonly perplexity?: number
  /** Default 1000. */
  readonly iterations?: number
  /** Factor on the attraction in the first quarter of the iterations, 250 at most. Default 12. */
  readonly exaggeration?: number
  /** Default scikit-learn's: N / (4 · exaggeration), at least 50. */
  readonly learningRate?: number
  /** Of the random numbers that `init: 'random'` draws, and 'pca' where data has less than two axes. */
  readonly seed?: number
  /**
   * Where the layout starts: the first two principal components, scaled to a deviation of 1e-4 (the
   * default); normal numbers of that deviation; or [N, 2].
   */
  readonly init?: 'pca' | 'random' | Float32Array
  readonly onProgress?: ((progress: TsneProgress) => void) | undefined
  readonly signal?: AbortSignal | undefined
}

export interface TsneResult {
  /** [N, 2], of mean 0. */
  readonly layout: Float32Array<ArrayBuffer>
  /** Kullback-Leibler divergence of the layout, in nats. */
  readonly kl: number
  readonly iterations: number
  readonly perplexity: number
  /** Rows whose similarity counts for each row. */
  readonly neighbours: number
  readonly exaggeration: number
  readonly learningRate: number
}

/** Most rows: an iteration takes time by their square, 1.6 · 10⁹ pairs at this number. */
export const MAX_TSNE_ROWS = 40_000
/** Beyond it, 128 neighbours hold too little of a row's similarity. */
const MAX_PERPLEXITY = 64
/** Deviation of the start. */
const SMALL = 1e-4
const EARLY = 250
const MOMENTUM = { early: 0.5, late: 0.8 }
/** Between two readings of the divergence, about. */
const PROGRESS_MS = 200
const STREAM = 78

/**
 * t-SNE in two dimensions (van der Maaten & Hinton 2008) with scikit-learn's defaults: similarities over
 * the 3 · perplexity + 1 nearest rows (128 at most), exact repulsion over all pairs. The same seed gives
 * the same bits on the same adapter; after a loss of the device it is recovered and starts again.
 *
 * Distances are Euclidean on the data as they are: normalise features before; logits are taken as such,
 * and so are log-probabilities.
 *
 * @param data [N, D]
 * @throws KeeplightError `usage` for impossible options, `validation` for data that are not finite,
 *   `aborted` when the signal says so
 */
export async function tsne(data: Float32Array, options: TsneOptions): Promise<TsneResult> {
  const settings = resolveSettings(data, options)
  const { device, count, signal } = options
  if (count === 1) return { ...settings, layout: new Float32Array(2), kl: 0 }
  return withRecovery(device, () => embed(data, options, settings), { signal })
}

type Settings = Omit<TsneResult, 'layout' | 'kl'>

function resolveSettings(data: Float32Array, options: TsneOptions): Settings {
  const { count, dimension, iterations = 1000, exaggeration = 12, init } = options
  const fail = (what: string): never => {
    throw new KeeplightError('usage', `tsne: ${what}`)
  }
  if (!Number.isInteger(count) || count < 1 || count > MAX_TSNE_ROWS) {
    fail(`count is ${count}, expected 1 to ${MAX_TSNE_ROWS} rows; give a sample of larger data`)
  }
  if (data.length !== count * dimension) {
    fail(`data has ${data.length} values, expected ${count}×${dimension}`)
  }
  const bad = data.findIndex((value) => !Number.isFinite(value))
  if (bad >= 0) {
    throw new KeeplightError(
      'validation',
      `tsne: row ${Math.floor(bad / dimension)} of the data holds ${data[bad]}, expected finite numbers`,
    )
  }
  if (init instanceof Float32Array && init.length !== count * 2) {
    fail(`init has ${init.length} values, expected ${count}×2`)
  }
  if (!Number.isInteger(iterations) || iterations < 1) {
    fail(`iterations is ${iterations}, expected a whole number of 1 or more`)
  }
  if (!(exaggeration >= 1)) fail(`exaggeration is ${exaggeration}, expected 1 or more`)
  const { perplexity = Math.max(1, Math.min(30, (count - 1) / 3)) } = options
  const most = Math.max(1, Math.min(MAX_PERPLEXITY, count - 1))
  if (!(perplexity >= 1 && perplexity <= most)) {
    fail(`perplexity is ${perplexity}, expected 1 to ${most} for ${count} rows`)
  }
  const { learningRate = Math.max(count / (4 * exaggeration), 50) } = options
  if (!(learningRate > 0)) fail(`learningRate is ${learningRate}, expected above 0`)
  const neighbours = Math.min(Math.floor(3 * perplexity) + 1, Math.max(1, count - 1), MAX_NEAREST)
  return { iterations, exaggeration, perplexity, learningRate, neighbours }
}

async function embed(
  data: Float32Array,
  options: TsneOptions,
  settings: Settings,
): Promise<TsneResult> {
  const { device, count } = options
  const { iterations, exaggeration, learningRate: rate } = settings
  const joint = await similarities(data, options, settings)
  const start = await startOf(data, options)
  const state = new Descent(device, count, joint, start)
  try {
    const early = Math.min(EARLY, Math.floor(iterations / 4))
    const phases = [
      { until: early, exaggeration, momentum: MOMENTUM.early },
      { until: iterations, exaggeration: 1, momentum: MOMENTUM.late },
    ].filter(({ until }) => until > 0)
    let done = 0
    for (const { until, ...phase } of phases) {
      const plan = await record(device, {}, () => state.step({ rate, ...phase }))
      try {
        done = await replay(plan, state, { done, until, iterations }, options)
      } finally {
        plan.dispose()
      }
    }
    const kl = await state.divergence()
    if (!Number.isFinite(kl)) {
      throw new KeeplightError(
        'internal',
        `tsne: the divergence is ${kl} after ${iterations} iterations; lower the learning rate (${rate})`,
      )
    }
    return { layout: await state.layout.read(), kl, ...settings }
  } finally {
    state.dispose()
  }
}

/** Replays a plan up to iteration `until`, reading the divergence now and then. */
async function replay(
  plan: Plan<Record<string, never>, unknown>,
  state: Descent,
  { done, until, iterations }: { done: number; until: number; iterations: number },
  { signal, onProgress }: TsneOptions,
): Promise<number> {
  let perRead = 1
  while (done < until) {
    if (signal?.aborted) throw new KeeplightError('aborted', 'tsne: stopped')
    const run = Math.min(perRead, until - done)
    const start = performance.now()
    await plan.replay(run)
    const [kl = NaN] = await state.kl.read()
    const ms = Math.max(performance.now() - start, 0.1)
    perRead = Math.max(1, Math.min(perRead * 2, Math.floor((PROGRESS_MS * run) / ms), 250))
    done += run
    onProgress?.({ iteration: done, iterations, kl })
  }
  return done
}

async function similarities(
  data: Float32Array,
  { device, count, dimension }: TsneOptions,
  { neighbours: k, perplexity }: Settings,
): Promise<SparseRows> {
  const lists = await nearestLists(device, data, { count, dimension, k })
  const conditional = scope(() =>
    tsneProbabilities(device.tensor(lists.squared, [count, k]), { perplexity }),
  )
  try {
    return jointProbabilities(lists, await conditional.read())
  } finally {
    conditional.dispose()
  }
}

async function startOf(
  data: Float32Array,
  { device, count, dimension, init = 'pca', seed = 0 }: TsneOptions,
): Promise<Float32Array> {
  if (init instanceof Float32Array) return init
  const random = Float32Array.from({ length: 2 * count }, (_, i) => {
    return SMALL * randomNormal(seed, STREAM, i)
  })
  if (init === 'random') return random
  const sizes = { count, dimension, components: 2 }
  const { scores, deviations } = await principalComponents(device, data, sizes)
  const first = deviations[0]!
  // An axis without variance would stay a line for ever: every force on it is 0.
  return random.map((value, i) => {
    return deviations[i % 2]! > 1e-6 * first ? (scores[i]! / first) * SMALL : value
  })
}

/** A layout on its way down, on the GPU. */
class Descent {
  /** [N, 2] */
  readonly layout: Tensor<'f32'>
  /** [1] */
  readonly kl: Tensor<'f32'>
  readonly #graph: TsneGraph
  readonly #velocity: Tensor<'f32'>
  readonly #gains: Tensor<'f32'>

  constructor(device: Device, count: number, joint: SparseRows, start: Float32Array) {
    const { starts, columns, weights } = joint
    this.#graph = {
      starts: device.tensor(starts, [starts.length]),
      columns: device.tensor(columns, [columns.length]),
      weights: device.tensor(weights, [weights.length]),
    }
    this.layout = device.tensor(start, [count, 2])
    this.#velocity = device.tensor(new Float32Array(2 * count), [count, 2])
    this.#gains = device.tensor(new Float32Array(2 * count).fill(1), [count, 2])
    this.kl = device.tensor(new Float32Array(1), [1])
  }

  /** Enqueues one iteration. */
  step({
    exaggeration,
    ...params
  }: {
    readonly exaggeration: number
    readonly momentum: number
    readonly rate: number
  }): void {
    const { layout, kl } = this
    const slopes = tsneGradient(layout, this.#graph, { exaggeration })
    layout.device.dispatch(
      tsneMoveKernel,
      { ...slopes, points: layout, velocity: this.#velocity, gains: this.#gains, kl },
      { count: layout.shape[0]!, ...params },
    )
  }

  /** The divergence of the layout as it is. */
  async divergence(): Promise<number> {
    const { gradient, divergence, total } = tsneGradient(this.layout, this.#graph)
    try {
      const [z = NaN] = await total.read()
      return (await divergence.read()).reduce((sum, value) => sum + value, Math.log(z))
    } finally {
      for (const tensor of [gradient, divergence, total]) tensor.dispose()
    }
  }

  dispose(): void {
    const { layout, kl } = this
    const all = [layout, kl, this.#velocity, this.#gains, ...Object.values(this.#graph)]
    all.forEach((tensor: Tensor) => tensor.dispose())
  }
}
