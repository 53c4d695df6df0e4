import type { Preset } from '../../src/index.node.ts'
import type { Run, ScpRun } from './methods.ts'
import { reference, type ReferenceRow } from './reference.ts'
import {
  agreementLimit,
  formatSummary,
  metricNames,
  metrics,
  summarize,
  type Metric,
  type Summary,
} from '../../src/cli/studies/scores.ts'

export interface SizeRuns {
  readonly count: number
  readonly preset: Preset
  /** SCP runs of which one is kept. */
  readonly restarts: number
  readonly onTest: boolean
  readonly kmeansRuns: readonly Run[]
  readonly scpRuns: readonly ScpRun[]
  /** Of every `restarts` runs the one of lowest inertia. */
  readonly kept: readonly ScpRun[]
}

export interface Verdict {
  readonly holds: boolean
  readonly text: string
}

export interface SizeResult extends SizeRuns {
  readonly verdicts: readonly Verdict[]
}

const meanOf = (runs: readonly Run[], metric: Metric): Summary =>
  summarize(runs.map(({ scores }) => scores[metric]))

/** @param comparable the reference ran on the same images */
export function judge(runs: SizeRuns, comparable: boolean): Verdict[] {
  const { count, preset, kmeansRuns, scpRuns, kept } = runs
  const verdicts: Verdict[] = []
  const ours = meanOf(kept, 'accuracy').mean
  const kmeans = meanOf(kmeansRuns, 'accuracy').mean
  // The paper's own recipe is known to stay below k-means on these features.
  if (preset === 'keeplight') {
    const text = `SCP kept ${ours.toFixed(1)}, k-means ${kmeans.toFixed(1)}: expected above`
    verdicts.push({ holds: ours > kmeans, text })
  }
  const row = comparable ? reference[count]?.scp[preset] : undefined
  if (!row) return verdicts
  for (const metric of metrics) {
    const expected = row[metric]
    if (!expected) continue
    const single = meanOf(scpRuns, metric)
    const limit = agreementLimit(single, expected)
    if (Number.isNaN(limit)) continue
    const difference = single.mean - expected.mean
    const sign = difference < 0 ? '−' : '+'
    const text =
      `SCP single runs, ${metricNames[metric]}: ${single.mean.toFixed(1)}, reference ` +
      `${expected.mean.toFixed(1)}: ${sign}${Math.abs(difference).toFixed(1)}, expected within ` +
      `${limit.toFixed(1)} (twice the standard error)`
    verdicts.push({ holds: Math.abs(difference) <= limit, text })
  }
  return verdicts
}

export function printSize(result: SizeResult): void {
  const { count, preset, restarts, onTest, kmeansRuns, scpRuns, kept, verdicts } = result
  const { steps, batch } = scpRuns[0]
  const expected = reference[count]
  const scp = expected?.scp[preset]
  const where = onTest ? 'scored on the test images' : 'scored on themselves'
  const name = preset === 'paper' ? 'SCP (paper)' : 'SCP'
  const seconds = (runs: readonly Run[]): string =>
    summarize(runs.map((run) => run.seconds)).mean.toFixed(1)
  const rows = [
    [
      '',
      'runs',
      ...metrics.map((metric) => metricNames[metric]),
      's/run',
      'reference ACC / NMI / ARI',
    ],
    [
      'k-means, 20 restarts',
      String(kmeansRuns.length),
      ...metrics.map((metric) => formatSummary(meanOf(kmeansRuns, metric))),
      seconds(kmeansRuns),
      formatRow(expected?.kmeans),
    ],
    [
      `${name}, single runs`,
      String(scpRuns.length),
      ...metrics.map((metric) => formatSummary(meanOf(scpRuns, metric))),
      seconds(scpRuns),
      formatRow(scp),
    ],
    [
      `${name}, kept of ${restarts}`,
      String(kept.length),
      ...metrics.map((metric) => formatSummary(meanOf(kept, metric))),
      '',
      formatKept(scp),
    ],
  ]
  console.log(
    `\nn = ${count.toLocaleString('en')}, ${where}; ${steps} steps of 2 × ${batch} rows\n` +
      rows.map(formatCells).join('\n'),
  )
  for (const { holds, text } of verdicts) console.log(`  ${holds ? 'holds' : 'FAILS'}  ${text}`)
}

const widths = [24, 5, 12, 12, 12, 7]

function formatCells(cells: readonly string[]): string {
  return `  ${cells.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join(' ')}`.trimEnd()
}

function formatRow(row: ReferenceRow | undefined): string {
  if (!row) return '–'
  const scores = metrics.flatMap((metric) => (row[metric] ? [formatSummary(row[metric])] : []))
  return `${scores.join(' / ')} (${row.accuracy.runs} runs)`
}

function formatKept(row: ReferenceRow | undefined): string {
  if (!row?.kept) return '–'
  const { kept } = row
  const scores = metrics.flatMap((metric) => (kept[metric] ? [kept[metric].toFixed(1)] : []))
  return `${scores.join(' / ')} (kept of ${row.accuracy.runs})`
}
