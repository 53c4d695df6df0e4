import { join } from 'node:path'
import { type Command, InvalidArgumentError } from 'commander'
import {
  loadTextModel,
  temi,
  zeroShotClassifier,
  type ZeroShotClassifier,
} from '../../index.node.ts'
import { KeeplightError } from '../../runtime/errors.ts'
import type { Context } from '../context.ts'
import { integer } from '../options.ts'
import { templatesOf } from '../zeroShot.ts'
import { barPlot } from '../plot/plots.ts'
import { markup } from '../report/html.ts'
import { bestOfFifty, publishedRows, publishedScore } from './paper.ts'
import { factList, madeBy, writeStudy } from './output.ts'
import { kmeansRow, trainedRow, zeroShotRow } from './rows.ts'
import { metricNames } from './scores.ts'
import {
  addStudyOptions,
  computeCells,
  seedsOf,
  trainSettings,
  withSession,
  type Session,
  type StudyRow,
  type StudySettings,
} from './session.ts'
import { CellStore, type Cell } from './store.ts'
import {
  runsCsv,
  scoreTable,
  summarizeRow,
  summaryText,
  textTable,
  type RowSummary,
  type TableRow,
} from './tables.ts'

const methods = ['kmeans', 'scp-paper', 'scp', 'temi', 'zero-shot'] as const
type Method = (typeof methods)[number]

const methodNames: Readonly<Record<Method, string>> = {
  kmeans: 'k-means',
  'scp-paper': 'SCP as published',
  scp: 'SCP',
  temi: 'TEMI',
  'zero-shot': 'zero-shot',
}

interface BenchSettings extends StudySettings {
  readonly methods: readonly Method[]
  readonly restarts: number
  readonly templates: string
}

/** Adds `keeplight bench-paper`. */
export function addBenchPaperCommand(
  program: Command,
  context: (output: Pick<BenchSettings, 'json' | 'quiet'>) => Context,
): void {
  const command = program
    .command('bench-paper')
    .summary('data sets × methods × seeds, in the layout of the paper’s tables')
    .description(
      'Scores methods on labelled data sets over several seeds, beside the published figures.',
    )
    .option('--methods <list>', `between commas: ${methods.join(', ')}`, parseMethods, [
      'kmeans',
      'scp-paper',
      'scp',
    ] as Method[])
    .option(
      '--restarts <n>',
      'runs of SCP and TEMI per seed; the one of lowest inertia is kept',
      integer(1, 1000),
      8,
    )
    .option('--templates <set>', 'of zero-shot: photo, cifar, imagenet, or a file', 'photo')
  addStudyOptions(command, 'keeplight-bench-paper', 5)
    .addHelpText(
      'after',
      `
Examples:
  $ keeplight bench-paper --data CIFAR-10=cifar-10-batches-bin --model clip-vit-b-32
  $ keeplight bench-paper --data STL-10=stl10_binary --data CIFAR-20=cifar-100-binary,labels=coarse \\
      --methods kmeans,scp-paper,scp,zero-shot --seeds 5 --restarts 10 --model clip-vit-b-32
  $ keeplight bench-paper --data Dogs=imagenet/train,test=imagenet/val,synsets=imagenet-dogs

Where a data set has test images (the two parts of CIFAR and STL-10, or test=PATH), methods are fitted on
the training images and scored on the test images. Writes bench-paper.json, .csv, .svg and .html. What
is in the JSON already is not computed again, so a stopped run goes on, and more seeds, methods or data
sets can be added.`,
    )
    .action(async (settings: BenchSettings) => {
      await runBenchPaper(settings, context(settings))
    })
}

function parseMethods(text: string): Method[] {
  const names = text.split(',').map((name) => name.trim())
  const unknown = names.find((name) => !(methods as readonly string[]).includes(name))
  if (unknown !== undefined) {
    throw new InvalidArgumentError(`${unknown} is none of ${methods.join(', ')}.`)
  }
  return [...new Set(names)] as Method[]
}

