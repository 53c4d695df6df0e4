import { type Command, InvalidArgumentError, Option } from 'commander'
import type { Context } from '../context.ts'
import { integer, number } from '../options.ts'
import { runAblation } from './ablation.ts'
import { runAlpha } from './alpha.ts'
import { runLogits } from './logits.ts'
import type { StudyFiles } from './output.ts'
import { runTsneStudy } from './tsneStudy.ts'
import { addStudyOptions, type StudySettings } from './session.ts'

export interface PresetSettings extends StudySettings {
  readonly preset: 'paper' | 'keeplight'
}

export interface AlphaSettings extends PresetSettings {
  readonly alphas: readonly number[]
}

export interface LogitsSettings extends PresetSettings {
  readonly snapshots: number
  readonly images: number
}

export interface TsneSettings extends PresetSettings {
  readonly images: number
  readonly perplexity?: number
}

type MakeContext = (output: Pick<StudySettings, 'json' | 'quiet'>) => Context

/** Adds `keeplight study` with a command for each of the paper's studies. */
export function addStudyCommand(program: Command, context: MakeContext): void {
  const study = program
    .command('study')
    .summary('the paper’s studies: ablation, alpha, logits, tsne')
    .description(
      'The paper’s studies on labelled data sets: tables, plots and the numbers behind them.',
    )
  const add = <S extends PresetSettings>(
    name: string,
    summary: string,
    seeds: number,
    run: (settings: S, context: Context) => Promise<StudyFiles>,
  ): Command => {
    const command = addStudyOptions(
      study.command(name).summary(summary).description(`${summary}.`),
      `keeplight-${name}`,
      seeds,
    ).addOption(
      new Option('--preset <name>', 'SCP as published, or with this program’s noise and pairs')
        .choices(['paper', 'keeplight'])
        .default('paper'),
    )
    return command.action(async (settings: S) => {
      const { terminal, signal } = context(settings)
      const files = await run(settings, { terminal, signal })
      terminal.print(`report: ${files.html}`)
    })
  }
  add('ablation', 'SCP with every subset of its loss’s terms (Table 4)', 5, runAblation)
  add('alpha', 'SCP over values of α, the weight of the entropy (Fig. 5)', 5, runAlpha).option(
    '--alphas <list>',
    'values between commas',
    parseAlphas,
    [0.1, 0.2, 0.5, 1, 2, 5, 10],
  )
  add(
    'logits',
    'what SCP’s head says of some images while it trains, animated (Fig. 2)',
    1,
    runLogits,
  )
    .option('--snapshots <n>', 'how often', integer(2, 200), 24)
    .option('--images <n>', 'images in all, of each class as many', integer(1, 2000), 60)
  add('tsne', 'features and SCP’s logits in the plane by t-SNE (Figs. 3 and 4)', 1, runTsneStudy)
    .option('--images <n>', 'images in all, of each class as many', integer(3, 40_000), 2000)
    .option('--perplexity <x>', 'neighbours that count (30, fewer of few images)', number(1, 64))
}

function parseAlphas(text: string): number[] {
  const alphas = text.split(',').map(number(0, 1000))
  if (alphas.some((alpha) => alpha === 0)) {
    throw new InvalidArgumentError('Expected numbers above 0: the axis is logarithmic.')
  }
  return [...new Set(alphas)]
}
