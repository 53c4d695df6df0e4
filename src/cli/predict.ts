import { resolve, join } from 'node:path'
import type { Command } from 'commander'
import { version } from '../../package.json'
import {
  adjustedRandIndex,
  assertSameModel,
  clusteringAccuracy,
  createDevice,
  normalizedMutualInformation,
  predictClusters,
} from '../index.node.ts'
import { KeeplightError } from '../runtime/errors.ts'
import { assignmentsCsv, assignmentsJson, toAssignments } from '../train/assignments.ts'
import type { Assignment } from '../train/assignments.ts'
import type { Context } from './context.ts'
import { prepareOutput, writeFileAtomic } from './files.ts'
import { featuresOf, openData, type OpenedData } from './openData.ts'
import { openHead, openModelOf, type OpenedHead, type OptionalModel } from './openHead.ts'
import { addCommonOptions, addDataOptions, addModelOverride } from './settings.ts'
import type { DataSettings } from './settings.ts'
import { useTuning } from './tuning.ts'

interface PredictSettings extends DataSettings, OptionalModel {
  readonly out: string
  readonly cache: boolean
  readonly adapter?: string
  readonly json: boolean
  readonly quiet: boolean
}

/** Adds `keeplight predict`. */
export function addPredictCommand(
  program: Command,
  context: (output: Pick<PredictSettings, 'json' | 'quiet'>) => Context,
): void {
  const command = program
    .command('predict')
    .summary('put new images into the clusters of an earlier run')
    .description('Labels images by a saved head, without training.')
    .argument('<head>', 'head.safetensors of a run, or the run’s folder')
    .argument(
      '<data>',
      'folder, .tar, .tar.gz or .zip of images; list of files; CIFAR or STL-10 binaries; ' +
        'features.safetensors of keeplight embed',
    )
    .option('-o, --out <folder>', 'where the results go', 'keeplight-predicted')
  addModelOverride(command, 'the head’s')
  command.option('--no-cache', 'neither read nor write the feature cache')
  addCommonOptions(addDataOptions(command))
  command
    .addHelpText(
      'after',
      `
Examples:
  $ keeplight cluster ./photos -k 10 --out ./sorted
  $ keeplight predict ./sorted ./new-photos
  $ keeplight predict ./sorted/head.safetensors features.safetensors --json

Writes assignments.csv and assignments.json. The images are embedded by the model that the head was
trained on; --model gives its path where the name is not enough, and its hash has to agree.`,
    )
    .action(async (head: string, data: string, settings: PredictSettings) => {
      await runPredict(head, data, settings, context(settings))
    })
}

async function runPredict(
  given: string,
  data: string,
  settings: PredictSettings,
  context: Context,
): Promise<void> {
  const { terminal, signal } = context
  const head = await openHead(given)
  const opened = await openData(data, settings, signal)
  const { collection, stored } = opened
  if (stored) assertSameModel(head, stored.model, head.path)
  const out = resolve(settings.out)
  await prepareOutput(out)
  terminal.note(`${collection.root}: ${collection.files.length} images`)

  const device = await createDevice({ adapter: settings.adapter })
  try {
    await useTuning(device, terminal)
    const origin = { ...head, from: head.path }
    const model = stored ? undefined : await openModelOf(origin, settings, device, context)
    if (model) assertSameModel(head, model, head.path)
    const wanted = { model: head.model, dtype: 'f32', views: 0, cache: settings.cache } as const
    const { collected } = await featuresOf(opened, wanted, device, context, model)
    const { count, dimension, clean } = collected.features
    if (count === 0) throw new KeeplightError('input', `${data}: holds no images. Give some.`)
    const points = { count, dimension, data: clean }
    const { assignments, probabilities } = await predictClusters(device, head, points, { signal })

    const labels = labelsOf(opened, collected.kept)
    const rows = toAssignments(
      collected.kept.map((index) => collection.files[index]),
      assignments,
      probabilities,
      head.k,
      labels && Array.from(labels, (label) => collection.classes[label]),
    )
    const files = {
      'assignments.csv': join(out, 'assignments.csv'),
      'assignments.json': join(out, 'assignments.json'),
    }
    await writeFileAtomic(files['assignments.csv'], assignmentsCsv(rows))
    await writeFileAtomic(files['assignments.json'], assignmentsJson(rows))
    const { reused, embedded, broken } = collected
    const summary = {
      ...{ keeplight: version, data: collection.root, kind: collection.kind, out, files },
      head: { path: head.path, method: head.method, k: head.k, model: head.model },
      images: { used: count, reused, embedded, broken: broken.length },
      clusters: clusterSizes(rows, head),
      ...(labels && { scores: scoresOf(labels, assignments) }),
      broken,
    }
    terminal.printJson(summary)
    terminal.print(describe(summary, head))
    await model?.dispose()
  } finally {
    device.close()
  }
}

function labelsOf({ collection }: OpenedData, kept: readonly number[]): Int32Array | undefined {
  const all = collection.labels
  return all && Int32Array.from(kept, (index) => all[index])
}

interface ClusterSize {
  readonly id: number
  readonly size: number
  /** Median of its images' probabilities; 0 when empty. */
  readonly confidence: number
}

function clusterSizes(rows: readonly Assignment[], { k }: OpenedHead): ClusterSize[] {
  const shares = Array.from({ length: k }, (): number[] => [])
  for (const { cluster, probability } of rows) shares[cluster].push(probability)
  return shares.map((all, id) => {
    const sorted = all.sort((a, b) => b - a)
    return { id, size: all.length, confidence: sorted[Math.floor(all.length / 2)] ?? 0 }
  })
}

function scoresOf(labels: Int32Array, assignments: Int32Array) {
  return {
    accuracy: clusteringAccuracy(labels, assignments),
    nmi: normalizedMutualInformation(labels, assignments),
    ari: adjustedRandIndex(labels, assignments),
  }
}

function describe(
  summary: {
    readonly images: { readonly used: number; readonly reused: number; readonly broken: number }
    readonly clusters: readonly ClusterSize[]
    readonly scores?: ReturnType<typeof scoresOf>
    readonly files: Readonly<Record<string, string>>
  },
  { k }: OpenedHead,
): string {
  const { images, clusters, scores, files } = summary
  const percent = (value: number): string => `${(value * 100).toFixed(1)} %`
  const left = images.broken > 0 ? `, ${images.broken} broken and left out` : ''
  const from = images.reused > 0 ? `, ${images.reused} from the cache` : ''
  const width = String(Math.max(images.used, k)).length
  return [
    `${images.used} images in ${k} clusters${from}${left}`,
    ...clusters.map(({ id, size, confidence }) => {
      const sure = size > 0 ? `, median probability ${percent(confidence)}` : ''
      return `  ${String(id).padStart(width)}  ${String(size).padStart(width)} images${sure}`
    }),
    ...(scores
      ? [`ACC ${percent(scores.accuracy)}, NMI ${percent(scores.nmi)}, ARI ${percent(scores.ari)}`]
      : []),
    `assignments: ${files['assignments.csv']}`,
  ].join('\n')
}
