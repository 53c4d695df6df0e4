import {
  adjustedRandIndex,
  clusteringAccuracy,
  normalizedMutualInformation,
} from '../../index.node.ts'

export const metrics = ['accuracy', 'nmi', 'ari'] as const
export type Metric = (typeof metrics)[number]

/** How tables name them. */
export const metricNames: Readonly<Record<Metric, string>> = {
  accuracy: 'ACC',
  nmi: 'NMI',
  ari: 'ARI',
}

/** In %. */
export type Scores = Readonly<Record<Metric, number>>

/** What several runs came to. */
export interface Summary {
  readonly mean: number
  /** Standard deviation of one run (n − 1 in the denominator); NaN when it is unknown. */
  readonly deviation: number
  readonly runs: number
}

export const spread = (mean: number, deviation: number, runs: number): Summary => ({
  mean,
  deviation,
  runs,
})

export function scoresOf(labels: Int32Array, assignments: Int32Array): Scores {
  return {
    accuracy: 100 * clusteringAccuracy(labels, assignments),
    nmi: 100 * normalizedMutualInformation(labels, assignments),
    ari: 100 * adjustedRandIndex(labels, assignments),
  }
}

export function summarize(values: readonly number[]): Summary {
  const runs = values.length
  const mean = values.reduce((sum, value) => sum + value, 0) / runs
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0)
  return { mean, deviation: runs > 1 ? Math.sqrt(squares / (runs - 1)) : NaN, runs }
}

/**
 * The largest difference of two means that still counts as agreement: twice its standard error. An
 * unknown deviation is taken to be the other's; NaN when neither is known.
 */
export function agreementLimit(a: Summary, b: Summary): number {
  const own = Number.isNaN(a.deviation) ? b.deviation : a.deviation
  const other = Number.isNaN(b.deviation) ? a.deviation : b.deviation
  return 2 * Math.sqrt(own ** 2 / a.runs + other ** 2 / b.runs)
}

/** `67.9 ± 2.2` */
export function formatSummary({ mean, deviation }: Summary): string {
  return Number.isNaN(deviation) ? mean.toFixed(1) : `${mean.toFixed(1)} ± ${deviation.toFixed(1)}`
}

/** Pearson's correlation; NaN of fewer than two values, or where one side is constant. */
export function correlation(a: readonly number[], b: readonly number[]): number {
  const [meanA, meanB] = [summarize(a).mean, summarize(b).mean]
  const sum = (valueOf: (i: number) => number): number =>
    a.reduce((total, _, i) => total + valueOf(i), 0)
  const together = sum((i) => (a[i] - meanA) * (b[i] - meanB))
  return together / Math.sqrt(sum((i) => (a[i] - meanA) ** 2) * sum((i) => (b[i] - meanB) ** 2))
}
