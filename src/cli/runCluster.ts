import { dirname, resolve } from 'node:path'
import { defaultCacheFolder } from '../data/cache.node.ts'
import { scanFolder } from '../data/folder.node.ts'
import type { ImageFolder } from '../data/folder.node.ts'
import { cluster, createDevice } from '../index.node.ts'
import type { ClusterResult, Device, VisionModel } from '../index.node.ts'
import { KeeplightError } from '../runtime/errors.ts'
import { toAssignments } from '../train/assignments.ts'
import { comparePartitions } from './baselines.ts'
import { collectFeatures } from './collect.ts'
import type { Collection } from './collect.ts'
import { makeContactSheets } from './contactSheets.ts'
import type { Context } from './context.ts'
import { prepareOutput } from './files.ts'
import { openModel } from './openModel.ts'
import { profiled } from './profiled.ts'
import type { ClusterSettings } from './settings.ts'
import { Stopwatch } from './stopwatch.ts'
import { useTuning } from './tuning.ts'
import { writeResults } from './writeResults.ts'
import type { Summary } from './writeResults.ts'

/**
 * The main job: a folder of images in, clusters, scores and a report out.
 *
 * What can be found wrong early is found early: the images' number, the output folder, the adapter,
 * and only then comes the long work.
 */
export async function runCluster(
  data: string,
  settings: ClusterSettings,
  { terminal, signal }: Context,
): Promise<Summary> {
  const watch = new Stopwatch()
  const out = resolve(settings.out)
  const folder = await scanFolder(data)
  requireImages(data, folder.files.length, settings.k)
  await prepareOutput(out)
  const trace = settings.profile === undefined ? undefined : resolve(settings.profile)
  if (trace !== undefined) await prepareOutput(dirname(trace))
  terminal.note(describeFolder(folder))

  const device = await createDevice({ adapter: settings.adapter })
  try {
    await useTuning(device, terminal)
    const model = await openModel(settings, device, { terminal, signal })
    terminal.note(`${model.name} on ${describeAdapter(device)}`)
    watch.lap('start')
    return await profiled(device, trace, terminal, async () => {
      const collection = await collectFeatures(folder, model, {
        views: settings.views,
        cacheFolder: settings.cache ? defaultCacheFolder(process.env) : undefined,
        terminal,
        signal,
      })
      watch.lap('embedding')
      for (const { path, message } of collection.broken.slice(0, 20)) {
        terminal.warn(`left out ${path}: ${message}`)
      }
      requireImages(data, collection.kept.length, settings.k)
      const result = await train(collection, settings, device, { terminal, signal })
      watch.lap('training')
      return finish(
        folder,
        collection,
        result,
        { settings, out, device, model, watch },
        {
          terminal,
          signal,
        },
      )
    })
  } finally {
    device.close()
  }
}

interface Finish {
  readonly settings: ClusterSettings
  readonly out: string
  readonly device: Device
  readonly model: VisionModel
  readonly watch: Stopwatch
}

async function finish(
  folder: ImageFolder,
  collection: Collection,
  result: ClusterResult,
  { settings, out, device, model, watch }: Finish,
  { terminal, signal }: Context,
): Promise<Summary> {
  const { k, seed } = settings
  const { features, raw, kept } = collection
  const labels = folder.labels && Int32Array.from(kept, (index) => folder.labels?.[index] ?? -1)
  terminal.note('scoring: k-means on features and on raw pixels')
  const scores = await comparePartitions(features, raw, result.assignments, {
    device,
    k,
    seed,
    labels,
    signal,
  })
  watch.lap('scoring')
  const assignments = toAssignments(
    kept.map((index) => folder.files[index]),
    result.assignments,
    result.probabilities,
    k,
    labels && Array.from(labels, (label) => folder.classes[label]),
  )
  const clusters = await makeContactSheets(assignments, k, {
    root: folder.root,
    out,
    terminal,
    signal,
  })
  watch.lap('report')
  return writeResults({
    ...{ folder, collection, result, assignments, scores, clusters, labels },
    ...{ settings, out, model, timings: watch.laps, adapter: device.adapter },
    tuned: device.choices.entries(),
  })
}

async function train(
  { features }: Collection,
  settings: ClusterSettings,
  device: Device,
  { terminal, signal }: Context,
): Promise<ClusterResult> {
  const { k, seed, preset, noise, pairs, restarts, alpha, epochs, minSteps, batch, lr } = settings
  let progress: ReturnType<typeof terminal.progress> | undefined
  try {
    return await cluster(features, {
      ...{ k, device, seed, preset, noise, pairs, restarts, alpha, epochs, minSteps, batch },
      learningRate: lr,
      signal,
      onProgress: ({ restart, restarts: runs, step, steps, loss }) => {
        progress ??= terminal.progress('training', runs * steps, 'steps')
        const detail = `restart ${restart + 1}/${runs}, loss ${loss.toFixed(3)}`
        progress.update(restart * steps + step, detail)
      },
    })
  } finally {
    progress?.stop()
  }
}

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

function describeFolder({ root, files, classes, ignored }: ImageFolder): string {
  const kinds = classes.length > 0 ? ` in ${classes.length} classes` : ''
  const others = ignored > 0 ? `, ${ignored} other files ignored` : ''
  return `${root}: ${files.length} images${kinds}${others}`
}

/** The adapter in a few words. */
export function describeAdapter({ adapter }: Device): string {
  return adapter.description || [adapter.vendor, adapter.architecture].join(' ').trim() || 'GPU'
}
