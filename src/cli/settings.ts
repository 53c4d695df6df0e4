import { type Command, Option } from 'commander'
import type { WeightDtype } from '../index.node.ts'
import { addCheckpointOptions, type CheckpointSettings } from './checkpointFile.ts'
import { addMethodOptions, type MethodSettings } from './methods.ts'
import { addOnlineOptions, type OnlineSettings } from './online.ts'
import { countOrAuto, integer, numbersFrom } from './options.ts'
import { addRecipeOptions, type RecipeSettings } from './recipe.ts'

/** What `keeplight cluster` was asked to do, as parsed. */
export interface ClusterSettings
  extends
    DataSettings,
    ModelSettings,
    RecipeSettings,
    MethodSettings,
    OnlineSettings,
    CheckpointSettings {
  readonly k: number | 'auto'
  /** Numbers of clusters that `auto` tries. */
  readonly kRange?: readonly number[]
  readonly out: string
  readonly adapter?: string
  readonly views: number
  readonly seed: number
  readonly cache: boolean
  /** Whether the report gets an image cloud. Default true. */
  readonly cloud?: boolean
  /** Puts the images into a folder per cluster too, or says what that would do. */
  readonly organize?: 'link' | 'copy'
  readonly dryRun?: boolean
  /** File for a trace of every dispatch. */
  readonly profile?: string
  readonly quiet: boolean
  readonly json: boolean
}

/** The settings of a run whose number of clusters is known. */
export type ChosenSettings = ClusterSettings & { readonly k: number }

/** Options of every command that uses a device. */
export function addCommonOptions(command: Command): Command {
  return command
    .option('--adapter <name>', 'lavapipe, swiftshader, or part of a GPU’s name')
    .option(
      '--json',
      'print one JSON value on standard output, everything else on the other',
      false,
    )
    .option('--quiet', 'print errors only', false)
}

/** Options of commands that sort images into clusters. */
export function addCountOptions(command: Command): Command {
  return command
    .requiredOption(
      '-k, --clusters <n>',
      'number of clusters, or auto to choose it from the features',
      countOrAuto(2, 10_000),
    )
    .option(
      '--k-range <range>',
      'what auto tries: 2..30, 2..60:4 or 2,5,10 (2 to √(n/2), at most 50)',
      numbersFrom(2),
    )
}

/** Options of what the images are, shared by `cluster` and `embed`. */
export function addDataOptions(command: Command): Command {
  const labels = new Option('--labels <kind>', 'which labels of CIFAR-100 count')
  return command
    .addOption(labels.choices(['fine', 'coarse']))
    .option('--synsets <list>', 'part of ImageNet: imagenet-10, imagenet-dogs, or a list file')
}

/** Option of commands that take a file of features and show pictures. */
export function addImagesOption(command: Command): Command {
  return command.option('--images <data>', 'pictures of a features.safetensors (beside it)')
}

/** Options of commands to which a head or a file of features names the model. */
export function addModelOverride(command: Command, whose: string): Command {
  return command
    .option('--model <name>', `a model’s name, or a path (${whose})`)
    .addOption(
      new Option('--dtype <dtype>', `of the encoder’s weights on the GPU (${whose})`).choices([
        'f32',
        'f16',
        'int8',
      ]),
    )
}

/** What `addDataOptions` parses. */
export interface DataSettings {
  /** Which labels of CIFAR-100 count. */
  readonly labels?: 'fine' | 'coarse'
  /** A part of ImageNet: its name, or the path of a list of synsets. */
  readonly synsets?: string
  /** Where the pictures of a file of features are. */
  readonly images?: string
}

/** Which encoder, and how its weights are kept. */
export interface ModelSettings {
  readonly model: string
  readonly dtype: WeightDtype
}

/**
 * Options of every command that embeds images.
 *
 * @param several whether it takes features of several encoders side by side
 */
export function addModelOptions(command: Command, several = false): Command {
  const both = several ? '; a+b: both, side by side' : ''
  return command
    .option(
      '--model <name>',
      `a model’s name (keeplight models), or a path${both}`,
      'keeplight-tiny',
    )
    .addOption(
      new Option('--dtype <dtype>', 'of the encoder’s weights on the GPU: 4, 2 or 1 byte each')
        .choices(['f32', 'f16', 'int8'])
        .default('f32'),
    )
}

/** Options of training, shared by `cluster` and `demo`. */
export function addTrainingOptions(command: Command): Command {
  addModelOptions(command, true)
    .option('--views <n>', 'augmented views of each image', integer(1, 64), 4)
    .option('--seed <n>', 'seed of every random draw', integer(0, 0xffffffff), 0)
    .option('--no-cache', 'neither read nor write the feature cache')
    .option('--no-cloud', 'leave the image cloud (t-SNE of the logits) out of the report')
  return addCheckpointOptions(addOnlineOptions(addMethodOptions(addRecipeOptions(command))))
}
