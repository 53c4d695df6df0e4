import { resolve, join } from 'node:path'
import type { Command } from 'commander'
import { version } from '../../package.json'
import { assertSameModel, createDevice, linearProbe, serializeHead } from '../index.node.ts'
import type { Device, LinearProbeResult } from '../index.node.ts'
import { KeeplightError } from '../runtime/errors.ts'
import type { Collected } from './collect.ts'
import type { Context } from './context.ts'
import { prepareOutput, writeFileAtomic } from './files.ts'
import { featuresOf, openData, type ModelAbout, type OpenedData } from './openData.ts'
import { integer, number } from './options.ts'
import { addCommonOptions, addDataOptions, addModelOptions } from './settings.ts'
import type { DataSettings, ModelSettings } from './settings.ts'
import { useTuning } from './tuning.ts'

interface ProbeSettings extends DataSettings, ModelSettings {
  readonly test?: string
  readonly holdOut?: number
  readonly epochs?: number
  readonly lr?: number
  readonly decay?: number
  readonly smoothing?: number
  readonly seed: number
  readonly out?: string
  readonly cache: boolean
  readonly adapter?: string
  readonly json: boolean
  readonly quiet: boolean
}

/** Adds `keeplight probe`. */
export function addProbeCommand(
  program: Command,
  context: (output: Pick<ProbeSettings, 'json' | 'quiet'>) => Context,
): void {
  const command = program
    .command('probe')
    .summary('train a linear classifier on labelled images, and score it')
    .description(
      'Trains one linear layer on the features of images whose classes are known, and prints its ' +
        'accuracy on images that it did not see.',
    )
    .argument(
      '<data>',
      'images with classes: a folder or archive with one subfolder per class; list of files; CIFAR or ' +
        'STL-10 binaries; features.safetensors of keeplight embed',
    )
    .option('--test <data>', 'images to score on (a part of DATA that is held out)')
    .option('--hold-out <x>', 'share of every class that is held out (0.2)', number(0.001, 0.999))
    .option('--epochs <n>', 'passes over the training images (100)', integer(1))
    .option('--lr <x>', 'initial learning rate (0.03)', number(0, 100))
    .option('--decay <x>', 'weight decay (0.0001)', number(0, 100))
    .option('--smoothing <x>', 'label smoothing (0)', number(0, 1))
    .option('--seed <n>', 'seed of every random draw', integer(0, 0xffffffff), 0)
    .option('-o, --out <folder>', 'where head.safetensors goes (nowhere)')
    .option('--no-cache', 'neither read nor write the feature cache')
  addModelOptions(command)
  addDataOptions(command)
  addCommonOptions(command)
  command
    .addHelpText(
      'after',
      `
Examples:
  $ keeplight probe ./photos-by-class
  $ keeplight probe ./train --test ./test --model clip-vit-b-32
  $ keeplight probe cifar-10-batches-bin --out ./probe && keeplight predict ./probe ./new`,
    )
    .action(async (data: string, settings: ProbeSettings) => {
      await runProbe(data, settings, context(settings))
    })
}

/** Images whose classes are known, and their features. */
interface Labelled {
  readonly data: string
  readonly opened: OpenedData
  readonly collected: Collected
  readonly model: ModelAbout
}

/** What `--json` prints. */
export interface ProbeSummary {
  readonly model: Pick<ModelAbout, 'name' | 'hash'>
  readonly classes: readonly string[]
  readonly trained: number
  readonly tested: number
  readonly accuracy: number
  readonly trainAccuracy: number
  /** Of every class, the share of its held-out images that was classified right; null without any. */
  readonly perClass: readonly (number | null)[]
  readonly steps: number
  readonly seed: number
  readonly head?: string
}

async function runProbe(data: string, settings: ProbeSettings, context: Context): Promise<void> {
  const { terminal, signal } = context
  if (settings.test !== undefined && settings.holdOut !== undefined) {
    throw new KeeplightError(
      'usage',
      '--hold-out says how much of DATA is held out, and --test that nothing is; give one of them',
    )
  }
  const opened = await openLabelled(data, settings, signal)
  const openedTest =
    settings.test === undefined ? undefined : await openLabelled(settings.test, settings, signal)
  const { classes } = opened.collection
  const out = settings.out === undefined ? undefined : resolve(settings.out)
  if (out !== undefined) await prepareOutput(out)
  const device = await createDevice({ adapter: settings.adapter })
  try {
    await useTuning(device, terminal)
    const train = await embed(data, opened, settings, device, context)
    const test =
      openedTest && (await embed(settings.test ?? '', openedTest, settings, device, context))
    if (test) assertComparable(train, test)
    const labels = labelsOf(train, classes)
    const testLabels = test && labelsOf(test, classes)
    const result = await fit(
      train,
      labels,
      settings,
      device,
      context,
      test &&
        testLabels && {
          features: test.collected.features,
          labels: testLabels,
        },
    )
    const head = out && join(out, 'head.safetensors')
    if (head) await writeFileAtomic(head, headFile(result, train.model, settings))
    const { accuracy, trainAccuracy, trained, tested, steps } = result
    const { name, hash } = train.model
    const summary: ProbeSummary = {
      ...{ model: { name, hash }, classes, trained: trained.length, tested: tested.length },
      ...{ accuracy, trainAccuracy, steps, seed: settings.seed },
      perClass: perClass(result, testLabels ?? labels, classes.length),
      ...(head && { head }),
    }
    terminal.printJson(summary)
    terminal.print(describe(summary))
  } finally {
    device.close()
  }
}

