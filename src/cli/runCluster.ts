import { dirname, resolve } from 'node:path'
import { defaultCacheFolder } from '../data/cache.node.ts'
import type { ImageCollection } from '../data/collection.ts'
import { cluster, createDevice } from '../index.node.ts'
import type {
  ChooseKResult,
  ClusterResult,
  Device,
  Divergence,
  VisionModel,
} from '../index.node.ts'
import { KeeplightError } from '../runtime/errors.ts'
import { toAssignments } from '../train/assignments.ts'
import { comparePartitions } from './baselines.ts'
import { openCheckpointFile, type CheckpointFile } from './checkpointFile.ts'
import type { Collected } from './collect.ts'
import { clusterCloud } from './clusterCloud.ts'
import { makeContactSheets } from './contactSheets.ts'
import type { Context } from './context.ts'
import { prepareOutput } from './files.ts'
import { Looks } from './looks.ts'
import { clusterOptionsOf, methodTitle } from './methods.ts'
import type { MixedModel } from './mixedModel.ts'
import { sourceOptionsOf, viewsBefore } from './online.ts'
import { featuresOf, openData } from './openData.ts'
import type { ModelAbout } from './openData.ts'
import { openEncoder } from './openModel.ts'
import { checkOrganizable, organize, planOrganization } from './organizeFiles.ts'
import { profiled } from './profiled.ts'
import { describeChoice, pickK } from './pickK.ts'
import { planTiles } from './reportTiles.ts'
import type { ChosenSettings, ClusterSettings } from './settings.ts'
import { Stopwatch } from './stopwatch.ts'
import { copiesByPath, surveyImages, type Survey } from './survey.ts'
import { useTuning } from './tuning.ts'
import { writeResults } from './writeResults.ts'
import type { Summary } from './writeResults.ts'

/**
 * The main job: a collection of images in, clusters, scores and a report out.
 *
 * What can be found wrong early is found early: the images' number, the output folder, the adapter,
 * and only then comes the long work.
 */
export async function runCluster(
  data: string,
  settings: ClusterSettings,
  context: Context,
): Promise<Summary> {
  const { terminal, signal } = context
  const watch = new Stopwatch()
  const out = resolve(settings.out)
  const opened = await openData(data, settings, signal)
  const { collection } = opened
  requireImages(data, collection.files.length, leastImages(settings.k))
  if (settings.organize) await checkOrganizable(collection, out, settings.organize)
  await prepareOutput(out)
  const trace = settings.profile === undefined ? undefined : resolve(settings.profile)
  if (trace !== undefined) await prepareOutput(dirname(trace))
  const checkpoint = await openCheckpointFile(out, settings)
  terminal.note(describeCollection(collection))

  const device = await createDevice({ adapter: settings.adapter })
  try {
    await useTuning(device, terminal)
    const loaded = opened.stored ? undefined : await openEncoder(settings, device, context)
    watch.lap('start')
    return await profiled(device, trace, terminal, async () => {
      const cacheFolder = settings.cache ? defaultCacheFolder(process.env) : undefined
      // Features from a file start at once: their pictures are not read for this.
      const looks = opened.stored
        ? undefined
        : new Looks(collection, { cacheFolder, terminal, signal })
      const before = { ...settings, views: viewsBefore(settings) }
      const found = await featuresOf(opened, before, device, context, loaded, looks)
      const { collected, model } = found
      watch.lap('embedding')
      if (looks) terminal.note(describeCounts(collected))
      requireImages(data, collected.kept.length, leastImages(settings.k))
      const survey = looks && (await surveyImages(collection, { ...collected, looks, device }))
      looks?.close()
      watch.lap('looking')
      const { count, dimension, clean } = collected.features
      const rows = { count, dimension, data: clean }
      const { k, choice } = await pickK(rows, settings, device, context)
      if (choice) {
        terminal.note(describeChoice(choice))
        watch.lap('choosing K')
      }
      const chosen = { ...settings, k }
      const parts = { collection, encoder: loaded, device, checkpoint }
      const result = await train(collected, chosen, parts, context)
      for (const { seed, diverged } of result.restarts) {
        if (diverged) terminal.warn(`run of seed ${seed} left out: ${describeDivergence(diverged)}`)
      }
      watch.lap('training')
      const summary = await finish(
        collection,
        { collected, survey },
        result,
        { settings: chosen, choice, out, device, model, watch },
        {
          terminal,
          signal,
        },
      )
      await checkpoint.remove()
      return summary
    })
  } finally {
    device.close()
  }
}

interface Finish {
  readonly settings: ChosenSettings
  readonly choice: ChooseKResult | undefined
  readonly out: string
  readonly device: Device
  readonly model: ModelAbout
  readonly watch: Stopwatch
}

