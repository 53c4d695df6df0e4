import { type Command, Option } from 'commander'
import { collectionPictures } from '../data/collectionPictures.node.ts'
import type { ImageCollection } from '../data/collection.ts'
import type { ClusterOptions, OnlineViews, VisionModel } from '../index.node.ts'
import { KeeplightError } from '../runtime/errors.ts'
import type { Context } from './context.ts'
import type { MixedModel } from './mixedModel.ts'
import { integer } from './options.ts'

/** What `addOnlineOptions` parses. */
export interface OnlineSettings {
  /** Epochs that the same views serve; true: one. */
  readonly online?: true | number
  /** MiB. */
  readonly gpuMemory: number
  /** MiB. */
  readonly pictureMemory: number
}

/** Options of where training takes its features from. */
export function addOnlineOptions(command: Command): Command {
  const options = [
    new Option(
      '--online [epochs]',
      'fresh views each epoch, or every n, made on the GPU',
    ).argParser(integer(1)),
    new Option('--picture-memory <MiB>', 'of --online; more is decoded in each pass')
      .argParser(integer(0))
      .default(2048),
    new Option('--gpu-memory <MiB>', 'of features; more stays on the host and streams')
      .argParser(integer(0))
      .default(4096),
  ]
  options.forEach((option) => command.addOption(option.helpGroup('Features:')))
  return command
}

/** Views to embed before training: none when they are made while it goes on. */
export const viewsBefore = ({
  online,
  views,
}: OnlineSettings & { readonly views: number }): number => (online === undefined ? views : 0)

/** Epochs that views serve, as results say it. */
export const refreshOf = ({ online }: OnlineSettings): number | undefined =>
  online === true ? 1 : online

/**
 * For `cluster()`: where it takes features from.
 *
 * @param tell told how far a pass over the views has come, but for the first, which has its own bar
 */
export function sourceOptionsOf(
  settings: OnlineSettings,
  collection: ImageCollection,
  indices: readonly number[],
  model: VisionModel | MixedModel | undefined,
  { terminal, signal }: Context,
  tell: (text: string) => void,
): Pick<ClusterOptions, 'memoryBudget' | 'online'> {
  const memoryBudget = settings.gpuMemory * 2 ** 20
  const refresh = refreshOf(settings)
  if (refresh === undefined) return { memoryBudget }
  if (!model) {
    throw new KeeplightError(
      'usage',
      `${collection.root}: --online makes views from pictures, this is a file of features. Give the pictures.`,
    )
  }
  const models = 'encoders' in model ? model.encoders : [model]
  const memory = (settings.pictureMemory * 2 ** 20) / models.length
  let bar: ReturnType<typeof terminal.progress> | undefined
  const online: OnlineViews = {
    refresh,
    encoders: models.map((encoder) => {
      const { preprocess } = encoder
      const options = { preprocess, indices, memory, signal }
      return { model: encoder, pictures: collectionPictures(collection, options) }
    }),
    onProgress: ({ pass, done, total }) => {
      if (pass > 0) return tell(`views of pass ${pass + 1}: ${done}/${total}`)
      bar ??= terminal.progress('views', total, 'views')
      bar.update(done)
      if (done === total) bar.stop()
    },
  }
  return { memoryBudget, online }
}
