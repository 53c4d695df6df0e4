import { join, resolve } from 'node:path'
import type { Command } from 'commander'
import { version } from '../../package.json'
import { createDevice, inertiaOf, normalizeRows, serializeSafetensors } from '../index.node.ts'
import type { ChooseKResult, Device, KmeansResult } from '../index.node.ts'
import { csvText, safePath } from '../data/csv.ts'
import { KeeplightError } from '../runtime/errors.ts'
import { fitPartition, rawPoints, type Points } from './baselines.ts'
import type { Context } from './context.ts'
import { prepareOutput, writeFileAtomic } from './files.ts'
import { featuresOf, openData, type ModelAbout } from './openData.ts'
import { openEncoder } from './openModel.ts'
import { integer } from './options.ts'
import { describeChoice, pickK, type PickSettings } from './pickK.ts'
import { agreementOf } from './scores.ts'
import { addCommonOptions, addCountOptions, addDataOptions, addModelOptions } from './settings.ts'
import type { DataSettings, ModelSettings } from './settings.ts'
import { useTuning } from './tuning.ts'

interface KmeansSettings extends DataSettings, ModelSettings, PickSettings {
  readonly raw: boolean
  readonly normalize: boolean
  readonly restarts: number
  readonly iterations: number
  readonly fit?: string
  readonly out: string
  readonly cache: boolean
  readonly adapter?: string
  readonly json: boolean
  readonly quiet: boolean
}

/** Adds `keeplight kmeans`. */
export function addKmeansCommand(
  program: Command,
  context: (output: Pick<KmeansSettings, 'json' | 'quiet'>) => Context,
): void {
  const command = program
    .command('kmeans')
    .summary('sort images into clusters by k-means')
    .description(
      'Clusters features, or raw pixels, by k-means++ with restarts: the baseline of cluster.',
    )
    .argument(
      '<data>',
      'folder, .tar, .tar.gz or .zip of images; list of files; CIFAR or STL-10 binaries; ' +
        'features.safetensors of keeplight embed',
    )
    .option('--raw', 'cluster pixels (32 × 32) in place of features', false)
    .option(
      '--no-normalize',
      'leave features as long as they are (rows get length 1; pixels never)',
    )
    .option('--restarts <n>', 'runs; the one of lowest inertia is kept', integer(1, 1000), 20)
    .option('--iterations <n>', 'Lloyd iterations at most', integer(1, 100_000), 300)
    .option('--fit <data>', 'find the centres on these images, then assign those of <data>')
    .option('--seed <n>', 'seed of every random draw', integer(0, 0xffffffff), 0)
    .option('-o, --out <folder>', 'where the results go', 'keeplight-kmeans')
    .option('--no-cache', 'neither read nor write the feature cache')
  addCommonOptions(addDataOptions(addModelOptions(addCountOptions(command), true)))
  command
    .addHelpText(
      'after',
      `
Examples:
  $ keeplight kmeans ./photos -k 10
  $ keeplight kmeans features.safetensors -k auto
  $ keeplight kmeans cifar10-test.tar.gz -k 10 --fit cifar10-train.tar.gz
  $ keeplight kmeans ./photos -k 10 --raw --json --quiet | jq .scores

Writes assignments.csv, assignments.json, centres.safetensors and metrics.json.`,
    )
    .action(async (data: string, options: KmeansSettings & { clusters: number | 'auto' }) => {
      await runKmeans(data, { ...options, k: options.clusters }, context(options))
    })
}

/** Images as points to cluster. */
interface Loaded {
  readonly root: string
  readonly points: Points
  readonly paths: readonly string[]
  readonly labels: Int32Array | undefined
  readonly classes: readonly string[]
  readonly broken: readonly { readonly path: string; readonly message: string }[]
  readonly model: ModelAbout | undefined
}

async function runKmeans(data: string, settings: KmeansSettings, context: Context): Promise<void> {
  const { terminal, signal } = context
  const out = resolve(settings.out)
  await prepareOutput(out)
  const device = await createDevice({ adapter: settings.adapter })
  try {
    await useTuning(device, terminal)
    const loaded = await load(data, settings, device, context)
    const fit =
      settings.fit === undefined ? undefined : await load(settings.fit, settings, device, context)
    if (fit) requireSameSpace(loaded, fit)
    const fitted = (fit ?? loaded).points
    const { k, choice } = await pickK(asFeatures(fitted), settings, device, context)
    if (choice) terminal.note(describeChoice(choice))
    if (k > fitted.count) {
      throw new KeeplightError(
        'input',
        `${settings.fit ?? data}: found ${fitted.count} readable images, expected at least as many as ` +
          `clusters (-k ${k}). Give a smaller -k, or add images.`,
      )
    }
    const { seed, restarts, iterations } = settings
    const result = await fitPartition(loaded.points, {
      ...{ device, k, seed, restarts, iterations, signal },
      ...(fit && { fit: fit.points }),
    })
    const files = await write(out, loaded, result, k)
    const summary = summarize(loaded, settings, result, { k, choice, files, out })
    await writeFileAtomic(files['metrics.json'], `${JSON.stringify(summary, null, 2)}\n`)
    terminal.printJson(summary)
    terminal.print(describe(summary))
  } finally {
    device.close()
  }
}