async function runBenchPaper(settings: BenchSettings, context: Context): Promise<void> {
  await withSession(settings, context, async (session) => {
    const store = await CellStore.open(
      join(session.out, 'bench-paper.json'),
      'keeplight-bench-paper',
    )
    const rows = settings.methods.map((method) => rowOf(method, settings, session))
    const cells = await computeCells(session, rows, store)
    await report(settings, session, cells, store)
  })
}

function rowOf(method: Method, settings: BenchSettings, session: Session): StudyRow {
  const { restarts } = settings
  const name = methodNames[method]
  const seeds = seedsOf(settings)
  const scp = (preset: 'paper' | 'keeplight'): StudyRow =>
    trainedRow(name, seeds, restarts, { preset, ...trainSettings(settings) })
  switch (method) {
    case 'kmeans':
      return kmeansRow(name, seeds)
    case 'scp-paper':
      return scp('paper')
    case 'scp':
      return scp('keeplight')
    case 'temi': {
      const { epochs, minSteps, batch } = settings
      return trainedRow(name, seeds, restarts, {
        ...temi(),
        ...(epochs && { epochs }),
        ...(batch && { batch }),
        minSteps,
      })
    }
    case 'zero-shot':
      return zeroShotRow(name, { templates: settings.templates }, (classes) =>
        classifierOf(classes, settings, session),
      )
  }
}

async function classifierOf(
  classes: readonly string[],
  { model: path, dtype, templates }: BenchSettings,
  { encoder, modelName, device, signal }: Session,
): Promise<ZeroShotClassifier> {
  if (!encoder || !('config' in encoder) || encoder.config.family !== 'clip') {
    throw new KeeplightError(
      'usage',
      `features of ${modelName} have no text tower; zero-shot needs a CLIP model, such as clip-vit-b-32, ` +
        'and images. Leave zero-shot out of --methods, or choose another --model.',
    )
  }
  const text = await loadTextModel(path, { device, dtype, signal })
  try {
    const names = classes.map((name) => name.replaceAll('_', ' '))
    return await zeroShotClassifier(text, names, {
      templates: await templatesOf(templates),
      signal,
    })
  } finally {
    await text.dispose()
  }
}

async function report(
  settings: BenchSettings,
  session: Session,
  cells: readonly Cell[],
  store: CellStore,
): Promise<void> {
  const { datasets, modelName, terminal } = session
  const names = datasets.map(({ name }) => name)
  const rows = settings.methods.map((method) => methodNames[method])
  const summaries = names.flatMap((dataset) =>
    rows.map((row) =>
      summarizeRow(cells.filter((cell) => cell.dataset === dataset && cell.row === row)),
    ),
  )
  const table = tableRows(names, rows, summaries, settings)
  const plot = accuracyPlot(names, rows, summaries)
  const summary = { ...madeBy(session), summaries, published: publishedFor(names) }
  await store.write(summary)
  const files = await writeStudy(session, {
    name: 'bench-paper',
    title: 'Methods on labelled data sets',
    subtitle: `${names.join(', ')} by ${modelName}: mean ± standard deviation over ${settings.seeds} seeds`,
    csv: runsCsv(cells),
    plots: { '': plot },
    main: [
      markup`<h2>ACC, NMI and ARI</h2>
        <p class="soft">
          In %. ${testNote(session)} “Kept of ${settings.restarts}”: of that many runs the one of lowest
          inertia, which is chosen without labels. “Best by labels” is what the paper reports of its own
          method (${bestOfFifty}); compare published rows of SCP with it, not with the means.
          Rows in italics are published: ${[...new Set(publishedFor(names).map(({ source }) => source))].join('; ')}.
        </p>`,
      scoreTable('Scores', names, table),
      markup`<div class="charts wide"><figure class="chart">${plot}</figure></div>`,
      correlationSection(summaries),
      factList(session, settings),
    ],
  })
  terminal.printJson({ ...summary, files })
  terminal.print(textTable(names, table))
  terminal.print(`report: ${files.html}`)
}

