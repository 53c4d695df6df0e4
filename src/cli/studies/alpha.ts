import { join } from 'node:path'
import type { Context } from '../context.ts'
import { linePlot } from '../plot/plots.ts'
import { markup, type Html } from '../report/html.ts'
import { summariesOf } from './ablation.ts'
import { factList, madeBy, writeStudy, type StudyFiles } from './output.ts'
import { trainedRow } from './rows.ts'
import { metricNames, metrics, type Metric } from './scores.ts'
import { computeCells, seedsOf, trainSettings, withSession } from './session.ts'
import type { AlphaSettings } from './study.ts'
import { CellStore } from './store.ts'
import { runsCsv, scoreTable, summaryText, textTable, type TableRow } from './tables.ts'

const rowName = (alpha: number): string => `α = ${alpha}`

/** Fig. 5: SCP over values of α, the weight of the entropy, on the training images. */
export async function runAlpha(settings: AlphaSettings, context: Context): Promise<StudyFiles> {
  return withSession(settings, context, async (opened) => {
    // The paper scores this study on training sets.
    const datasets = opened.datasets.map((data) => {
      return { ...data, onTest: false, scored: data.clean, scoredLabels: data.labels }
    })
    const session = { ...opened, datasets }
    const store = await CellStore.open(join(session.out, 'alpha.json'), 'keeplight-alpha')
    const alphas = [...settings.alphas].sort((a, b) => a - b)
    const base = { ...trainSettings(settings), preset: settings.preset }
    const rows = alphas.map((alpha) =>
      trainedRow(rowName(alpha), seedsOf(settings), 1, { ...base, alpha }),
    )
    const cells = await computeCells(session, rows, store)
    const find = summariesOf(cells)
    const names = datasets.map(({ name }) => name)
    const plots = metrics.map((metric) => alphaPlot(metric, names, alphas, find))
    const table = alphas.map((alpha): TableRow => ({
      name: rowName(alpha),
      values: (dataset, metric) => summaryText(find(dataset, rowName(alpha)).single[metric]),
    }))
    const summaries = names.flatMap((name) =>
      alphas.map((alpha) => ({ alpha, ...find(name, rowName(alpha)) })),
    )
    const summary = { ...madeBy(session), summaries }
    await store.write(summary)
    const files = await writeStudy(session, {
      name: 'alpha',
      title: 'The weight of the entropy',
      subtitle: `${names.join(', ')} by ${session.modelName}: mean ± standard deviation over ${settings.seeds} seeds`,
      csv: runsCsv(cells),
      plots: Object.fromEntries(metrics.map((metric, i) => [`-${metric}`, plots[i]])),
      main: [
        markup`<h2>Scores by α</h2>
          <p class="soft">
            Scored on the training images, as in the paper. Its figures could not be recovered; it says that
            SCP hardly converges below 0.5, that more clusters want a larger α, and that CIFAR-10 bears large ones.
          </p>
          <div class="charts wide">
            ${plots.map((plot) => markup`<figure class="chart">${plot}</figure>`)}
          </div>`,
        scoreTable('Scores by α', names, table),
        factList(session, settings),
      ],
    })
    context.terminal.printJson({ ...summary, files })
    context.terminal.print(textTable(names, table))
    return files
  })
}

function alphaPlot(
  metric: Metric,
  names: readonly string[],
  alphas: readonly number[],
  find: ReturnType<typeof summariesOf>,
): Html {
  return linePlot({
    title: `${metricNames[metric]} by α`,
    description: 'Mean ± standard deviation over seeds, by the weight of the entropy term.',
    x: { label: 'α', scale: 'log', ticks: 6 },
    y: { label: `${metricNames[metric]}, %`, domain: [0, 100] },
    series: names.map((name) => ({
      name,
      points: alphas.map((alpha) => {
        const { mean, deviation } = find(name, rowName(alpha)).single[metric]
        return [alpha, mean, deviation] as const
      }),
    })),
  })
}
