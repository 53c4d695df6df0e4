import { dirname, resolve } from 'node:path'
import type { ImageCollection } from '../data/collection.ts'
import { cluster, createDevice } from '../index.node.ts'
import type { ChooseKResult, ClusterResult, Device } from '../index.node.ts'
import { KeeplightError } from '../runtime/errors.ts'
import { toAssignments } from '../train/assignments.ts'
import { comparePartitions } from './baselines.ts'
import type { Collected } from './collect.ts'
import { makeContactSheets } from './contactSheets.ts'
import type { Context } from './context.ts'
import { prepareOutput } from './files.ts'
import { featuresOf, openData } from './openData.ts'
import type { ModelAbout } from './openData.ts'
import { openEncoder } from './openModel.ts'
import { profiled } from './profiled.ts'
import { describeChoice, pickK } from './pickK.ts'
import type { ChosenSettings, ClusterSettings } from './settings.ts'
import { Stopwatch } from './stopwatch.ts'
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
  await prepareOutput(out)
  const trace = settings.profile === undefined ? undefined : resolve(settings.profile)
  if (trace !== undefined) await prepareOutput(dirname(trace))
  terminal.note(describeCollection(collection))

  const device = await createDevice({ adapter: settings.adapter })
  try {
    await useTuning(device, terminal)
    const loaded = opened.stored ? undefined : await openEncoder(settings, device, context)
    watch.lap('start')
    return await profiled(device, trace, terminal, async () => {
      const { collected, model } = await featuresOf(opened, settings, device, context, loaded)
      watch.lap('embedding')
      requireImages(data, collected.kept.length, leastImages(settings.k))
      const { count, dimension, clean } = collected.features
      const rows = { count, dimension, data: clean }
      const { k, choice } = await pickK(rows, settings, device, context)
      if (choice) {
        terminal.note(describeChoice(choice))
        watch.lap('choosing K')
      }
      const chosen = { ...settings, k }
      const result = await train(collected, chosen, device, { terminal, signal })
      watch.lap('training')
      return finish(
        collection,
        collected,
        result,
        { settings: chosen, choice, out, device, model, watch },
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
  readonly settings: ChosenSettings
  readonly choice: ChooseKResult | undefined
  readonly out: string
  readonly device: Device
  readonly model: ModelAbout
  readonly watch: Stopwatch
}

async function finish(
  collection: ImageCollection,
  collected: Collected,
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
    signal,
  })
  watch.lap('scoring')
  const assignments = toAssignments(
    kept.map((index) => collection.files[index]),
    result.assignments,
    result.probabilities,
    k,
    labels && Array.from(labels, (label) => collection.classes[label]),
  )
  const clusters = await makeContactSheets(assignments, k, {
    collection,
    out,
    terminal,
    signal,
  })
  watch.lap('report')
  return writeResults({
    ...{ collection, collected, result, assignments, scores, clusters, labels },
    ...{ settings, choice, out, model, timings: watch.laps, adapter: device.adapter },
    tuned: device.choices.entries(),
  })
}

async function train(
  { features }: Collected,
  settings: ChosenSettings,
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

const leastImages = (k: number | 'auto'): number => (k === 'auto' ? 2 : k)

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

function describeCollection({ root, files, classes, ignored }: ImageCollection): string {
  const kinds = classes.length > 0 ? ` in ${classes.length} classes` : ''
  const others = ignored > 0 ? `, ${ignored} other files ignored` : ''
  return `${root}: ${files.length} images${kinds}${others}`
}

export { describeAdapter } from './openModel.ts'