/** How far inertia, which is known without labels, tells good runs from bad ones. */
function correlationSection(
  summaries: readonly RowSummary[],
): ReturnType<typeof markup> | undefined {
  const known = summaries.filter((summary) => Number.isFinite(summary.correlation))
  if (known.length === 0) return undefined
  return markup`<h2>Choosing without labels</h2>
    <p class="soft">
      The correlation of a run’s ACC with its inertia; near −1, the run of lowest inertia is a good choice.
    </p>
    <div class="scroll fit" tabindex="0" role="region" aria-label="Correlation of ACC and inertia">
      <table>
        <thead>
          <tr>
            <th scope="col">data set</th>
            <th scope="col">method</th>
            <th scope="col">runs</th>
            <th scope="col">correlation</th>
          </tr>
        </thead>
        <tbody>
          ${known.map(
            ({ dataset, row, single, correlation }) =>
              markup`<tr>
                <th scope="row">${dataset}</th>
                <td>${row}</td>
                <td>${single.accuracy.runs}</td>
                <td>${correlation.toFixed(2).replace('-', '−')}</td>
              </tr>`,
          )}
        </tbody>
      </table>
    </div>`
}

function testNote({ datasets }: Session): string {
  const onTest = datasets.filter((data) => data.onTest).map(({ name }) => name)
  if (onTest.length === 0) return 'Fitted and scored on the same images.'
  const which = onTest.length === datasets.length ? '' : ` (${onTest.join(', ')})`
  return `Fitted on training images, scored on test images${which}.`
}

function publishedFor(names: readonly string[]): typeof publishedRows {
  return publishedRows.filter((row) =>
    names.some((name) => publishedScore(row, name, 'accuracy') !== undefined),
  )
}

function tableRows(
  names: readonly string[],
  rows: readonly string[],
  summaries: readonly RowSummary[],
  { restarts }: BenchSettings,
): TableRow[] {
  const find = (dataset: string, row: string): RowSummary =>
    summaries.find((summary) => summary.dataset === dataset && summary.row === row)!
  const ours = rows.flatMap((row): TableRow[] => {
    const runs = find(names[0], row).single.accuracy.runs
    const kept: TableRow['values'] = (dataset, metric) =>
      summaryText(find(dataset, row).kept[metric])
    const best: TableRow = {
      ...{ name: row, note: `best of ${runs} by labels` },
      values: (dataset, metric) => find(dataset, row).best.scores[metric].toFixed(1),
    }
    if (row === methodNames['zero-shot']) return [{ name: row, values: kept }]
    if (row === methodNames.kmeans) return [{ name: row, note: '20 restarts', values: kept }, best]
    const single: TableRow = {
      ...{ name: row, note: `${runs} single runs` },
      values: (dataset, metric) => summaryText(find(dataset, row).single[metric]),
    }
    return restarts > 1
      ? [{ name: row, note: `kept of ${restarts}`, values: kept }, single, best]
      : [single, best]
  })
  const published = publishedFor(names).map((row): TableRow => ({
    ...{ name: row.method, note: row.chosen, published: true },
    values: (dataset, metric) => publishedScore(row, dataset, metric)?.toFixed(1) ?? '',
  }))
  return [...ours, ...published]
}

function accuracyPlot(
  names: readonly string[],
  rows: readonly string[],
  summaries: readonly RowSummary[],
): ReturnType<typeof barPlot> {
  return barPlot({
    title: `${metricNames.accuracy}, mean ± standard deviation`,
    description: summaries
      .map(({ dataset, row, kept }) => `${dataset}, ${row}: ${summaryText(kept.accuracy)}`)
      .join('; '),
    width: Math.max(480, 150 * names.length + 100),
    y: { label: `${metricNames.accuracy}, %`, domain: [0, 100] },
    categories: names,
    series: rows.map((row) => ({
      name: row,
      bars: names.map((dataset) => {
        const { mean, deviation } = summaries.find((s) => s.dataset === dataset && s.row === row)!
          .kept.accuracy
        return { value: mean, deviation }
      }),
    })),
  })
}
