import { clusteringAccuracy } from '../index.node.ts'
import type { ClusterResult, RestartSummary } from '../index.node.ts'

/** Mean, sample standard deviation and the best of some runs' figures. */
export interface Spread {
  readonly mean: number
  readonly deviation: number
  readonly best: number
}

/** A run's figures; its accuracy where classes are known, for information: it decides nothing. */
export interface ScoredRestart extends RestartSummary {
  readonly accuracy?: number
}

export interface RestartScores {
  readonly restarts: readonly ScoredRestart[]
  /** Over the runs that did not diverge. */
  readonly inertia: Spread
  readonly loss: Spread
  readonly accuracy?: Spread
  /** Pearson's, of inertia with accuracy: near −1 where low inertia tells good runs. Of 3 runs or more. */
  readonly correlation?: number
}

/** What the restarts of a run came to, scored by labels where there are any. */
export function scoreRestarts(
  { restarts, runs }: Pick<ClusterResult, 'restarts' | 'runs'>,
  labels: Int32Array | undefined,
): RestartScores {
  const scored = restarts.map((restart, run): ScoredRestart => {
    if (!labels || restart.diverged) return restart
    return { ...restart, accuracy: clusteringAccuracy(labels, runs[run]) }
  })
  const sound = scored.filter(({ diverged }) => !diverged)
  const inertias = sound.map(({ inertia }) => inertia)
  const accuracies = sound.flatMap(({ accuracy }) => accuracy ?? [])
  const correlation = accuracies.length > 2 ? correlationOf(inertias, accuracies) : undefined
  return {
    restarts: scored,
    inertia: spreadOf(inertias, Math.min),
    loss: spreadOf(
      sound.map(({ loss }) => loss),
      Math.min,
    ),
    ...(accuracies.length > 0 && { accuracy: spreadOf(accuracies, Math.max) }),
    ...(correlation !== undefined && { correlation }),
  }
}

export function spreadOf(
  values: readonly number[],
  better: (...values: number[]) => number,
): Spread {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0)
  const deviation = Math.sqrt(squares / Math.max(values.length - 1, 1))
  return { mean, deviation, best: better(...values) }
}

/** Pearson's correlation; undefined where one side doesn't vary. */
export function correlationOf(a: readonly number[], b: readonly number[]): number | undefined {
  const [meanA, meanB] = [a, b].map((all) => all.reduce((sum, x) => sum + x, 0) / all.length)
  let [ab, aa, bb] = [0, 0, 0]
  a.forEach((value, i) => {
    ab += (value - meanA) * (b[i] - meanB)
    aa += (value - meanA) ** 2
    bb += (b[i] - meanB) ** 2
  })
  return aa > 0 && bb > 0 ? ab / Math.sqrt(aa * bb) : undefined
}

/** Those figures as a line for people; empty for one run. */
export function describeRestarts({
  restarts,
  inertia,
  accuracy,
  correlation,
}: RestartScores): string {
  if (restarts.length === 1) return ''
  const diverged = restarts.filter(({ diverged }) => diverged).length
  const percent = (value: number): string => (value * 100).toFixed(1)
  const parts = [
    `${restarts.length} runs: inertia ${inertia.mean.toFixed(4)} ± ${inertia.deviation.toFixed(4)}, best ${inertia.best.toFixed(4)}`,
    accuracy &&
      `ACC ${percent(accuracy.mean)} ± ${percent(accuracy.deviation)} %, best ${percent(accuracy.best)} % (chosen by inertia, not by it)`,
    correlation !== undefined && `correlation of inertia with ACC ${correlation.toFixed(2)}`,
    diverged > 0 && `${diverged} diverged and left out`,
  ]
  return parts.filter(Boolean).join('; ')
}
