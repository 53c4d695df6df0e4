import { basename, dirname, resolve } from 'node:path'
import type { Command } from 'commander'
import { version } from '../../package.json'
import {
  assertSameModel,
  clusterSpace,
  createDevice,
  nearestImages,
  predictClusters,
  type ClusterPrediction,
  type Device,
  type VisionModel,
} from '../index.node.ts'
import { KeeplightError } from '../runtime/errors.ts'
import type { Collected } from './collect.ts'
import type { Context } from './context.ts'
import { oneLine } from './exitCodes.ts'
import { prepareOutput, writeFileAtomic } from './files.ts'
import type { MixedModel } from './mixedModel.ts'
import { integer } from './options.ts'
import { featuresOf, openData, type ModelAbout, type OpenedData } from './openData.ts'
import { openHead, openModelOf, type OpenedHead, type OptionalModel } from './openHead.ts'
import { percent } from './report/format.ts'
import { isMatch, renderSearch } from './report/searchPage.ts'
import type { SearchHit, SearchList, SearchResult } from './report/searchPage.ts'
import { searchPictures } from './searchPictures.ts'
import { describeQuery, embedQueries, findTerm, needsModel, type Query } from './searchQueries.ts'
import { addCommonOptions, addDataOptions, addImagesOption, addModelOverride } from './settings.ts'
import type { DataSettings } from './settings.ts'
import { Stopwatch } from './stopwatch.ts'
import { useTuning } from './tuning.ts'

interface SearchSettings extends DataSettings, OptionalModel {
  readonly top: number
  readonly head?: string
  readonly run?: string
  readonly add: readonly string[]
  readonly subtract: readonly string[]
  readonly merges?: string
  readonly out: string
  readonly cache: boolean
  readonly adapter?: string
  readonly json: boolean
  readonly quiet: boolean
}

const collect = (value: string, before: readonly string[]): readonly string[] => [...before, value]

/** Adds `keeplight search`. */
export function addSearchCommand(
  program: Command,
  context: (output: Pick<SearchSettings, 'json' | 'quiet'>) => Context,
): void {
  const command = program
    .command('search')
    .summary('find the images nearest to an image, or to words')
    .description(
      'Finds the nearest images of a collection, in features and in the space of a run’s clusters.',
    )
    .argument(
      '<data>',
      'folder, .tar, .tar.gz or .zip of images; list of files; CIFAR or STL-10 binaries; ' +
        'features.safetensors of keeplight embed',
    )
    .argument('<queries...>', 'image files, names of images of the data, or words (CLIP models)')
    .option('-n, --top <n>', 'images to find for each query', integer(1, 1000), 12)
    .option('--head <file>', 'head.safetensors of a run, whose cluster space is searched too')
    .option('--run <folder>', 'the same, by the folder of the run')
    .option('--add <query>', 'adds another image or words to every query', collect, [])
    .option('--subtract <query>', 'takes an image or words away from every query', collect, [])
    .option('--merges <file>', 'the tokenizer’s merges (those of the model)')
    .option('-o, --out <file>', 'where the page goes', 'search.html')
  addModelOverride(command, 'the head’s or the features’, else keeplight-tiny')
  command.option('--no-cache', 'neither read nor write the feature cache')
  addCommonOptions(addImagesOption(addDataOptions(command)))
  command
    .addHelpText(
      'after',
      `
Examples:
  $ keeplight search ./photos holiday.jpg
  $ keeplight search ./photos holiday.jpg cat/7.jpg --run ./keeplight-out
  $ keeplight search ./photos "a dog in the snow" --model clip-vit-b-32
  $ keeplight search ./photos holiday.jpg --add "at night" --subtract "people" --model clip-vit-b-32
  $ keeplight search features.safetensors cat/7.jpg --json | jq '.queries[0].features.hits[].path'

Features are kept in KEEPLIGHT_CACHE, so a second search starts at once and only new images are
embedded. A score says how far an image stands out from this collection: what is below the cut-off
is as near as a collection of this size has by chance.`,
    )
    .action(async (data: string, queries: readonly string[], settings: SearchSettings) => {
      await runSearch(data, queries, settings, context(settings))
    })
}

