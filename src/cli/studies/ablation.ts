import { join } from 'node:path'
import type { Context } from '../context.ts'
import { barPlot } from '../plot/plots.ts'
import { markup, type Html } from '../report/html.ts'
import { factList, madeBy, writeStudy, type StudyFiles } from './output.ts'
import { ablationRows, bestOfFifty, publishedAblation, type AblationRow } from './paper.ts'
import { trainedRow } from './rows.ts'
import { computeCells, seedsOf, trainSettings, withSession } from './session.ts'
import type { PresetSettings } from './study.ts'
import { CellStore, type Cell } from './store.ts'
import { runsCsv, summarizeRow, summaryText, type RowSummary } from './tables.ts'

/** Table 4: SCP with every subset of its loss's terms, weights 0, or 1 and α. */
export async function runAblation(settings: PresetSettings, context: Context): Promise<StudyFiles> {
  return withSession(settings, context, async (session) => {
    const store = await CellStore.open(join(session.out, 'ablation.json'), 'keeplight-ablation')
    const base = { ...trainSettings(settings), preset: settings.preset }
    const rows = ablationRows.map(({ name, terms }) => {
      const { crossEntropy, confidence, entropy } = terms
      return trainedRow(name, seedsOf(settings), 1, {
        ...base,
        crossEntropyWeight: Number(crossEntropy),
        confidenceWeight: Number(confidence),
        ...(!entropy && { alpha: 0 }),
      })
    })
    const cells = await computeCells(session, rows, store)
    const names = session.datasets.map(({ name }) => name)
    const find = summariesOf(cells)
    const plot = ablationPlot(names, find)
    const published = ablationRows.map((row) => ({ row: row.name, published: row.published }))
    const summaries = names.flatMap((name) => ablationRows.map((row) => find(name, row.name)))
    const summary = { ...madeBy(session), summaries, published }
    await store.write(summary)
    const files = await writeStudy(session, {
      name: 'ablation',
      title: 'Ablation of the loss',
      subtitle: `${names.join(', ')} by ${session.modelName}: mean ± standard deviation over ${settings.seeds} seeds`,
      ...{ csv: runsCsv(cells), plots: { '': plot } },
      main: [
        markup`<h2>ACC by the terms of the loss</h2>
          <p class="soft">
            In %. ce: cross-entropy of the views; con: confidence; ent: entropy of the mean, weighted by α.
            Published figures are of SCP-CLIP (${bestOfFifty}); their order of rows was inferred.
          </p>`,
        ablationTable(names, find),
        markup`<div class="charts wide"><figure class="chart">${plot}</figure></div>`,
        factList(session, settings),
      ],
    })
    context.terminal.printJson({ ...summary, files })
    context.terminal.print(
      summaries
        .map(
          ({ dataset, row, single }) =>
            `${dataset}  ${row.padEnd(14)} ${summaryText(single.accuracy)}`,
        )
        .join('\n'),
    )
    return files
  })
}

type Find = (dataset: string, row: string) => RowSummary

/** Looks up what the cells of a data set and row came to. */
export function summariesOf(cells: readonly Cell[]): Find {
  return (dataset, row) =>
    summarizeRow(cells.filter((cell) => cell.dataset === dataset && cell.row === row))
}

function ablationTable(names: readonly string[], find: Find): Html {
  const tick = (on: boolean): Html => markup`<td class="mid">${on ? '✓' : ''}</td>`
  const published = (row: AblationRow, name: string): string =>
    row.published === 'collapse' ? 'collapse' : (publishedAblation(row, name)?.toFixed(1) ?? '')
  return markup`<div class="scroll" tabindex="0" role="region" aria-label="Ablation">
    <table class="scores">
      <thead>
        <tr>
          <th scope="col" rowspan="2">loss</th>
          ${['ce', 'con', 'ent'].map((name) => markup`<th scope="col" rowspan="2">${name}</th>`)}
          ${names.map((name) => markup`<th scope="colgroup" colspan="2">${name}</th>`)}
        </tr>
        <tr>
          ${names.map(
            () =>
              markup`<th scope="col">ACC</th>
                <th scope="col">published</th>`,
          )}
        </tr>
      </thead>
      <tbody>
        ${ablationRows.map(
          (row) =>
            markup`<tr>
              <th scope="row">${row.name}</th>
              ${tick(row.terms.crossEntropy)}${tick(row.terms.confidence)}${tick(row.terms.entropy)}
              ${names.map(
                (name) =>
                  markup`<td>${summaryText(find(name, row.name).single.accuracy)}</td>
                    <td class="published">${published(row, name)}</td>`,
              )}
            </tr>`,
        )}
      </tbody>
    </table>
  </div>`
}

function ablationPlot(names: readonly string[], find: Find): Html {
  return barPlot({
    title: 'ACC by the terms of the loss',
    description:
      'Bars: mean ± standard deviation over seeds; dashed: published, best of 50 by labels.',
    y: { label: 'ACC, %', domain: [0, 100] },
    width: 720,
    categories: ablationRows.map(({ name }) => name),
    series: names.map((name) => ({
      name,
      bars: ablationRows.map((row) => {
        const { mean, deviation } = find(name, row.name).single.accuracy
        return { value: mean, deviation, beside: publishedAblation(row, name) }
      }),
    })),
  })
}
