import { cluster } from '../../index.node.ts'
import type { Adapter } from '../../train/adapter.ts'
import { csvText } from '../../data/csv.ts'
import { matchClusters } from '../../train/metrics.ts'
import { predictRuns } from '../../train/predictRuns.ts'
import type { Context } from '../context.ts'
import { linePlot } from '../plot/plots.ts'
import { markup, type Html } from '../report/html.ts'
import type { StudyData } from './data.ts'
import { drawFilm, filmFigure, filmScript } from './film.ts'
import { resolvedSettings, stepsOf, type TrainSettings } from './methods.ts'
import { factList, madeBy, writeStudy, type StudyFiles } from './output.ts'
import { readLogits, rowsOf, sampleOf } from './sample.ts'
import { scoresOf } from './scores.ts'
import { trainSettings, withSession, type Session } from './session.ts'
import type { LogitsSettings } from './study.ts'

interface Snapshot {
  readonly step: number
  /** In %, on all scored images. */
  readonly accuracy: number
  /** [images, K] of the sampled ones. */
  readonly logits: Float32Array
  readonly probabilities: Float32Array
}

interface Recording {
  readonly data: StudyData
  /** Indices of the sampled images among the scored ones, by class. */
  readonly sample: readonly number[]
  readonly snapshots: readonly Snapshot[]
  /** Clusters in the order of the classes that they match best in the end. */
  readonly order: readonly number[]
}

/** Fig. 2: what the head says of a few images of each class while it trains. */
export async function runLogits(settings: LogitsSettings, context: Context): Promise<StudyFiles> {
  return withSession(settings, context, async (session) => {
    const recordings: Recording[] = []
    for (const data of session.datasets)
      recordings.push(await recordTraining(data, session, settings))
    const films = recordings.map(filmOf)
    const curves = recordings.map(curveOf)
    const names = recordings.map(({ data }) => data.name)
    const fileOf = (i: number): string => (names.length === 1 ? '' : `-${i}`)
    const json = { ...madeBy(session), recordings: recordings.map(recordingJson) }
    const files = await writeStudy(session, {
      name: 'logits',
      title: 'The head while it trains',
      subtitle: `${names.join(', ')} by ${session.modelName}, seed ${settings.seed}`,
      ...{ json, csv: csvText(recordings.flatMap(csvLines)), script: filmScript },
      plots: Object.fromEntries([
        ...films.map((film, i) => [fileOf(i), film]),
        ...curves.map((curve, i) => [`${fileOf(i)}-accuracy`, curve]),
      ]) as Record<string, Html>,
      main: [
        recordings.map(
          ({ data }, i) =>
            markup`<h2>${data.name}</h2>
              <p class="soft">
                Each line is an image, each column a cluster; the darker, the more probable. Lines are sorted by
                class, which the training does not see, and columns by the class that they match in the end.
              </p>
              <div class="charts wide">
                ${filmFigure(films[i])}
                <figure class="chart">${curves[i]}</figure>
              </div>`,
        ),
        factList(session, settings),
      ],
    })
    context.terminal.printJson({ ...madeBy(session), files })
    for (const { data, snapshots } of recordings) {
      const last = snapshots[snapshots.length - 1]
      const text = `${data.name}: ACC ${last.accuracy.toFixed(1)} after ${last.step} steps`
      context.terminal.print(`${text}, ${snapshots.length} snapshots`)
    }
    return files
  })
}

