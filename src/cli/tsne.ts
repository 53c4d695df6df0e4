import { basename, join, resolve } from 'node:path'
import type { Command } from 'commander'
import { version } from '../../package.json'
import {
  assertSameModel,
  createDevice,
  MAX_TSNE_ROWS,
  normalizeRows,
  predictClusters,
  type Device,
  type TsneResult,
} from '../index.node.ts'
import { KeeplightError } from '../runtime/errors.ts'
import { csvText, safePath } from '../data/csv.ts'
import type { Collected } from './collect.ts'
import { linkTo, loadThumbnails } from './contactSheets.ts'
import type { Context } from './context.ts'
import { prepareOutput, writeFileAtomic } from './files.ts'
import { evenly, makeCloud, type CloudInput, type LaidOut } from './makeCloud.ts'
import { featuresOf, openData, type OpenedData } from './openData.ts'
import { openHead, openModelOf, type OpenedHead, type OptionalModel } from './openHead.ts'
import { integer, number } from './options.ts'
import { cloudSection, largePictures, type LargePicture } from './report/cloud.ts'
import type { CloudPoint } from './report/cloudData.ts'
import { cloudScript } from './report/cloudScript.ts'
import { renderPage } from './report/page.ts'
import {
  addCommonOptions,
  addDataOptions,
  addImagesOption,
  addModelOverride,
  type DataSettings,
} from './settings.ts'
import { useTuning } from './tuning.ts'

interface TsneSettings extends DataSettings, OptionalModel {
  readonly out: string
  readonly head?: string
  readonly perplexity?: number
  readonly iterations: number
  readonly limit: number
  readonly seed: number
  readonly cache: boolean
  readonly adapter?: string
  readonly json: boolean
  readonly quiet: boolean
}

const DEFAULT_MODEL = 'keeplight-tiny'
/** Pictures of the page that are larger than the cloud's own: about 2 MB. */
const LARGE = 600

/** Adds `keeplight tsne`. */
export function addTsneCommand(
  program: Command,
  context: (output: Pick<TsneSettings, 'json' | 'quiet'>) => Context,
): void {
  const command = program
    .command('tsne')
    .summary('lay images out by similarity')
    .description('Lays images out in two dimensions by t-SNE, alike ones near each other.')
    .argument(
      '<data>',
      'folder, .tar, .tar.gz or .zip of images; list of files; CIFAR or STL-10 binaries; ' +
        'features.safetensors of keeplight embed',
    )
    .option('-o, --out <folder>', 'where the results go', 'keeplight-tsne')
    .option('--head <file>', 'lay out the logits of this head (head.safetensors), not features')
    .option('--perplexity <x>', 'neighbours that count (30, fewer for few images)', number(1, 64))
    .option('--iterations <n>', 'steps of the descent', integer(1, 100_000), 1000)
    .option(
      '--limit <n>',
      'images at most, of more every so manieth; time grows with the square',
      integer(2, MAX_TSNE_ROWS),
      20_000,
    )
    .option('--seed <n>', 'seed of the random draws', integer(0, 0xffffffff), 0)
  addModelOverride(command, `the head’s, or ${DEFAULT_MODEL}`)
  command.option('--no-cache', 'neither read nor write the feature cache')
  addCommonOptions(addImagesOption(addDataOptions(command)))
  command
    .addHelpText(
      'after',
      `
Examples:
  $ keeplight tsne ./photos
  $ keeplight tsne ./photos --head keeplight-out/head.safetensors
  $ keeplight tsne features.safetensors --perplexity 50 --json

Writes tsne.csv (path, x, y, label, cluster), tsne.json and tsne.html, the cloud of images.`,
    )
    .action(async (data: string, settings: TsneSettings) => {
      await runTsne(data, settings, context(settings))
    })
}

async function runTsne(data: string, settings: TsneSettings, context: Context): Promise<void> {
  const { terminal, signal } = context
  const head = settings.head === undefined ? undefined : await openHead(settings.head)
  const opened = await openData(data, settings, signal)
  const { collection, stored } = opened
  if (head && stored) assertSameModel(head, stored.model, head.path)
  const out = resolve(settings.out)
  await prepareOutput(out)
  terminal.note(`${collection.root}: ${collection.files.length} images`)

  const device = await createDevice({ adapter: settings.adapter })
  try {
    await useTuning(device, terminal)
    const start = performance.now()
    const { collected, model } = await embed(opened, head, settings, device, context)
    const { count } = collected.features
    if (count < 2) {
      throw new KeeplightError(
        'input',
        `${data}: found ${count} readable images, expected at least 2 to lay out. Add images.`,
      )
    }
    const input = await inputOf(opened, collected, head, out, device, signal)
    const laidOut = await makeCloud(input, { device, ...settings }, context)
    const { rows, result } = laidOut
    if (rows.length < count) {
      terminal.warn(`laid out ${rows.length} of ${count} images, evenly chosen; see --limit`)
    }
    const pictures = await picturesOf(opened, collected, rows, context)
    const files = await write(out, laidOut, basename(collection.root), model, pictures)
    const seconds = (performance.now() - start) / 1000
    const { reused, embedded, broken } = collected
    terminal.printJson({
      ...{ keeplight: version, data: collection.root, out, files, model, of: input.what },
      images: { used: rows.length, of: count, reused, embedded, broken: broken.length },
      ...{ ...settled(result), seed: settings.seed, seconds },
    })
    terminal.print(`${rows.length} images, divergence ${result.kl.toFixed(4)}`)
    terminal.print(`cloud: ${files['tsne.html']}`)
  } finally {
    device.close()
  }
}

