/**
 * The reference's rows again, on the very features that it trained on: k-means and SCP by our kernels.
 *
 *   npm run eval:features -- [--rows kmeans1,10nn-noise2] [--seeds 12] …
 *
 * All seeds of a row of SCP train side by side in one program. Exit code 0: every mean agrees with the
 * reference's; 1: one does not; 2: it could not run.
 */
import { join } from 'node:path'
import { runKmeans, runTraining, type MethodContext } from '../src/cli/studies/methods.ts'
import {
  agreementLimit,
  correlation,
  formatSummary,
  metricNames,
  metrics,
  summarize,
  type Metric,
  type Summary,
} from '../src/cli/studies/scores.ts'
import type { Run } from '../src/cli/studies/store.ts'
import { createDevice, KeeplightError } from '../src/index.node.ts'
import { readFeatures, studyOf } from './cifar/dataset.ts'
import { printProgress } from './cifar/progress.ts'
import { featureRows, referenceSource, type FeatureRow } from './cifar/reference.ts'
import {
  circumstances,
  describeAdapter,
  readOptions,
  runMain,
  wholeNumber,
  writeWhole,
} from './options.ts'

const shared = process.env['KEEPLIGHT_SHARED'] ?? '../shared'
const golden = process.env['KEEPLIGHT_GOLDEN'] ?? join(shared, 'golden')
const names = Object.keys(featureRows)

const optionTable = {
  features: {
    value: 'FILE',
    default: join(golden, 'features/cifar10-keeplight-tiny.safetensors'),
    help: 'the reference’s features',
  },
  rows: { value: 'LIST', default: names.join(','), help: 'which rows, between commas' },
  seeds: { value: 'N', default: '12', help: 'repetitions of each row' },
  'min-steps': {
    value: 'N',
    default: '1',
    help: 'least steps of a run; the reference takes 30 epochs of 19',
  },
  adapter: { value: 'NAME', help: 'lavapipe, swiftshader, or part of the name of a GPU' },
  json: { value: 'FILE', help: 'writes every run; rewritten after each row' },
  date: { value: 'TEXT', help: 'noted in the JSON' },
}

interface RowResult {
  readonly row: string
  readonly seconds: number
  readonly agrees: boolean
  readonly runs: readonly Run[]
}

async function main(): Promise<number> {
  const options = readOptions('The reference’s rows on the reference’s features.', optionTable)
  if (!options) return 0
  const rows = options.rows!.split(',')
  for (const row of rows) {
    if (names.includes(row)) continue
    throw new KeeplightError('usage', `--rows has ${row}, expected some of ${names.join(', ')}`)
  }
  const seeds = wholeNumber('seeds', options.seeds!)
  const minSteps = wholeNumber('min-steps', options['min-steps']!)
  const dataset = await readFeatures(options.features!)
  const data = studyOf(dataset, dataset.train.count, true)
  const device = await createDevice({ adapter: options.adapter })
  try {
    console.log(`adapter: ${describeAdapter(device)}`)
    console.log(
      `data: ${dataset.source}; trained on ${data.labels.length}, scored on the test images`,
    )
    console.log(`reference: ${referenceSource}\n`)
    const results: RowResult[] = []
    for (const row of rows) {
      const entry = featureRows[row as keyof typeof featureRows]
      const start = performance.now()
      const runs = await runRow({ device, data }, entry, seeds, minSteps)
      const seconds = (performance.now() - start) / 1000
      results.push({ row, seconds, runs, agrees: printRow(entry, runs, seconds) })
      if (options.json) {
        const about = { ...circumstances(device, options.date), source: dataset.source }
        await writeWhole(
          options.json,
          `${JSON.stringify({ ...about, rows: results }, undefined, 2)}\n`,
        )
      }
    }
    const failed = results.filter(({ agrees }) => !agrees)
    console.log(
      failed.length === 0
        ? 'all means agree with the reference’s'
        : `${failed.map(({ row }) => row).join(', ')}: means disagree with the reference’s`,
    )
    return failed.length === 0 ? 0 : 1
  } finally {
    device.close()
  }
}

async function runRow(
  context: Pick<MethodContext, 'device' | 'data'>,
  { title, kmeans, scp }: FeatureRow,
  seeds: number,
  minSteps: number,
): Promise<Run[]> {
  if (kmeans) {
    const runs: Run[] = []
    for (let seed = 0; seed < seeds; seed++) {
      runs.push(await runKmeans(context, seed, kmeans.restarts))
      printProgress(title, seed + 1, seeds)
    }
    return runs
  }
  const onProgress = (done: number, all: number, detail: string): void => {
    printProgress(`${title}, steps of ${seeds} runs (${detail})`, done, all)
  }
  return runTraining({ ...context, onProgress }, 0, seeds, { preset: 'paper', minSteps, ...scp })
}

/** Prints our row over the reference's, and says whether all three means agree. */
function printRow({ title, expected }: FeatureRow, runs: readonly Run[], seconds: number): boolean {
  const of = (metric: Metric): number[] => runs.map(({ scores }) => scores[metric])
  const kept = runs.reduce((best, run) => (run.inertia < best.inertia ? run : best))
  const inertias = runs.map(({ inertia }) => inertia)
  const line = (who: string, summary: (metric: Metric) => Summary, tail: string): void => {
    const scores = metrics.map((metric) => formatSummary(summary(metric)).padEnd(12))
    console.log(`  ${who.padEnd(10)} ${scores.join(' ')} ${tail}`)
  }
  const keptText = (scores: Partial<Record<Metric, number>>): string =>
    metrics.map((metric) => scores[metric]?.toFixed(1)).join(' / ')
  const r = correlation(of('accuracy'), inertias).toFixed(2).replace('-', '−')
  console.log(`${title}: ${runs.length} runs in ${seconds.toFixed(0)} s`)
  console.log(`  ${''.padEnd(10)} ${metrics.map((m) => metricNames[m].padEnd(12)).join(' ')} kept`)
  const best = Math.max(...of('accuracy')).toFixed(1)
  const tail = `${keptText(kept.scores)}, best ACC ${best}, correlation of ACC and inertia ${r}`
  line('ours', (metric) => summarize(of(metric)), tail)
  line('reference', (metric) => expected[metric], keptText(expected.kept))
  const apart = metrics.filter((metric) => {
    const ours = summarize(of(metric))
    const limit = agreementLimit(ours, expected[metric])
    const difference = Math.abs(ours.mean - expected[metric].mean)
    const agrees = difference <= limit
    console.log(
      `  ${agrees ? 'agrees  ' : 'DISAGREES'} ${metricNames[metric]}: ${difference.toFixed(1)} apart, ` +
        `expected within ${limit.toFixed(1)} (twice the standard error)`,
    )
    return !agrees
  })
  return apart.length === 0
}

await runMain('features', main)
