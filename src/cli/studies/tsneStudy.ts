import { cluster, tsne } from '../../index.node.ts'
import type { Adapter } from '../../train/adapter.ts'
import { csvText } from '../../data/csv.ts'
import type { Context } from '../context.ts'
import { scatterPlot } from '../plot/plots.ts'
import { markup, type Html } from '../report/html.ts'
import type { StudyData } from './data.ts'
import { stepsOf, type TrainSettings } from './methods.ts'
import { factList, madeBy, writeStudy, type StudyFiles } from './output.ts'
import { readLogits, rowsOf, sampleOf } from './sample.ts'
import { trainSettings, withSession, type Session } from './session.ts'
import type { TsneSettings } from './study.ts'

/** Layouts of the sampled images of a data set, [n, 2] each. */
interface Layouts {
  readonly data: StudyData
  readonly sample: readonly number[]
  readonly clusters: readonly number[]
  readonly features: Float32Array
  readonly logits: Float32Array
}

/** Figs. 3 and 4: t-SNE of the features, and of the logits of the head trained on them. */
export async function runTsneStudy(settings: TsneSettings, context: Context): Promise<StudyFiles> {
  return withSession(settings, context, async (session) => {
    const all: Layouts[] = []
    for (const data of session.datasets) all.push(await layOut(data, session, settings))
    const names = all.map(({ data }) => data.name)
    const plots = all.map((layouts) =>
      (['features', 'logits'] as const).map((of) => draw(layouts, of)),
    )
    const fileOf = (i: number): string => (names.length === 1 ? '' : `-${i}`)
    const files = await writeStudy(session, {
      name: 'tsne',
      title: 'Features and logits in the plane',
      subtitle: `${names.join(', ')} by ${session.modelName}, seed ${settings.seed}`,
      json: { ...madeBy(session), layouts: all.map(layoutJson) },
      csv: csvText(all.flatMap(csvLines)),
      plots: Object.fromEntries(
        plots.flatMap(([features, logits], i) => [
          [`${fileOf(i)}-features`, features] as const,
          [`${fileOf(i)}-logits`, logits] as const,
        ]),
      ),
      main: [
        all.map(
          ({ data, sample }, i) =>
            markup`<h2>${data.name}</h2>
              <p class="soft">
                t-SNE of ${sample.length} images in the colours of their classes, which neither the training nor
                the layout sees: of their features, and of SCP’s logits.
              </p>
              <div class="charts pair">
                ${plots[i].map((plot) => markup`<figure class="chart">${plot}</figure>`)}
              </div>`,
        ),
        factList(session, settings),
      ],
    })
    context.terminal.printJson({ ...madeBy(session), files })
    return files
  })
}

async function layOut(
  data: StudyData,
  { device, terminal, signal }: Session,
  settings: TsneSettings,
): Promise<Layouts> {
  const train: TrainSettings = { ...trainSettings(settings), preset: settings.preset }
  const { features, scored, k } = data
  const { dimension } = features
  const sample = sampleOf(data, settings.images)
  const rows = rowsOf(scored, dimension, sample)
  const steps = stepsOf(data, train)
  let logits = new Float32Array()
  const take = async (_: number, adapter: Adapter): Promise<void> => {
    ;({ logits } = await readLogits(adapter, rows, sample.length))
  }
  const progress = terminal.progress(data.name, steps, 'steps')
  try {
    await cluster(features, {
      ...train,
      ...{ device, k, seed: settings.seed, restarts: 1, signal, probe: { steps: [steps], take } },
      onProgress: ({ step, loss }) => progress.update(step, `loss ${loss.toFixed(3)}`),
    })
  } finally {
    progress.stop()
  }
  const place = async (points: Float32Array, size: number): Promise<Float32Array> => {
    const { seed, perplexity } = settings
    const options = { device, count: sample.length, dimension: size, perplexity, seed, signal }
    return (await tsne(points, options)).layout
  }
  const clusters = sample.map((_, i) => {
    const row = logits.subarray(i * k, (i + 1) * k)
    return row.indexOf(row.reduce((most, value) => Math.max(most, value), -Infinity))
  })
  return {
    ...{ data, sample, clusters },
    features: await place(rows, dimension),
    logits: await place(logits, k),
  }
}

function draw({ data, sample, ...layouts }: Layouts, of: 'features' | 'logits'): Html {
  const layout = layouts[of]
  return scatterPlot({
    title: `${data.name}: t-SNE of ${of}`,
    description: `${sample.length} images in the colours of ${data.k} classes.`,
    points: sample.map((_, i) => [layout[2 * i], layout[2 * i + 1]] as const),
    groups: sample.map((index) => data.scoredLabels[index]),
    // A longer legend would leave no place for the points.
    names: data.k <= 20 ? data.classes : [],
  })
}

function layoutJson({ data, sample, clusters, features, logits }: Layouts): object {
  const { name, classes, scoredLabels } = data
  return {
    ...{ dataset: name, classes, images: sample, clusters },
    labels: sample.map((index) => scoredLabels[index]),
    features: Array.from(features),
    logits: Array.from(logits),
  }
}

function csvLines(
  { data, sample, clusters, features, logits }: Layouts,
  place: number,
): (readonly (string | number)[])[] {
  const head = ['dataset', 'image', 'class', 'cluster', 'features_x', 'features_y']
  const lines = sample.map((index, i) => {
    const places = [features, logits].flatMap((layout) => [layout[2 * i], layout[2 * i + 1]])
    const label = data.classes[data.scoredLabels[index]]
    return [data.name, index, label, clusters[i], ...places.map((value) => value.toPrecision(6))]
  })
  return place === 0 ? [[...head, 'logits_x', 'logits_y'], ...lines] : lines
}
