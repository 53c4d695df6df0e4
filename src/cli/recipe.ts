import { type Command, InvalidArgumentError, Option } from 'commander'
import type { Preset, ScpSettings } from '../index.node.ts'
import { integer, number } from './options.ts'

/** What `addRecipeOptions` parses: every choice of the training; absent where the preset decides. */
export interface RecipeSettings {
  readonly preset: Preset
  readonly noise?: number
  readonly pairs?: number
  readonly restarts?: number
  readonly alpha?: number
  readonly ceWeight?: number
  readonly confidenceWeight?: number
  readonly ceOneSided?: true
  readonly stopGradient?: true
  readonly entropyMean?: true
  readonly epochs?: number
  readonly minSteps?: number
  readonly batch?: number
  readonly keepLast?: true
  readonly lr?: number
  readonly lrEnd?: number
  readonly beta1?: number
  readonly beta2?: number
  readonly hidden?: readonly number[]
  readonly activation?: ScpSettings['activation']
  readonly norm?: ScpSettings['norm']
  readonly normViewsApart?: true
  readonly dropout?: number
  readonly init?: ScpSettings['initialization']
  /** False with `--no-normalize`. */
  readonly normalize: boolean
}

/** A parser for commander: whole numbers above 0, with commas between. */
function widths(text: string): number[] {
  const list = text.split(',').map(Number)
  if (list.every((width) => Number.isInteger(width) && width > 0)) return list
  throw new InvalidArgumentError('Expected whole numbers above 0 with commas between.')
}

/** Options of the training, in groups of their own. */
export function addRecipeOptions(command: Command): Command {
  const groups: Readonly<Record<string, readonly Option[]>> = {
    'Training:': [
      new Option('--preset <name>', 'keeplight, or the paper’s: --noise 0 --pairs 0 --restarts 1')
        .choices(['keeplight', 'paper'])
        .default('keeplight'),
      numeric(
        '--restarts <n>',
        'runs side by side; the one of lowest inertia is kept (8)',
        integer(1, 1000),
      ),
      numeric('--epochs <n>', 'passes over the images (30)', integer(1)),
      numeric('--min-steps <n>', 'training steps at least (600)', integer(1)),
      numeric('--batch <n>', 'images in a step (512, fewer for few images)', integer(2)),
      new Option('--keep-last', 'fill an epoch’s last batch up instead of leaving it out'),
    ],
    'Features:': [
      numeric('--noise <x>', 'Gaussian noise on features, in their deviations (2)', number(0, 100)),
      numeric(
        '--pairs <n>',
        'pair views of an image’s n nearest; 0: of itself (10)',
        integer(0, 1000),
      ),
      new Option('--no-normalize', 'leave the features’ lengths as they are'),
    ],
    'Loss:': [
      numeric('--alpha <x>', 'weight of the entropy term (by k: 2, 3 or 5)', number(0, 1000)),
      numeric('--ce-weight <x>', 'weight of the cross-entropy (1)', number(0, 1000)),
      numeric('--confidence-weight <x>', 'weight of the confidence (1)', number(0, 1000)),
      new Option('--ce-one-sided', 'cross-entropy of the second view by the first alone'),
      new Option('--stop-gradient', 'no gradient through the cross-entropy’s targets'),
      new Option('--entropy-mean', 'mean of the views’ entropies, not their sum'),
    ],
    'Head:': [
      numeric('--hidden <list>', 'widths of the hidden layers (the features’, four times)', widths),
      new Option('--activation <name>', 'of the hidden layers (relu)').choices([
        'relu',
        'gelu',
        'quickGelu',
        'silu',
      ]),
      new Option('--norm <name>', 'of the hidden layers (batch)').choices([
        'batch',
        'layer',
        'none',
      ]),
      new Option('--norm-views-apart', 'BatchNorm over each view’s rows by themselves'),
      numeric('--dropout <x>', 'share of hidden units dropped (0)', number(0, 0.99)),
      new Option('--init <name>', 'initial weights (pytorch)').choices([
        'pytorch',
        'truncated-normal',
      ]),
    ],
    'Optimiser:': [
      numeric('--lr <x>', 'initial learning rate (0.001)', number(0, 10)),
      numeric('--lr-end <x>', 'where the cosine ends (0)', number(0, 10)),
      numeric('--beta1 <x>', 'Adam’s β₁ (0.9)', number(0, 0.999999)),
      numeric('--beta2 <x>', 'Adam’s β₂ (0.999)', number(0, 0.999999)),
    ],
  }
  for (const [heading, options] of Object.entries(groups)) {
    options.forEach((option) => command.addOption(option.helpGroup(heading)))
  }
  return command
}

const numeric = <T>(flags: string, description: string, parse: (text: string) => T): Option =>
  new Option(flags, description).argParser(parse)

/** The options as `cluster()` takes them; only what was given. */
export function scpOptionsOf(recipe: RecipeSettings): Partial<ScpSettings> {
  const { noise, pairs, restarts, alpha, epochs, minSteps, batch, hidden, activation } = recipe
  const { norm, dropout, beta1, beta2 } = recipe
  const options: Record<string, unknown> = {
    ...{ noise, pairs, restarts, alpha, epochs, minSteps, batch, hidden, activation },
    ...{ norm, dropout, beta1, beta2 },
    crossEntropyWeight: recipe.ceWeight,
    confidenceWeight: recipe.confidenceWeight,
    symmetric: recipe.ceOneSided && false,
    stopGradient: recipe.stopGradient,
    entropyOver: recipe.entropyMean && 'mean',
    dropLast: recipe.keepLast && false,
    learningRate: recipe.lr,
    finalLearningRate: recipe.lrEnd,
    normViews: recipe.normViewsApart && 'apart',
    initialization: recipe.init,
    normalize: recipe.normalize ? undefined : false,
  }
  const given = Object.entries(options).filter(([, value]) => value !== undefined)
  return Object.fromEntries(given) as Partial<ScpSettings>
}