async function runSearch(
  data: string,
  texts: readonly string[],
  settings: SearchSettings,
  context: Context,
): Promise<void> {
  const { terminal, signal } = context
  const watch = new Stopwatch()
  const head = await headOf(settings)
  const opened = await openData(data, settings, signal)
  const { collection, stored } = opened
  if (stored && head) assertSameModel(head, stored.model, head.path)
  const queries = await findQueries(texts, settings, opened)
  const out = resolve(settings.out)
  await prepareOutput(dirname(out))
  terminal.note(`${collection.root}: ${collection.files.length} images`)

  const device = await createDevice({ adapter: settings.adapter })
  try {
    await useTuning(device, terminal)
    const { vision, source } = await openVision(opened, queries, head, settings, device, context)
    const wanted = { model: source, dtype: 'f32', views: 0, cache: settings.cache } as const
    const { collected, model } = await featuresOf(opened, wanted, device, context, vision)
    watch.lap('embedding')
    const encoder = { device, vision, source, settings, signal }
    const found = await search({ device, opened, collected, queries, head, encoder }, settings.top)
    watch.lap('search')
    const pictures = await searchPictures(found, queries, { collection, out, terminal, signal })
    const title = `${basename(collection.root)}: ${texts.length === 1 ? describeQuery(queries[0]) : `${texts.length} queries`}`
    const subtitle = describeSearch(collected, model, head)
    await writeFileAtomic(out, renderSearch({ title, subtitle, results: pictures }))
    watch.lap('page')
    const { reused, embedded, broken, features } = collected
    terminal.printJson({
      ...{ keeplight: version, data: collection.root, kind: collection.kind, file: out },
      model: { name: model.name, hash: model.hash, dimension: model.dimension },
      ...(head && { head: { path: head.path, method: head.method, k: head.k } }),
      images: { used: features.count, reused, embedded, broken: broken.length },
      queries: found,
      seconds: Object.fromEntries(watch.laps.map(({ name, seconds }) => [name, seconds])),
    })
    terminal.print(found.map(describeResult).join('\n\n'))
    terminal.print(`page: ${out}`)
    await vision?.dispose()
  } finally {
    device.close()
  }
}

async function headOf({ head, run }: SearchSettings): Promise<OpenedHead | undefined> {
  if (head !== undefined && run !== undefined) {
    throw new KeeplightError('usage', 'give either --head FILE or --run FOLDER')
  }
  const given = head ?? run
  return given === undefined ? undefined : openHead(given)
}

async function findQueries(
  texts: readonly string[],
  { add, subtract }: SearchSettings,
  { collection }: OpenedData,
): Promise<Query[]> {
  const find = (some: readonly string[]) =>
    Promise.all(some.map((text) => findTerm(text, collection)))
  const [bases, added, taken] = await Promise.all([find(texts), find(add), find(subtract)])
  return bases.map((base) => ({ base, add: added, subtract: taken }))
}

/** The encoder of images and queries, and its name; none where features are there and no query needs it. */
async function openVision(
  { collection, stored }: OpenedData,
  queries: readonly Query[],
  head: OpenedHead | undefined,
  settings: SearchSettings,
  device: Device,
  context: Context,
): Promise<{ vision: VisionModel | MixedModel | undefined; source: string }> {
  const owner = stored
    ? { ...stored.model, model: stored.model.name, modelHash: stored.model.hash, from: collection.root } // prettier-ignore
    : head && { ...head, from: head.path }
  const source = settings.model ?? owner?.model ?? 'keeplight-tiny'
  if (stored && !needsModel(queries)) return { vision: undefined, source }
  const origin = owner ?? { model: source, modelHash: '', from: 'the search' }
  const vision = await openModelOf(origin, settings, device, context)
  if (owner) assertSameModel(owner, vision, owner.from)
  return { vision, source }
}

interface Search {
  readonly device: Device
  readonly opened: OpenedData
  readonly collected: Collected
  readonly queries: readonly Query[]
  readonly head: OpenedHead | undefined
  readonly encoder: Parameters<typeof embedQueries>[3]
}