async function finish(
  collection: ImageCollection,
  { collected, survey }: { readonly collected: Collected; readonly survey?: Survey },
  result: ClusterResult,
  { settings, choice, out, device, model, watch }: Finish,
  { terminal, signal }: Context,
): Promise<Summary> {
  const { k, seed } = settings
  const { features, raw, kept } = collected
  const all = collection.labels
  const labels = all && Int32Array.from(kept, (index) => all[index])
  terminal.note(`scoring: k-means on features${raw.length > 0 ? ' and on raw pixels' : ''}`)
  const scores = await comparePartitions(features, raw, result.assignments, {
    device,
    k,
    seed,
    labels,
    method: methodTitle(result),
    signal,
  })
  watch.lap('scoring')
  const assignments = toAssignments(
    kept.map((index) => collection.files[index]),
    result.assignments,
    result.probabilities,
    k,
    labels && Array.from(labels, (label) => collection.classes[label]),
    survey && copiesByPath(survey),
  )
  const tiles = planTiles(assignments, survey)
  const sheetOptions = { collection, out, terminal, signal }
  const sheets = await makeContactSheets(assignments, k, sheetOptions, tiles.paths)
  watch.lap('report')
  const cloud =
    settings.cloud === false
      ? undefined
      : await clusterCloud(
          { collection, collected, result, assignments, out, model },
          device,
          seed,
          { terminal, signal },
        )
  watch.lap('cloud')
  const summary = await writeResults({
    cloud,
    ...{ collection, collected, survey, result, assignments, scores, labels },
    ...{ clusters: sheets.clusters, tiles: tiles.fill(sheets.pictureOf) },
    ...{ settings, choice, out, model, timings: watch.laps, adapter: device.adapter },
    tuned: device.choices.entries(),
  })
  if (!settings.organize) return summary
  const { dryRun = false, organize: mode } = settings
  const plan = planOrganization(collection, assignments, out, mode)
  if (!dryRun) await organize(collection, plan, { terminal, signal })
  return { ...summary, organized: { ...plan, dryRun } }
}

interface TrainParts {
  readonly collection: ImageCollection
  /** Absent where features came from a file. */
  readonly encoder: VisionModel | MixedModel | undefined
  readonly device: Device
  readonly checkpoint: CheckpointFile
}

async function train(
  collected: Collected,
  settings: ChosenSettings,
  { collection, encoder, device, checkpoint }: TrainParts,
  context: Context,
): Promise<ClusterResult> {
  const { terminal, signal } = context
  const { k, seed } = settings
  let done = 0
  let progress: ReturnType<typeof terminal.progress> | undefined
  const source = sourceOptionsOf(settings, collection, collected.kept, encoder, context, (text) =>
    progress?.update(done, text),
  )
  try {
    return await cluster(collected.features, {
      ...clusterOptionsOf(settings),
      ...source,
      ...{ k, device, seed, signal },
      ...checkpoint.options,
      onProgress: ({ restart, runs, restarts, step, steps, loss }) => {
        progress ??= terminal.progress('training', restarts * steps, 'steps')
        const whose = runs === 1 ? `run ${restart + 1}` : `runs ${restart + 1} to ${restart + runs}`
        const detail = `${whose} of ${restarts}, loss ${loss.toFixed(3)}`
        progress.update((done = restart * steps + runs * step), detail)
      },
    })
  } finally {
    progress?.stop()
  }
}

const leastImages = (k: number | 'auto'): number => (k === 'auto' ? 2 : k)
const describeDivergence = ({ step, terms }: Divergence): string =>
  `its loss is not finite from step ${step} on${terms.length > 0 ? `, in ${terms.join(' and ')}` : ''}; ` +
  'a lower --lr may help'

function requireImages(data: string, images: number, k: number): void {
  if (images < 2) {
    throw new KeeplightError(
      'input',
      `${data}: found ${images} readable image, expected at least 2 to tell apart. Add images.`,
    )
  }
  if (images < k) {
    throw new KeeplightError(
      'input',
      `${data}: found ${images} readable images, expected at least as many as clusters (-k ${k}). ` +
        `Give -k ${images} or less, or add images.`,
    )
  }
}

/** What embedding had to do. */
function describeCounts({ reused, embedded, broken }: Collected): string {
  return `${reused} images from the cache, ${embedded} new, ${broken.length} broken`
}

function describeCollection({ root, files, classes, ignored }: ImageCollection): string {
  const kinds = classes.length > 0 ? ` in ${classes.length} classes` : ''
  const others = ignored > 0 ? `, ${ignored} other files ignored` : ''
  return `${root}: ${files.length} images${kinds}${others}`
}

export { describeAdapter } from './openModel.ts'
