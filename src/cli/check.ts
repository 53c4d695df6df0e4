import { resolve } from 'node:path'
import type { Command } from 'commander'
import { defaultCacheFolder } from '../data/cache.node.ts'
import { everyIndex, type ImageCollection } from '../data/collection.ts'
import { openCollection } from '../data/openCollection.node.ts'
import { createDevice } from '../index.node.ts'
import { collectFeatures, noneReadable } from './collect.ts'
import type { Context } from './context.ts'
import { describeSurvey } from './describeSurvey.ts'
import { prepareOutput } from './files.ts'
import { Looks } from './looks.ts'
import { openEncoder } from './openModel.ts'
import { number } from './options.ts'
import { addCommonOptions, addDataOptions, addModelOptions } from './settings.ts'
import type { DataSettings, ModelSettings } from './settings.ts'
import { surveyImages, type Survey } from './survey.ts'
import { surveyJson, writeSurvey } from './surveyFiles.ts'
import { useTuning } from './tuning.ts'

interface CheckSettings extends DataSettings, ModelSettings {
  readonly adapter?: string
  readonly lookAlikes: boolean
  readonly closeness?: number
  readonly out?: string
  readonly cache: boolean
  readonly quiet: boolean
  readonly json: boolean
}

/** Adds `keeplight check`. */
export function addCheckCommand(
  program: Command,
  context: (output: Pick<CheckSettings, 'quiet' | 'json'>) => Context,
): void {
  const command = program
    .command('check')
    .summary('list duplicates, look-alikes, blurry, dark, odd and broken images')
    .description('Lists images that may be thrown away or mended. Nothing is moved or deleted.')
    .argument('<data>', 'folder, archive or list of images, as keeplight cluster takes it')
    .option('--no-look-alikes', 'without features: needs no GPU and no model')
    .option(
      '--closeness <x>',
      'look-alikes: within this share of the mean squared distance of two images (0.1)',
      number(0, 1),
    )
    .option('-o, --out <folder>', 'write quality.json and duplicates.csv there')
    .option('--no-cache', 'neither read nor write the feature cache')
  addModelOptions(addDataOptions(command))
  addCommonOptions(command)
  command
    .addHelpText(
      'after',
      `
Examples:
  $ keeplight check ./photos
  $ keeplight check photos.zip --no-look-alikes
  $ keeplight check ./photos --out ./checked
  $ keeplight check ./photos --json --quiet | jq -r '.copies[].others[].path'`,
    )
    .action(async (data: string, settings: CheckSettings) => {
      await runCheck(data, settings, context(settings))
    })
}

async function runCheck(data: string, settings: CheckSettings, context: Context): Promise<void> {
  const { terminal, signal } = context
  const { labels, synsets } = settings
  const collection = await openCollection(data, { labels, synsets, signal })
  const out = settings.out === undefined ? undefined : resolve(settings.out)
  if (out !== undefined) await prepareOutput(out)
  const survey = settings.lookAlikes
    ? await surveyWithFeatures(collection, settings, context)
    : await surveyWithout(collection, settings, context)
  const files = out === undefined ? {} : await writeSurvey(out, survey)
  terminal.printJson({ data: collection.root, ...surveyJson(survey), files })
  terminal.print(describeSurvey(survey))
  for (const path of Object.values(files)) terminal.print(`wrote ${path}`)
}

const cacheOf = ({ cache }: CheckSettings): string | undefined =>
  cache ? defaultCacheFolder(process.env) : undefined

async function surveyWithout(
  collection: ImageCollection,
  settings: CheckSettings,
  { terminal, signal }: Context,
): Promise<Survey> {
  const looks = new Looks(collection, { cacheFolder: cacheOf(settings), terminal, signal })
  try {
    const all = everyIndex(collection)
    await looks.complete(all)
    const broken = all.flatMap((index) => {
      const message = looks.failure(index)
      return message === undefined ? [] : [{ path: collection.files[index], message }]
    })
    const kept = looks.seenOf(all)
    if (kept.length === 0) throw noneReadable(collection.root, broken)
    return await surveyImages(collection, { looks, kept, broken })
  } finally {
    looks.close()
  }
}

async function surveyWithFeatures(
  collection: ImageCollection,
  settings: CheckSettings,
  context: Context,
): Promise<Survey> {
  const { terminal, signal } = context
  const cacheFolder = cacheOf(settings)
  const device = await createDevice({ adapter: settings.adapter })
  const looks = new Looks(collection, { cacheFolder, terminal, signal })
  try {
    await useTuning(device, terminal)
    const model = await openEncoder(settings, device, context)
    const options = { views: 0, cacheFolder, terminal, signal, looks }
    const { features, kept, broken } = await collectFeatures(collection, model, options)
    const share = settings.closeness
    return await surveyImages(collection, { looks, kept, broken, features, device, share })
  } finally {
    looks.close()
    device.close()
  }
}
