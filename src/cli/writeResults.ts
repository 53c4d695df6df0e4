import { basename, join } from 'node:path'
import { version } from '../../package.json'
import { confusionMatrix, serializeHead } from '../index.node.ts'
import type { ChooseKResult, ClusterResult, Device } from '../index.node.ts'
import type { ImageCollection } from '../data/collection.ts'
import { assignmentsCsv, assignmentsJson, isUncertain } from '../train/assignments.ts'
import type { Assignment } from '../train/assignments.ts'
import type { Collected } from './collect.ts'
import { writeFileAtomic } from './files.ts'
import type { ModelAbout } from './openData.ts'
import type { OrganizePlan } from './organizeFiles.ts'
import { refreshOf, viewsBefore } from './online.ts'
import { renderReport } from './report.ts'
import type { ReportCluster, ReportData, Score } from './report/data.ts'
import type { ChosenSettings } from './settings.ts'
import { methodTitle, settingsOf } from './methods.ts'
import { scoreRestarts } from './restarts.ts'
import { surveyCounts, type Survey } from './survey.ts'
import { writeSurvey } from './surveyFiles.ts'
import { formatDuration } from './terminal.ts'

/** Everything that a run found out. */
export interface RunResults {
  readonly collection: ImageCollection
  readonly collected: Collected
  /** Copies, look-alikes and images of poor quality, where there are images. */
  readonly survey?: Survey
  /** What the report shows beside the clusters. */
  readonly tiles?: Pick<ReportData, 'toLook' | 'certainty'>
  readonly result: ClusterResult
  readonly assignments: readonly Assignment[]
  readonly scores: readonly Score[]
  readonly clusters: readonly ReportCluster[]
  readonly cloud?: ReportData['cloud']
  /** Class of each image that was read, where known. */
  readonly labels: Int32Array | undefined
  readonly settings: ChosenSettings
  /** How K was chosen, where it was not given. */
  readonly choice?: ChooseKResult | undefined
  readonly out: string
  /** One encoder, or several joined by `+`. */
  readonly model: ModelAbout
  readonly adapter: Device['adapter']
  /** Kernels that were chosen otherwise than by rule. */
  readonly tuned: ReadonlyMap<string, string>
  readonly timings: readonly { readonly name: string; readonly seconds: number }[]
}

/** What metrics.json holds and `--json` prints. */
export type Summary = ReturnType<typeof summarize> & {
  /** Where `--organize` put the images, or would. */
  readonly organized?: OrganizePlan & { readonly dryRun: boolean }
}

/**
 * Writes assignments.csv, assignments.json, head.safetensors, metrics.json and report.html, and
 * quality.json and duplicates.csv beside them.
 */
export async function writeResults(results: RunResults): Promise<Summary> {
  const { out, assignments } = results
  const summary = summarize(results)
  const write = (name: string, data: string | Uint8Array): Promise<void> =>
    writeFileAtomic(join(out, name), data)
  await write('assignments.csv', assignmentsCsv(assignments))
  await write('assignments.json', assignmentsJson(assignments))
  await write('head.safetensors', headFile(results))
  await write('metrics.json', `${JSON.stringify(summary, null, 2)}\n`)
  if (results.survey) await writeSurvey(out, results.survey)
  await write('report.html', renderReport(toReport(results)))
  return summary
}