async function load(
  data: string,
  settings: KmeansSettings,
  device: Device,
  context: Context,
): Promise<Loaded> {
  const opened = await openData(data, settings, context.signal)
  const { collection, stored } = opened
  const { files, classes, root } = collection
  if (files.length === 0) throw new KeeplightError('input', `${data}: holds no images. Give some.`)
  if (settings.raw && stored) {
    throw new KeeplightError(
      'usage',
      `${data}: --raw clusters pixels, this is a file of features. Give the images.`,
    )
  }
  context.terminal.note(`${root}: ${files.length} images`)
  const loaded = stored ? undefined : await openEncoder(settings, device, context)
  const wanted = { ...settings, views: 0 }
  const { collected, model } = await featuresOf(opened, wanted, device, context, loaded)
  await loaded?.dispose()
  const { kept, features, raw, broken } = collected
  const { count, dimension } = features
  const points = settings.raw ? rawPoints(raw) : { count, dimension, data: features.clean.slice() }
  if (!settings.raw && settings.normalize) normalizeRows(points.data as Float32Array, dimension)
  const all = collection.labels
  return {
    ...{ root, points, broken, classes, model: settings.raw ? undefined : model },
    paths: kept.map((index) => files[index]),
    labels: all && Int32Array.from(kept, (index) => all[index]),
  }
}

function requireSameSpace(data: Loaded, fit: Loaded): void {
  const same =
    data.points.dimension === fit.points.dimension && data.model?.hash === fit.model?.hash
  if (same) return
  const about = ({ root, model }: Loaded): string => `${root} (${model?.name ?? 'pixels'})`
  throw new KeeplightError(
    'input',
    `--fit: ${about(fit)} and ${about(data)} have features of different models; embed both by the same`,
  )
}

function asFeatures({ count, dimension, data }: Points) {
  return { count, dimension, data: Float32Array.from(data) }
}

async function write(
  out: string,
  { points, paths, labels, classes, model }: Loaded,
  { assignments, centres }: KmeansResult,
  k: number,
): Promise<
  Record<'assignments.csv' | 'assignments.json' | 'centres.safetensors' | 'metrics.json', string>
> {
  const { dimension, data } = points
  const rows = paths.map((path, i) => {
    const cluster = assignments[i]
    let squares = 0
    for (let d = 0; d < dimension; d++) {
      squares += (data[i * dimension + d] - centres[cluster * dimension + d]) ** 2
    }
    const distance = Number(Math.sqrt(squares).toPrecision(7))
    return { path, cluster, distance, ...(labels && { label: classes[labels[i]] }) }
  })
  const csv = rows.map(({ path, cluster, distance, label }) => [
    ...[safePath(path), cluster, distance],
    ...(label === undefined ? [] : [safePath(label)]),
  ])
  const head = ['path', 'cluster', 'distance', ...(labels ? ['label'] : [])]
  const names = [
    'assignments.csv',
    'assignments.json',
    'centres.safetensors',
    'metrics.json',
  ] as const
  const files = Object.fromEntries(names.map((name) => [name, join(out, name)])) as Record<
    (typeof names)[number],
    string
  >
  await writeFileAtomic(files['assignments.csv'], csvText([head, ...csv]))
  const lines = rows.map((row) => JSON.stringify(row))
  await writeFileAtomic(files['assignments.json'], `[\n${lines.join(',\n')}\n]\n`)
  const tensor = { dtype: 'F32', shape: [k, dimension], data: centres } as const
  await writeFileAtomic(
    files['centres.safetensors'],
    serializeSafetensors(
      { centres: tensor },
      {
        ...{ format: 'keeplight-centres', keeplight: version, k: String(k) },
        ...(model && { model: model.name, model_hash: model.hash }),
      },
    ),
  )
  return files
}

interface About {
  readonly k: number
  readonly choice: ChooseKResult | undefined
  readonly files: Awaited<ReturnType<typeof write>>
  readonly out: string
}

function summarize(
  { root, points, labels, classes, broken, model }: Loaded,
  { seed, restarts, raw, normalize, fit }: KmeansSettings,
  { assignments, iterations }: KmeansResult,
  { k, choice, files, out }: About,
) {
  const { count, dimension, data } = points
  const sizes = new Array<number>(k).fill(0)
  assignments.forEach((cluster) => sizes[cluster]++)
  return {
    ...{ keeplight: version, data: root, out, files },
    images: { used: count, broken: broken.length },
    settings: {
      k,
      seed,
      restarts,
      raw,
      normalize: !raw && normalize,
      ...(fit !== undefined && { fit }),
    },
    ...(model && { model: { name: model.name, hash: model.hash, dimension: model.dimension } }),
    clusters: sizes.map((size, id) => ({ id, size })),
    classes,
    ...(labels && { scores: agreementOf(labels, assignments) }),
    inertia: inertiaOf(Float32Array.from(data), dimension, assignments, k),
    iterations,
    ...(choice && { kChoice: choice }),
    broken,
  }
}

function describe({
  images,
  settings,
  clusters,
  scores,
  inertia,
  files,
}: ReturnType<typeof summarize>): string {
  const percent = (value: number): string => `${(value * 100).toFixed(1)} %`
  const width = String(Math.max(images.used, settings.k)).length
  return [
    `${images.used} images in ${settings.k} clusters, inertia ${inertia.toPrecision(5)}`,
    ...clusters.map(({ id, size }) => {
      return `  ${String(id).padStart(width)}  ${String(size).padStart(width)} images`
    }),
    ...(scores
      ? [`ACC ${percent(scores.accuracy)}, NMI ${percent(scores.nmi)}, ARI ${percent(scores.ari)}`]
      : []),
    `assignments: ${files['assignments.csv']}`,
  ].join('\n')
}