async function recordTraining(
  data: StudyData,
  { device, terminal, signal }: Session,
  settings: LogitsSettings,
): Promise<Recording> {
  const train: TrainSettings = { ...trainSettings(settings), preset: settings.preset }
  const { features, scored, scoredLabels, k } = data
  const { dimension } = features
  const sample = sampleOf(data, settings.images)
  const rows = rowsOf(scored, dimension, sample)
  const batch = 2 * Math.min(resolvedSettings(data, train).batch, features.count)
  const input = { data: scored, count: scoredLabels.length, dimension, rows: batch }
  const steps = stepsOf(data, train)
  // A device that was lost goes back some steps, and their snapshots come again.
  const snapshots = new Map<number, Snapshot>()
  let final = new Int32Array()
  const take = async (step: number, adapter: Adapter): Promise<void> => {
    const [assignments] = await predictRuns(adapter, input)
    const read = await readLogits(adapter, rows, sample.length)
    const { accuracy } = scoresOf(scoredLabels, assignments)
    snapshots.set(step, { step, accuracy, ...read })
    final = assignments
  }
  const progress = terminal.progress(data.name, steps, 'steps')
  try {
    await cluster(features, {
      ...train,
      ...{ device, k, seed: settings.seed, restarts: 1, signal },
      probe: { steps: snapshotSteps(steps, settings.snapshots), take },
      onProgress: ({ step, loss }) => progress.update(step, `loss ${loss.toFixed(3)}`),
    })
  } finally {
    progress.stop()
  }
  return { data, sample, snapshots: [...snapshots.values()], order: clusterOrder(data, final) }
}

/** Steps from the first to the last, closer together at the start, where most happens. */
export function snapshotSteps(steps: number, count: number): number[] {
  const all = Array.from({ length: count }, (_, i) => Math.round(steps * (i / (count - 1)) ** 2))
  return [...new Set(all)]
}

function clusterOrder({ scoredLabels, k }: StudyData, final: Int32Array): number[] {
  const match = matchClusters(scoredLabels, final)
  const all = Array.from({ length: k }, (_, cluster) => cluster)
  return all.sort((a, b) => (match.get(a) ?? k) - (match.get(b) ?? k) || a - b)
}

function filmOf({ data, sample, snapshots, order }: Recording): Html {
  const { name, k, classes, scoredLabels } = data
  const groups = classes.map((name, label) => ({
    name,
    rows: sample.filter((index) => scoredLabels[index] === label).length,
  }))
  return drawFilm({
    title: `${name}: softmax during training`,
    description: `Probabilities of ${sample.length} images over ${k} clusters at ${snapshots.length} steps; they end sure of one cluster each.`,
    columns: order.map(String),
    groups,
    frames: snapshots.map(({ step, accuracy, probabilities }) => ({
      caption: `step ${step}, ACC ${accuracy.toFixed(1)} %`,
      values: probabilities.map((_, i) => probabilities[i - (i % k) + order[i % k]]),
    })),
  })
}

function curveOf({ data: { name, k }, snapshots }: Recording): Html {
  const surest = ({ probabilities }: Snapshot): number => {
    const rows = probabilities.length / k
    let sum = 0
    for (let row = 0; row < rows; row++) {
      sum += Math.max(...probabilities.subarray(row * k, (row + 1) * k))
    }
    return (100 * sum) / rows
  }
  return linePlot({
    title: `${name}: ACC and certainty`,
    description:
      'ACC on all scored images, and the mean of the largest probability of the sampled ones.',
    height: 260,
    x: { label: 'step' },
    y: { label: '%', domain: [0, 100] },
    series: [
      { name: 'ACC', points: snapshots.map(({ step, accuracy }) => [step, accuracy] as const) },
      {
        name: 'mean largest probability',
        points: snapshots.map((snapshot) => [snapshot.step, surest(snapshot)] as const),
      },
    ],
  })
}

function recordingJson({ data, sample, snapshots, order }: Recording): object {
  const { name, classes, scoredLabels } = data
  return {
    ...{ dataset: name, classes, order, images: sample },
    labels: sample.map((index) => scoredLabels[index]),
    snapshots: snapshots.map(({ step, accuracy, logits }) => {
      return { step, accuracy, logits: Array.from(logits, (value) => Number(value.toPrecision(6))) }
    }),
  }
}

function csvLines(
  { data, sample, snapshots }: Recording,
  place: number,
): (readonly (string | number)[])[] {
  const { name, k, classes, scoredLabels } = data
  const head = ['dataset', 'step', 'image', 'class', 'cluster', 'logit', 'probability']
  const lines = snapshots.flatMap(({ step, logits, probabilities }) =>
    Array.from(logits, (logit, i) => {
      const image = sample[Math.floor(i / k)]
      const label = classes[scoredLabels[image]]
      return [name, step, image, label, i % k, logit.toFixed(5), probabilities[i].toFixed(6)]
    }),
  )
  return place === 0 ? [head, ...lines] : lines
}
