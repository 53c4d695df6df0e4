import type { Activation } from '../kernels/activations.ts'
import type { HeadNorm, Initialization } from '../model/mlpHead.ts'
import { KeeplightError } from '../runtime/errors.ts'
import type { AdapterMaker } from './adapter.ts'
import { ScpAdapter } from './scpAdapter.ts'

/**
 * Every choice of a run. The paper leaves many of them open; what a reading of it suggests is the
 * default of both presets, and `docs/cli.md` lists them.
 */
export interface ScpSettings {
  /** Feature noise, in standard deviations of all entries of the features. */
  readonly noise: number
  /** The second view shows one of this many nearest neighbours; 0: the same image. */
  readonly pairs: number
  /** Runs from different seeds, side by side; the one of lowest inertia is kept. */
  readonly restarts: number
  /** Weight of the entropy term. 0 leaves it out. */
  readonly alpha: number
  /** Weights of the other two terms. Default 1. */
  readonly crossEntropyWeight: number
  readonly confidenceWeight: number
  /** Cross-entropy of the views in both directions, halved each, or of −Σ p ln q alone. Default true. */
  readonly symmetric: boolean
  /** Whether no gradient goes through the cross-entropy's targets. Default false. */
  readonly stopGradient: boolean
  /** The entropies of the two views added up, or their mean, which halves α. Default `sum`. */
  readonly entropyOver: 'sum' | 'mean'
  readonly epochs: number
  /** The schedule has at least this many steps, however small the collection. */
  readonly minSteps: number
  /** Images of a step at most; a small collection takes all of itself. */
  readonly batch: number
  /** Leave out an epoch's last, incomplete batch; else it is filled from the epoch's beginning. Default true. */
  readonly dropLast: boolean
  readonly learningRate: number
  /** η_min: where the cosine ends. Default 0. */
  readonly finalLearningRate: number
  /** Of Adam. Default 0.9 and 0.999. */
  readonly beta1: number
  readonly beta2: number
  /** Widths of the hidden layers; empty: the features' own, four times. */
  readonly hidden: readonly number[]
  /** Default `relu`. */
  readonly activation: Exclude<Activation, 'none'>
  /** Default `batch`. */
  readonly norm: HeadNorm
  /** BatchNorm over the rows of both views, or of each apart. Default `together`. */
  readonly normViews: 'together' | 'apart'
  /** Share of the hidden units dropped. Default 0. */
  readonly dropout: number
  /** Default `pytorch`: uniform in ±1/√fan-in. */
  readonly initialization: Initialization
  /** L2-normalise the features. Default true. */
  readonly normalize: boolean
}

export type Preset = 'keeplight' | 'paper'

const COMMON: Omit<ScpSettings, 'alpha' | 'noise' | 'pairs' | 'restarts'> = {
  ...{ crossEntropyWeight: 1, confidenceWeight: 1 },
  ...{ symmetric: true, stopGradient: false, entropyOver: 'sum' },
  ...{ epochs: 30, minSteps: 600, batch: 512, dropLast: true },
  ...{ learningRate: 1e-3, finalLearningRate: 0, beta1: 0.9, beta2: 0.999 },
  ...{ hidden: [], activation: 'relu', norm: 'batch', normViews: 'together', dropout: 0 },
  ...{ initialization: 'pytorch', normalize: true },
}

/**
 * Settings of a preset, by number of clusters. `paper` is SCP as published; `keeplight` adds noise on
 * the features, pairs of neighbours, and restarts, which lift it above k-means where classes overlap.
 */
export function scpSettings(preset: Preset, k: number): ScpSettings {
  const alpha = k <= 10 ? 2 : k <= 20 ? 3 : 5
  return preset === 'paper'
    ? { ...COMMON, alpha, noise: 0, pairs: 0, restarts: 1 }
    : { ...COMMON, alpha, noise: 2, pairs: 10, restarts: 8 }
}

/** Numbers: the least, whether only above it, whether whole, and the most. */
const NUMBERS: Readonly<
  Record<string, { least: number; above?: boolean; whole?: boolean; below?: number }>
