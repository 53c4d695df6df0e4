import { stat } from 'node:fs/promises'
import { defaultCacheFolder } from '../data/cache.node.ts'
import type { ImageCollection } from '../data/collection.ts'
import { openFeatureCollection, type StoredFeatures } from '../data/featureCollection.node.ts'
import { openCollection } from '../data/openCollection.node.ts'
import type { Device, VisionModel } from '../index.node.ts'
import { KeeplightError } from '../runtime/errors.ts'
import { collectFeatures, type Collected } from './collect.ts'
import type { Context } from './context.ts'
import type { Looks } from './looks.ts'
import type { MixedModel } from './mixedModel.ts'
import { describeAdapter, openEncoder } from './openModel.ts'
import type { DataSettings, ModelSettings } from './settings.ts'

/** DATA as a command was given it. */
export interface OpenedData {
  readonly collection: ImageCollection
  /** Features that are there already, when DATA is a file of them. */
  readonly stored?: StoredFeatures
}

/** Which encoder made features, or which several, joined by `+`. */
export type ModelAbout = Pick<VisionModel, 'name' | 'hash' | 'dimension'>

/**
 * Opens DATA: a collection of images, of any kind, or a file of features that `keeplight embed` wrote.
 *
 * @throws KeeplightError as `openCollection` and `openFeatureCollection`, `usage` for options of the
 *   other kind
 */
export async function openData(
  data: string,
  { labels, synsets, images }: DataSettings,
  signal?: AbortSignal,
): Promise<OpenedData> {
  const isFile = await stat(data).then(
    (entry) => entry.isFile(),
    () => false,
  )
  if (isFile && /\.safetensors$/i.test(data)) {
    if (synsets !== undefined) {
      throw new KeeplightError(
        'usage',
        `${data}: --synsets chooses from images, this is a file of features. Embed that part alone.`,
      )
    }
    return openFeatureCollection(data, { labels, images, signal })
  }
  if (images !== undefined) {
    throw new KeeplightError(
      'usage',
      `--images ${images}: names the pictures of a file of features, ${data} has its own`,
    )
  }
  return {
    collection: await openCollection(data, { labels, synsets, signal }),
  }
}

export interface FeatureSettings extends ModelSettings {
  /** Augmented views of each image beside the clean one. */
  readonly views: number
  readonly cache: boolean
}

/**
 * The features of DATA: of images by the model, through the cache, or those of the file, which have no
 * augmented views and no small pictures for the raw-pixel baseline (`raw` is empty).
 *
 * @param loaded the model, where the command has it already
 * @param looks is told what images look like, as far as they are decoded
 */
export async function featuresOf(
  { collection, stored }: OpenedData,
  settings: FeatureSettings,
  device: Device,
  context: Context,
  loaded?: VisionModel | MixedModel,
  looks?: Looks,
): Promise<{ readonly collected: Collected; readonly model: ModelAbout }> {
  const { terminal, signal } = context
  const note = (name: string): void => terminal.note(`${name} on ${describeAdapter(device)}`)
  if (stored) {
    const { features, failed, model } = stored
    note(`features of ${model.name}`)
    if (settings.views > 0)
      terminal.note('they have no augmented views: training sees the clean ones')
    const kept = Array.from({ length: features.count }, (_, row) => row)
    const raw = new Uint8Array(0)
    const counts = { reused: 0, embedded: 0, cache: undefined }
    return { model, collected: { features, kept, raw, broken: failed, ...counts } }
  }
  const model = loaded ?? (await openEncoder(settings, device, context))
  note(model.name)
  const collected = await collectFeatures(collection, model, {
    views: settings.views,
    cacheFolder: settings.cache ? defaultCacheFolder(process.env) : undefined,
    ...{ terminal, signal, looks },
  })
  for (const { path, message } of collected.broken.slice(0, 20)) {
    terminal.warn(`left out ${path}: ${message}`)
  }
  return { collected, model }
}
