import type { Command } from 'commander'
import {
  cluster,
  createDevice,
  randomUniform,
  saveTuning,
  tune,
  type Device,
  type TunedProblem,
} from '../index.node.ts'
import type { Context } from './context.ts'
import { openModel } from './openModel.ts'
import { describeAdapter } from './runCluster.ts'
import { addCommonOptions, addModelOptions } from './settings.ts'
import type { ModelSettings } from './settings.ts'
import { tuneStore } from './tuning.ts'

interface TuneCommandOptions extends ModelSettings {
  readonly adapter?: string
  readonly clear: boolean
  readonly quiet: boolean
  readonly json: boolean
}

/** Adds `keeplight tune`. */
export function addTuneCommand(
  program: Command,
  context: (output: TuneCommandOptions) => Context,
): void {
  const command = program
    .command('tune')
    .summary('measure which kernels are fastest on this adapter, and keep the choice')
    .description(
      'Measures the kernels that can do the work of clustering on this adapter, checks that their ' +
        'results agree, and saves the fastest for later runs.',
    )
    .option('--clear', 'forget what was tuned for this adapter', false)
  addCommonOptions(addModelOptions(command))
  command
    .addHelpText(
      'after',
      `
Results change by rounding at most. What a run used is in its metrics.json; KEEPLIGHT_TUNE=off makes
a run ignore it.

Examples:
  $ keeplight tune
  $ keeplight tune --model ./clip-vit-base-patch32
  $ keeplight tune --clear`,
    )
    .action(async (options: TuneCommandOptions) => {
      const device = await createDevice({ adapter: options.adapter })
      try {
        await run(device, options, context(options))
      } finally {
        device.close()
      }
    })
}

async function run(
  device: Device,
  options: TuneCommandOptions,
  { terminal, signal }: Context,
): Promise<void> {
  const adapter = describeAdapter(device)
  if (options.clear) {
    await saveTuning(device, [], tuneStore())
    terminal.printJson({ adapter, problems: [] })
    terminal.print(`forgot what was tuned for ${adapter}`)
    return
  }
  const problems = await device.choices.noting(() => work(device, options, { terminal, signal }))
  const progress = terminal.progress('tuning', problems.length, 'problems')
  const results = await tune(device, problems, {
    signal,
    onProgress: (done, _, { family, key }) => progress.update(done, `${family} ${key}`),
  }).finally(() => progress.stop())
  await saveTuning(device, results, tuneStore())
  for (const { family, key, discarded } of results) {
    for (const { variant, reason } of discarded) {
      terminal.warn(`${family} ${key}: left out ${variant}: ${reason}`)
    }
  }
  terminal.printJson({ adapter, problems: results })
  terminal.print(tuneTable(results))
}

/** Images of a batch of the encoder, as `cluster` embeds them. */
const BATCH = 32
/** Images of the collection that a few training steps are run on. */
const IMAGES = 512

/** The work whose kernels are tuned: embedding, training, scoring. */
async function work(device: Device, settings: ModelSettings, context: Context): Promise<void> {
  const { signal } = context
  const model = await openModel(settings, device, context)
  await model.embedPixels(new Uint8Array(BATCH * model.preprocess.size ** 2 * 3))
  const { dimension } = model
  await model.dispose()
  const values = (count: number, stream: number): Float32Array =>
    Float32Array.from({ length: count }, (_, i) => randomUniform(0, stream, i) - 0.5)
  const features = {
    ...{ count: IMAGES, dimension, views: 1 },
    clean: values(IMAGES * dimension, 0),
    augmented: values(IMAGES * dimension, 1),
  }
  await cluster(features, { k: 10, device, restarts: 1, epochs: 1, minSteps: 1, signal })
}

/** What was found as lines of a table. */
export function tuneTable(results: readonly TunedProblem[]): string {
  const micro = (seconds: number): string => (seconds * 1e6).toFixed(1)
  const head = ['problem', 'by rule', 'µs', 'fastest', 'µs', 'gain']
  const rows = results.map(({ family, key, rule, best, ruleSeconds, bestSeconds }) => [
    `${family} ${key}`,
    rule,
    micro(ruleSeconds),
    best,
    micro(bestSeconds),
    `${(ruleSeconds / bestSeconds).toFixed(2)}×`,
  ])
  const table = [head, ...rows]
  const widths = head.map((_, column) => Math.max(...table.map((row) => row[column].length)))
  const isText = (column: number): boolean => [0, 1, 3].includes(column)
  return table
    .map((row) =>
      row
        .map((cell, i) => (isText(i) ? cell.padEnd(widths[i]) : cell.padStart(widths[i])))
        .join('  '),
    )
    .join('\n')
}
