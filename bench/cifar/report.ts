import type { Preset } from '../../src/index.node.ts'
import type { Run } from '../../src/cli/studies/store.ts'
import type { MethodRuns } from './methods.ts'
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
  readonly kmeans?: MethodRuns
  readonly scp?: MethodRuns
  readonly temi?: MethodRuns
  /** Of every `restarts` runs of SCP the one of lowest inertia. */
  readonly kept: readonly Run[]
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
  const { count, preset, kmeans: baseline, scp, kept } = runs
  const verdicts: Verdict[] = []
  if (!scp) return verdicts
  // The paper's own recipe is known to stay below k-means on these features.
  if (baseline && preset === 'keeplight') {
    const ours = meanOf(kept, 'accuracy').mean
    const kmeans = meanOf(baseline.runs, 'accuracy').mean
    const text = `SCP kept ${ours.toFixed(1)}, k-means ${kmeans.toFixed(1)}: expected above`
    verdicts.push({ holds: ours > kmeans, text })
  }
  const row = comparable ? reference[count]?.scp[preset] : undefined
  if (!row) return verdicts
  for (const metric of metrics) {
    const expected = row[metric]
    if (!expected) continue
    const single = meanOf(scp.runs, metric)
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
  const { count, preset, restarts, onTest, kmeans, scp, temi, kept, verdicts } = result
  const expected = reference[count]
  const scpExpected = expected?.scp[preset]
  const name = preset === 'paper' ? 'SCP (paper)' : 'SCP'
  const line = (title: string, runs: readonly Run[], seconds: string, tail: string): string[] => [
    ...[title, String(runs.length)],
    ...metrics.map((metric) => formatSummary(meanOf(runs, metric))),
    ...[seconds, tail],
  ]
  const whole = (title: string, found: MethodRuns | undefined, tail: string): string[][] =>
    found ? [line(title, found.runs, found.secondsPerRun.toFixed(1), tail)] : []
  const rows = [
    [
      '',
      'runs',
      ...metrics.map((metric) => metricNames[metric]),
      's/run',
      'reference ACC / NMI / ARI',
    ],
    ...whole('k-means, 20 restarts', kmeans, formatRow(expected?.kmeans)),
    ...whole(`${name}, single runs`, scp, formatRow(scpExpected)),
    ...(scp ? [line(`${name}, kept of ${restarts}`, kept, '', formatKept(scpExpected))] : []),
    ...whole('TEMI', temi, '–'),
  ]
  const where = onTest ? 'scored on the test images' : 'scored on themselves'
  console.log(`\nn = ${count.toLocaleString('en')}, ${where}\n${rows.map(formatCells).join('\n')}`)
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