function summarize(results: RunResults) {
  const { collection, collected, result, scores, clusters, out, model } = results
  const { broken, reused, embedded, cache, kept } = collected
  const files = ['assignments.csv', 'assignments.json', 'head.safetensors', 'metrics.json']
  if (results.survey) files.push('quality.json', 'duplicates.csv')
  return {
    keeplight: version,
    data: collection.root,
    kind: collection.kind,
    /** With `data`, what opens the same images again. */
    dataOptions: { labels: results.settings.labels, synsets: results.settings.synsets },
    out,
    files: Object.fromEntries([...files, 'report.html'].map((name) => [name, join(out, name)])),
    images: {
      ...{ used: kept.length, reused, embedded, broken: broken.length },
      ignored: collection.ignored,
      uncertain: results.assignments.filter(isUncertain).length,
    },
    ...(results.survey && { toLookAt: surveyCounts(results.survey) }),
    classes: collection.classes,
    scores,
    clusters: clusters.map(({ id, size, confidence, majority }) => ({
      id,
      size,
      confidence,
      ...(majority && { majority }),
    })),
    confusion: confusionOf(results)?.counts,
    model: { name: model.name, hash: model.hash, dimension: model.dimension },
    settings: {
      ...trainingSettings(results),
      ...(results.tuned.size > 0 && { tuned: Object.fromEntries(results.tuned) }),
    },
    training: {
      steps: result.steps,
      batch: result.batch,
      kept: result.kept,
      method: result.method,
      sideBySide: result.groups,
      ...restartFigures(results),
    },
    ...(results.choice && { kChoice: results.choice }),
    cache,
    adapter: results.adapter,
    seconds: Object.fromEntries(results.timings.map(({ name, seconds }) => [name, seconds])),
    broken,
  }
}

/** The kept run's inertia, every run's figures, and what they come to. */
function restartFigures({ result, labels }: RunResults) {
  const { restarts, ...spreads } = scoreRestarts(result, labels)
  return { inertia: result.inertia, restarts, spreads }
}

function trainingSettings({ settings, result }: RunResults) {
  const { k, seed, preset } = settings
  const online = refreshOf(settings)
  const views = viewsBefore(settings)
  return { k, seed, preset, views, ...(online && { online }), ...settingsOf(result, settings) }
}

function headFile(results: RunResults): Uint8Array {
  const { model, result } = results
  const about = { model: model.name, modelHash: model.hash, method: result.method }
  const settings = trainingSettings(results)
  return serializeHead(result.head, { ...about, settings }, { keeplight: version })
}

function confusionOf({ labels, collection, result }: RunResults): ReportData['confusion'] {
  if (!labels) return undefined
  const size = { classes: collection.classes.length, clusters: result.k }
  const { counts } = confusionMatrix(labels, result.assignments, size)
  const rowOf = (i: number): number[] => [...counts.subarray(i * result.k, (i + 1) * result.k)]
  return { classes: collection.classes, counts: collection.classes.map((_, i) => rowOf(i)) }
}

function toReport(results: RunResults): ReportData {
  const { collection, collected, result, scores, clusters, labels } = results
  const { model, adapter, timings } = results
  const { kept, reused, broken } = collected
  const seconds = timings.reduce((sum, lap) => sum + lap.seconds, 0)
  const { k, ...settings } = trainingSettings(results)
  return {
    title: basename(collection.root) || collection.root,
    subtitle:
      `${kept.length.toLocaleString('en')} images in ${k} clusters by ${methodTitle(result)} on ${model.name}, ` +
      `in ${formatDuration(seconds)} on ${adapter.description || adapter.vendor}`,
    imageCount: kept.length,
    clusters,
    cloud: results.cloud,
    scores,
    confusion: confusionOf(results),
    choice: results.choice,
    trace: result.trace,
    restarts: scoreRestarts(result, labels),
    kept: result.kept,
    broken,
    ...results.tiles,
    settings: [
      [collection.kind, collection.root],
      ['model', model.name],
      ['clusters', String(k)],
      ...Object.entries(settings).map(([name, value]) => [name, String(value)] as const),
      ['steps', String(result.steps)],
      ['images in a step', String(result.batch)],
      ['adapter', adapter.description || adapter.vendor],
      ['version', version],
    ],
    timings: [
      ...timings.map(({ name, seconds }) => [name, formatDuration(seconds)] as const),
      ['images from the cache', String(reused)],
    ],
  }
}