/** Features by the head's model where there is a head. */
async function embed(
  opened: OpenedData,
  head: OpenedHead | undefined,
  settings: TsneSettings,
  device: Device,
  context: Context,
): Promise<{ collected: Collected; model: string }> {
  const { model: name = DEFAULT_MODEL, dtype = 'f32', cache } = settings
  const wanted = { model: name, dtype, views: 0, cache }
  const own = head && !opened.stored
  const loaded = own
    ? await openModelOf({ ...head, from: head.path }, settings, device, context)
    : undefined
  if (own && loaded) assertSameModel(head, loaded, head.path)
  const { collected, model } = await featuresOf(opened, wanted, device, context, loaded)
  return { collected, model: model.name }
}

/** What is laid out: normalised features, or a head's logits with its clusters. */
async function inputOf(
  { collection }: OpenedData,
  { features, kept, raw }: Collected,
  head: OpenedHead | undefined,
  out: string,
  device: Device,
  signal: AbortSignal | undefined,
): Promise<CloudInput> {
  const { count, dimension, clean } = features
  const prediction =
    head && (await predictClusters(device, head, { count, dimension, data: clean }, { signal }))
  const images = kept.map((index, i) => {
    const href = linkTo(collection, index, out)
    const cluster = prediction?.assignments[i]
    return {
      path: collection.files[index],
      ...(collection.labels && { label: collection.classes[collection.labels[index]] }),
      ...(prediction && {
        cluster,
        probability: prediction.probabilities[i * prediction.k + cluster!],
      }),
      ...(href !== undefined && { href }),
    }
  })
  if (prediction) {
    const { logits: vectors, k } = prediction
    return { vectors, dimension: k, images, raw, what: 'the head’s logits' }
  }
  const vectors = clean.slice()
  normalizeRows(vectors, dimension)
  return { vectors, dimension, images, raw, what: 'the normalised features' }
}

/** Larger pictures of some of the images. */
async function picturesOf(
  { collection }: OpenedData,
  { kept }: Collected,
  rows: readonly number[],
  { terminal, signal }: Context,
): Promise<LargePicture[]> {
  const chosen = evenly(rows.length, LARGE).map((i) => kept[rows[i]])
  const thumbnails = await loadThumbnails(chosen, { collection, terminal, signal })
  return Array.from(thumbnails, ([path, thumbnail]) => ({ path, ...thumbnail }))
}

async function write(
  out: string,
  { cloud, result }: LaidOut,
  title: string,
  model: string,
  pictures: readonly LargePicture[],
): Promise<Record<string, string>> {
  const { points } = cloud
  const html = renderPage({
    title,
    subtitle: `${points.length.toLocaleString('en')} images by similarity, by ${model}`,
    main: [cloudSection(cloud), largePictures(pictures)],
    script: cloudScript,
  })
  const contents = {
    'tsne.csv': pointsCsv(points),
    'tsne.json': `${JSON.stringify({ model, ...settled(result), points: points.map(jsonPoint) }, null, 2)}\n`,
    'tsne.html': html,
  }
  const files: Record<string, string> = {}
  for (const [name, content] of Object.entries(contents)) {
    files[name] = join(out, name)
    await writeFileAtomic(files[name], content)
  }
  return files
}

/** The result without the layout. */
function settled(result: TsneResult): Omit<TsneResult, 'layout'> {
  const { kl, iterations, perplexity, neighbours, exaggeration, learningRate } = result
  return { kl, iterations, perplexity, neighbours, exaggeration, learningRate }
}

const rounded = (value: number): number => Number(value.toPrecision(7))

function jsonPoint({ href: _, x, y, probability, ...point }: CloudPoint) {
  return {
    ...{ ...point, x: rounded(x), y: rounded(y) },
    ...(probability !== undefined && { probability: rounded(probability) }),
  }
}

/** Columns of what is known of every image. */
export function pointsCsv(points: readonly CloudPoint[]): string {
  const labelled = points.some(({ label }) => label !== undefined)
  const clustered = points.some(({ cluster }) => cluster !== undefined)
  const head = ['path', 'x', 'y']
  if (labelled) head.push('label')
  if (clustered) head.push('cluster')
  const lines = points.map(({ path, x, y, label, cluster }) => [
    ...[safePath(path), rounded(x), rounded(y)],
    ...(labelled ? [safePath(label ?? '')] : []),
    ...(clustered ? [cluster ?? ''] : []),
  ])
  return csvText([head, ...lines])
}
