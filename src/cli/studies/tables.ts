import { csvText } from '../../data/csv.ts'
import { markup, type Html } from '../report/html.ts'
import {
  correlation,
  formatSummary,
  metricNames,
  metrics,
  summarize,
  type Metric,
  type Summary,
} from './scores.ts'
import type { Cell, Run } from './store.ts'

/** A data set's cells of one row, put together. */
export interface RowSummary {
  readonly dataset: string
  readonly row: string
  /** Of the kept run of every repetition. */
  readonly kept: Readonly<Record<Metric, Summary>>
  /** Of every single run. */
  readonly single: Readonly<Record<Metric, Summary>>
  /** The run of highest ACC: chosen by labels, as the published figures of SCP are. */
  readonly best: Run
  /** Of ACC and inertia over all runs; NaN of fewer than three. */
  readonly correlation: number
  readonly seconds: number
}

/** Puts the repetitions of a row on a data set together. */
export function summarizeRow(cells: readonly Cell[]): RowSummary {
  const { dataset, row } = cells[0]
  const runs = cells.flatMap((cell) => cell.runs)
  const kept = cells.map((cell) => cell.runs[cell.kept])
  const of = (some: readonly Run[]): Record<Metric, Summary> =>
    Object.fromEntries(
      metrics.map((metric) => [metric, summarize(some.map(({ scores }) => scores[metric]))]),
    ) as Record<Metric, Summary>
  const accuracies = runs.map(({ scores }) => scores.accuracy)
  return {
    ...{ dataset, row, kept: of(kept), single: of(runs) },
    best: runs.reduce((a, b) => (b.scores.accuracy > a.scores.accuracy ? b : a)),
    correlation:
      runs.length < 3
        ? NaN
        : correlation(
            accuracies,
            runs.map(({ inertia }) => inertia),
          ),
    seconds: cells.reduce((sum, { seconds }) => sum + seconds, 0),
  }
}

/** A line of a table in the layout of Tables 2 and 3: texts by data set and metric, '' where there is none. */
export interface TableRow {
  readonly name: string
  readonly note?: string
  /** A published row stands apart from ours. */
  readonly published?: boolean
  readonly values: (dataset: string, metric: Metric) => string
}

/** Rows are methods; columns are ACC, NMI and ARI of each data set. */
export function scoreTable(
  caption: string,
  datasets: readonly string[],
  rows: readonly TableRow[],
): Html {
  const columns = datasets.flatMap((dataset) => metrics.map((metric) => ({ dataset, metric })))
  return markup`<div class="scroll" tabindex="0" role="region" aria-label="${caption}">
    <table class="scores">
      <thead>
        <tr>
          <th scope="col" rowspan="2">method</th>
          ${datasets.map((name) => markup`<th scope="colgroup" colspan="3">${name}</th>`)}
        </tr>
        <tr>
          ${columns.map(({ metric }) => markup`<th scope="col">${metricNames[metric]}</th>`)}
        </tr>
      </thead>
      <tbody>
        ${rows.map(
          ({ name, note, published, values }) =>
            markup`<tr class="${published && 'published'}">
              <th scope="row">${name}${note && markup`<small>${note}</small>`}</th>
              ${columns.map(({ dataset, metric }) => markup`<td>${values(dataset, metric)}</td>`)}
            </tr>`,
        )}
      </tbody>
    </table>
  </div>`
}

/** The same as lines of text, for a terminal. */
export function textTable(datasets: readonly string[], rows: readonly TableRow[]): string {
  const columns = datasets.flatMap((dataset) => metrics.map((metric) => ({ dataset, metric })))
  const lines = [
    ['', ...columns.map(({ dataset, metric }) => `${dataset} ${metricNames[metric]}`)],
    ...rows.map(({ name, note, values }) => [
      note ? `${name} (${note})` : name,
      ...columns.map(({ dataset, metric }) => values(dataset, metric)),
    ]),
  ]
  const widths = lines[0].map((_, column) => Math.max(...lines.map((line) => line[column].length)))
  return lines
    .map((line) =>
      line
        .map((cell, i) => (i === 0 ? cell.padEnd(widths[0]) : cell.padStart(widths[i])))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

/** `67.9 ± 2.2`, or `collapse`-like words where a summary says nothing. */
export function summaryText(summary: Summary | undefined): string {
  return summary ? formatSummary(summary) : ''
}

/** Every run as a line of CSV, after the names of its columns. */
export function runsCsv(cells: readonly Cell[]): string {
  const head = ['dataset', 'row', 'seed', 'run', 'kept', 'acc', 'nmi', 'ari', 'inertia']
  const lines = cells.flatMap(({ dataset, row, seed, runs, kept }) =>
    runs.map((run, i) => {
      const scores = metrics.map((metric) => run.scores[metric].toFixed(3))
      return [dataset, row, seed, run.seed, i === kept ? 1 : 0, ...scores, run.inertia.toFixed(6)]
    }),
  )
  return csvText([head, ...lines])
}