async function openLabelled(
  data: string,
  settings: ProbeSettings,
  signal: AbortSignal,
): Promise<OpenedData> {
  const opened = await openData(data, settings, signal)
  const { labels, classes } = opened.collection
  if (labels && classes.length >= 2) return opened
  throw new KeeplightError(
    'input',
    `${data}: names ${classes.length === 1 ? 'one class' : 'no classes'}, expected two or more to tell ` +
      'apart. Put the images of each class into a subfolder of its own.',
  )
}

async function embed(
  data: string,
  opened: OpenedData,
  settings: ProbeSettings,
  device: Device,
  context: Context,
): Promise<Labelled> {
  const found = await featuresOf(opened, { ...settings, views: 0 }, device, context)
  return { data, opened, ...found }
}

function assertComparable(train: Labelled, test: Labelled): void {
  if (train.model.hash === test.model.hash) return
  const { name, hash, dimension } = train.model
  assertSameModel({ model: name, modelHash: hash, dimension }, test.model, train.data)
}

/** Class of every image that could be read, by the names of the training data's classes. */
function labelsOf({ data, opened, collected }: Labelled, classes: readonly string[]): Int32Array {
  const { labels, classes: own } = opened.collection
  const places = own.map((name) => classes.indexOf(name))
  return Int32Array.from(collected.kept, (index) => {
    const label = labels?.[index] ?? 0
    const place = places[label] ?? -1
    if (place >= 0) return place
    throw new KeeplightError(
      'input',
      `${data}: has images of the class ${own[label]}, which the training images lack; they have ` +
        `${classes.join(', ')}. Leave that class out, or train on it.`,
    )
  })
}

async function fit(
  { collected }: Labelled,
  labels: Int32Array,
  { holdOut, epochs, lr, decay, smoothing, seed }: ProbeSettings,
  device: Device,
  { terminal, signal }: Context,
  test: Parameters<typeof linearProbe>[2]['test'],
): Promise<LinearProbeResult> {
  let progress: ReturnType<typeof terminal.progress> | undefined
  try {
    return await linearProbe(collected.features, labels, {
      ...{ device, test, holdOut, epochs, decay, seed, signal },
      ...{ learningRate: lr, labelSmoothing: smoothing },
      onProgress: ({ step, steps }) => {
        progress ??= terminal.progress('training', steps, 'steps')
        progress.update(step)
      },
    })
  } finally {
    progress?.stop()
  }
}

function perClass(
  { tested, predictions }: LinearProbeResult,
  labels: Int32Array,
  classes: number,
): (number | null)[] {
  const images = new Uint32Array(classes)
  const right = new Uint32Array(classes)
  tested.forEach((image, i) => {
    images[labels[image]]++
    if (predictions[i] === labels[image]) right[labels[image]]++
  })
  return Array.from(images, (count, label) => (count > 0 ? right[label] / count : null))
}

function headFile(
  { weights }: LinearProbeResult,
  model: ModelAbout,
  { seed, holdOut, epochs, lr, decay, smoothing }: ProbeSettings,
): Uint8Array<ArrayBuffer> {
  const about = { model: model.name, modelHash: model.hash, method: 'linear-probe' }
  const settings = { seed, holdOut, epochs, lr, decay, smoothing }
  return serializeHead(weights, { ...about, settings }, { keeplight: version })
}

function describe({
  classes,
  trained,
  tested,
  accuracy,
  trainAccuracy,
  perClass,
  head,
}: ProbeSummary) {
  const percent = (value: number | null): string =>
    value === null ? '–' : `${(value * 100).toFixed(1)} %`
  const width = Math.max(...classes.map((name) => name.length))
  const lines = classes.map((name, i) => {
    return `  ${name.padEnd(width)}  ${percent(perClass[i]).padStart(7)}`
  })
  return [
    `accuracy ${percent(accuracy)} on ${tested} images held out, ${percent(trainAccuracy)} on ${trained} ` +
      'trained on',
    ...(classes.length <= 100 ? lines : []),
    ...(head ? [`head: ${head}`] : []),
  ].join('\n')
}
