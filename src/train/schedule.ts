/** What an optimiser needs at each step; Adam's rows are [lr/(1 − β₁ᵗ), 1/√(1 − β₂ᵗ), lr, 0], t from 1. */
export type ScheduleTable = Float32Array<ArrayBuffer>

export interface AdamOptions {
  readonly beta1: number
  readonly beta2: number
  readonly eps: number
}

/** PyTorch's defaults. */
export const adamDefaults: AdamOptions = { beta1: 0.9, beta2: 0.999, eps: 1e-8 }

/**
 * Learning rates of cosine annealing (Loshchilov & Hutter 2017) from `initial` to `final`, without
 * restarts: final + (initial − final)(1 + cos(π·step/steps))/2. Computed in f64.
 */
export function cosineSchedule(steps: number, initial: number, final = 0): Float64Array {
  return Float64Array.from({ length: steps }, (_, step) => {
    return final + ((initial - final) * (1 + Math.cos((Math.PI * step) / steps))) / 2
  })
}

/**
 * The same after a warm-up: the rate rises to `initial` in equal parts over the first `warmup` steps, and
 * falls to `final` over the others.
 */
export function warmupCosineSchedule(
  steps: number,
  warmup: number,
  initial: number,
  final = 0,
): Float64Array {
  const falling = cosineSchedule(steps - warmup, initial, final)
  return Float64Array.from({ length: steps }, (_, step) => {
    return step < warmup ? (initial * (step + 1)) / (warmup + 1) : falling[step - warmup]!
  })
}

/** The table that the Adam kernel reads, from a learning rate for every step. */
export function adamTable(
  learningRates: ArrayLike<number>,
  { beta1, beta2 }: Pick<AdamOptions, 'beta1' | 'beta2'> = adamDefaults,
): ScheduleTable {
  const table = new Float32Array(learningRates.length * 4)
  for (let step = 0; step < learningRates.length; step++) {
    const rate = learningRates[step]!
    table[step * 4] = rate / (1 - beta1 ** (step + 1))
    table[step * 4 + 1] = 1 / Math.sqrt(1 - beta2 ** (step + 1))
    table[step * 4 + 2] = rate
  }
  return table
}

/** The table that the SGD kernel reads: rows of [0, 0, lr, 0], where Adam's has its learning rates. */
export function sgdTable(learningRates: ArrayLike<number>): ScheduleTable {
  const table = new Float32Array(learningRates.length * 4)
  for (let step = 0; step < learningRates.length; step++) table[step * 4 + 2] = learningRates[step]!
  return table
}
