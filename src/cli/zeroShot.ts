import { readFile } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import type { Command } from 'commander'
import { defaultCacheFolder } from '../runtime/cacheFolder.node.ts'
import { openCollection } from '../data/openCollection.node.ts'
import {
  CIFAR_TEMPLATES,
  classify,
  createDevice,
  IMAGENET_TEMPLATES,
  loadTextModel,
  zeroShotClassifier,
  type ZeroShotResult,
} from '../index.node.ts'
import { KeeplightError } from '../runtime/errors.ts'
import { assignmentsCsv, toAssignments } from '../train/assignments.ts'
import { collectFeatures } from './collect.ts'
import type { Context } from './context.ts'
import { prepareOutput, writeFileAtomic } from './files.ts'
import { openModel } from './openModel.ts'
import { describeAdapter } from './runCluster.ts'
import { addCommonOptions, addDataOptions, addModelOptions } from './settings.ts'
import type { DataSettings, ModelSettings } from './settings.ts'
import { useTuning } from './tuning.ts'

interface ZeroShotSettings extends DataSettings, ModelSettings {
  readonly classes?: string
  readonly templates: string
  readonly merges?: string
  readonly out: string
  readonly cache: boolean
  readonly adapter?: string
  readonly json: boolean
  readonly quiet: boolean
}

/** Sets of prompts by name; others are files, one prompt a line. */
const TEMPLATES: Readonly<Record<string, readonly string[]>> = {
  photo: ['a photo of a {}.'],
  cifar: CIFAR_TEMPLATES,
  imagenet: IMAGENET_TEMPLATES,
}

/** Adds `keeplight zero-shot`. */
export function addZeroShotCommand(
  program: Command,
  context: (output: Pick<ZeroShotSettings, 'json' | 'quiet'>) => Context,
): void {
  const command = program
    .command('zero-shot')
    .summary('sort images by the names of classes, with CLIP')
    .description('Compares images with the names of classes in the space of a CLIP model.')
    .argument(
      '<data>',
      'folder, .tar, .tar.gz or .zip of images; list of files; CIFAR or STL-10 binaries',
    )
    .option('--classes <list>', 'names between commas, or a file with one a line (by the data)')
    .option(
      '--templates <set>',
      'prompts: photo, cifar, imagenet, or a file, {} for the name',
      'photo',
    )
    .option('--merges <file>', 'the tokenizer’s merges (those of the model)')
    .option('-o, --out <file>', 'where the predictions go', 'zero-shot.csv')
    .option('--no-cache', 'neither read nor write the feature cache')
  addCommonOptions(addDataOptions(addModelOptions(command)))
  command
    .addHelpText(
      'after',
      `
Examples:
  $ keeplight zero-shot ./photos --model clip-vit-b-32 --classes "dog,cat,a group of people"
  $ keeplight zero-shot ./cifar-10-batches-bin --model clip-vit-b-32 --templates cifar

Where the data have classes, their names are the default of --classes ("_" reads as a space), and
the accuracy is printed.`,
    )
    .action(async (data: string, settings: ZeroShotSettings) => {
      await runZeroShot(data, settings, context(settings))
    })
}

async function runZeroShot(
  data: string,
  settings: ZeroShotSettings,
  { terminal, signal }: Context,
): Promise<void> {
  const { labels: labelling, synsets, merges } = settings
  const out = resolve(settings.out)
  const templates = await templatesOf(settings.templates)
  const collection = await openCollection(data, { labels: labelling, synsets, signal })
  const classes = await classNames(settings.classes, collection.classes, data)
  await prepareOutput(dirname(out))
  terminal.note(`${collection.root}: ${collection.files.length} images, ${classes.length} classes`)

  const device = await createDevice({ adapter: settings.adapter })
  try {
    await useTuning(device, terminal)
    const model = await openModel(settings, device, { terminal, signal })
    terminal.note(`${model.name} on ${describeAdapter(device)}`)
    if (model.config.family !== 'clip') {
      throw new KeeplightError(
        'usage',
        `model ${model.name} has no text tower; zero-shot needs a CLIP model, such as clip-vit-b-32`,
      )
    }
    const text = await loadTextModel(settings.model, {
      ...{ device, dtype: settings.dtype, signal },
      ...(merges !== undefined && { merges: await readBytes(merges, 'merges') }),
    })
    const classifier = await zeroShotClassifier(text, classes, { templates, signal })
    await text.dispose()
    const { features, kept, broken } = await collectFeatures(collection, model, {
      views: 0,
      cacheFolder: settings.cache ? defaultCacheFolder(process.env) : undefined,
      ...{ terminal, signal },
    })
    for (const { path, message } of broken.slice(0, 20)) {
      terminal.warn(`left out ${path}: ${message}`)
    }
    const { count, dimension, clean } = features
    const result = await classify(
      device,
      classifier,
      { count, dimension, data: new Float32Array(clean) },
      signal,
    )
    await model.dispose()

    const truth = collection.labels && kept.map((index) => collection.labels![index])
    const given = settings.classes === undefined
    const accuracy = truth && given ? accuracyOf(result, truth) : undefined
    const rows = toAssignments(
      kept.map((index) => collection.files[index]),
      result.labels,
      result.probabilities,
      classes.length,
      truth?.map((label) => collection.classes[label]),
    )
    await writeFileAtomic(out, assignmentsCsv(rows, classes))
    const sizes = classes.map((name, label) => {
      return { name, size: result.labels.filter((other) => other === label).length }
    })
    terminal.printJson({
      ...{ data: collection.root, model: model.name, templates: templates.length, images: count },
      ...{ broken: broken.length, accuracy, classes: sizes, file: out },
    })
    const width = Math.max(...classes.map((name) => name.length))
    terminal.print(sizes.map(({ name, size }) => `${name.padEnd(width)}  ${size}`).join('\n'))
    if (accuracy !== undefined) terminal.print(`accuracy: ${(accuracy * 100).toFixed(1)} %`)
    terminal.print(`predictions: ${out}`)
  } finally {
    device.close()
  }
}

/** A set of prompts by its name, or the lines of a file. */
export async function templatesOf(name: string): Promise<readonly string[]> {
  return TEMPLATES[name] ?? (await readLines(name, 'templates'))
}

function accuracyOf({ labels }: ZeroShotResult, truth: readonly number[]): number {
  return truth.filter((label, i) => label === labels[i]).length / truth.length
}

async function classNames(
  given: string | undefined,
  known: readonly string[],
  data: string,
): Promise<string[]> {
  if (given === undefined) {
    if (known.length > 0) return known.map((name) => name.replaceAll('_', ' '))
    throw new KeeplightError(
      'usage',
      `${data} has no classes of its own; give their names with --classes "dog,cat,…"`,
    )
  }
  const names = given.includes(',')
    ? given.split(',').map((name) => name.trim())
    : await readLines(given, 'classes')
  if (names.length < 2 || names.some((name) => name === '')) {
    throw new KeeplightError(
      'usage',
      `--classes ${given}: expected two names or more, between commas or one a line in a file`,
    )
  }
  return names
}

async function readLines(path: string, what: string): Promise<string[]> {
  const text = new TextDecoder().decode(await readBytes(path, what))
  return text.split(/\r?\n/).filter((line) => line.trim() !== '')
}

async function readBytes(path: string, what: string): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = await readFile(path).catch((cause: unknown) => {
    throw new KeeplightError('input', `--${what} ${path}: ${(cause as Error).message}`, { cause })
  })
  return new Uint8Array(bytes)
}