async function search(
  { device, opened, collected, queries, head, encoder }: Search,
  k: number,
): Promise<SearchResult[]> {
  const { signal } = encoder
  const { collection } = opened
  const { count, dimension, clean } = collected.features
  const features = { count, dimension, data: clean }
  const rows = new Map(collected.kept.map((index, row) => [index, row]))
  const vectors = await embedQueries(queries, features, (index) => rows.get(index), encoder)
  const own = queries.map(({ base }) => (base.kind === 'member' ? rows.get(base.index) : undefined))
  const near = await nearestImages(device, { features, queries: vectors, k, own, signal })
  const predicted = head && (await predictClusters(device, head, features, { signal }))
  const asked = head && (await predictClusters(device, head, vectors, { signal }))
  const sorted =
    predicted &&
    (await nearestImages(device, {
      features: clusterSpace(predicted.logits, predicted.k),
      queries: clusterSpace(asked!.logits, predicted.k),
      ...{ k, own, signal },
    }))

  const hitOf = (row: number, cosine: number): SearchHit => {
    const index = collected.kept[row]
    return {
      ...{ path: collection.files[index], cosine },
      ...(collection.labels && { label: collection.classes[collection.labels[index]] }),
      ...(predicted && clusterOf(predicted, row)),
    }
  }
  return queries.map((query, i): SearchResult => {
    const place = asked && clusterOf(asked, i)
    const { rows: found, cosines, scores, background } = near[i]
    const hits = Array.from(found, (row, at) => ({
      ...hitOf(row, cosines[at]),
      ...{ score: scores[at], standsOut: scores[at] >= background.cutoff },
    }))
    const alike =
      sorted && Array.from(sorted[i].rows, (row, at) => hitOf(row, sorted[i].cosines[at]))
    return {
      query: describeQuery(query),
      ...(place && { cluster: { id: place.cluster, probability: place.probability } }),
      features: { background, hits },
      ...(alike && {
        clusters: {
          hits: alike.map((hit) => ({ ...hit, sameCluster: hit.cluster === place!.cluster })),
        },
      }),
    }
  })
}

function clusterOf({ assignments, probabilities, k }: ClusterPrediction, row: number) {
  const cluster = assignments[row]
  return { cluster, probability: probabilities[row * k + cluster] }
}

function describeSearch(
  { features, reused }: Collected,
  model: ModelAbout,
  head: OpenedHead | undefined,
): string {
  const images = `${features.count.toLocaleString('en')} images by ${model.name}`
  const from = reused > 0 ? `, ${reused.toLocaleString('en')} of them from the cache` : ''
  return `${images}${from}${head ? `; ${head.k} clusters of ${head.path}` : ''}`
}

/** A query's nearest images as lines. */
function describeResult({ query, cluster, features, clusters }: SearchResult): string {
  const where = cluster
    ? ` (cluster ${cluster.id}, ${percent(cluster.probability).replace('\u00a0', ' ')})`
    : ''
  return [
    `${oneLine(query)}${where}`,
    ...describeList('in features', features),
    ...(clusters ? describeList('in cluster space', clusters) : []),
  ].join('\n')
}

function describeList(where: string, { hits, background }: SearchList): string[] {
  const matches = hits.filter(isMatch).length
  const { median = 0, cutoff = 0 } = background ?? {}
  const about = background
    ? `cosine, score; ${matches} of ${hits.length} stand out from the collection (* score ` +
      `${cutoff.toFixed(1)} or more; median cosine ${median.toFixed(3)})`
    : `cosine; ${matches} of ${hits.length} in the query’s cluster (*)`
  const lines = hits.map((hit) => {
    const score = hit.score === undefined ? '' : `  ${hit.score.toFixed(1).padStart(5)}`
    const sorted = hit.cluster === undefined ? '' : `  cluster ${hit.cluster}`
    const mark = isMatch(hit) ? '*' : ' '
    return `  ${mark} ${hit.cosine.toFixed(3).padStart(6)}${score}  ${oneLine(hit.path)}${sorted}`
  })
  return [` nearest ${where}: ${about}`, ...lines]
}