> = {
  noise: { least: 0 },
  pairs: { least: 0, whole: true },
  restarts: { least: 1, whole: true },
  alpha: { least: 0 },
  crossEntropyWeight: { least: 0 },
  confidenceWeight: { least: 0 },
  epochs: { least: 1, whole: true },
  minSteps: { least: 1, whole: true },
  batch: { least: 2, whole: true },
  learningRate: { least: 0, above: true },
  finalLearningRate: { least: 0 },
  beta1: { least: 0, below: 1 },
  beta2: { least: 0, below: 1 },
  dropout: { least: 0, below: 1 },
}

const CHOICES: Readonly<Record<string, readonly unknown[]>> = {
  symmetric: [true, false],
  stopGradient: [true, false],
  entropyOver: ['sum', 'mean'],
  dropLast: [true, false],
  activation: ['relu', 'gelu', 'quickGelu', 'silu'],
  norm: ['batch', 'layer', 'none'],
  normViews: ['together', 'apart'],
  initialization: ['pytorch', 'truncated-normal'],
  normalize: [true, false],
}

const fail = (message: string): never => {
  throw new KeeplightError('usage', `cluster: ${message}`)
}

/** A preset's settings with what is given in their place, checked. */
export function resolveSettings(
  preset: Preset,
  k: number,
  count: number,
  given: Partial<ScpSettings>,
): ScpSettings {
  if (!Number.isInteger(k) || k < 2) fail(`k is ${k}, expected a whole number of 2 or more`)
  if (k > count) {
    fail(`k is ${k}, but there are only ${count} images; ask for ${count} clusters at most`)
  }
  const base = scpSettings(preset, k)
  const names = Object.keys(base) as (keyof ScpSettings)[]
  const own = names.map((name) => [name, given[name] ?? base[name]] as const)
  for (const [name, value] of own) checkSetting(name, value)
  const settings = Object.fromEntries(own) as unknown as ScpSettings
  if (settings.normViews === 'apart' && Math.min(settings.batch, count) < 2) {
    fail('views normalised apart need batches of 2 images or more')
  }
  return settings
}

function checkSetting(name: string, value: unknown): void {
  const number = NUMBERS[name]
  if (number) {
    const { least, above, whole, below } = number
    const fits =
      typeof value === 'number' &&
      Number.isFinite(value) &&
      (above ? value > least : value >= least) &&
      (below === undefined || value < below) &&
      (!whole || Number.isInteger(value))
    if (fits) return
    const range = above ? `above ${least}` : `${least} or more`
    const under = below === undefined ? '' : ` and below ${below}`
    fail(`${name} is ${String(value)}, expected ${range}${under}`)
  }
  const choices = CHOICES[name]
  if (choices && !choices.includes(value)) {
    fail(`${name} is ${String(value)}, expected ${choices.map(String).join(' or ')}`)
  }
  if (name !== 'hidden') return
  const widths = value as readonly number[]
  if (!widths.every((width) => Number.isInteger(width) && width > 0)) {
    fail(`hidden is ${widths.join(',')}, expected whole numbers above 0`)
  }
}

/** The adapter that some settings describe. */
export const scpMaker =
  (settings: ScpSettings): AdapterMaker =>
  (device, { runs, dimension, outputs }) => {
    const { hidden, norm, activation, dropout, initialization, normViews } = settings
    const widths = hidden.length > 0 ? hidden : Array.from({ length: 4 }, () => dimension)
    return new ScpAdapter(
      device,
      {
        widths: [dimension, ...widths, outputs],
        ...{ norm, activation, dropout, initialization },
        batches: normViews === 'apart' ? 2 : 1,
      },
      {
        crossEntropy: settings.crossEntropyWeight,
        confidence: settings.confidenceWeight,
        entropy: settings.alpha,
        symmetric: settings.symmetric,
        stopGradient: settings.stopGradient,
        entropyOver: settings.entropyOver,
      },
      runs,
    )
  }
