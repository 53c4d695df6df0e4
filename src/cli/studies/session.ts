import { createHash } from 'node:crypto'
import { resolve } from 'node:path'
import type { Command } from 'commander'
import { createDevice, type Device, type VisionModel } from '../../index.node.ts'
import type { Context } from '../context.ts'
import { prepareOutput } from '../files.ts'
import type { MixedModel } from '../mixedModel.ts'
import { openEncoder } from '../openModel.ts'
import { integer, number } from '../options.ts'
import { addCommonOptions, addModelOptions, type ModelSettings } from '../settings.ts'
import { useTuning } from '../tuning.ts'
import { dataSpec, loadStudyData, type DataSpec, type StudyData } from './data.ts'
import type { MethodContext, TrainSettings } from './methods.ts'
import type { Cell, CellStore } from './store.ts'

/** What every study is given on the command line. */
export interface StudySettings extends ModelSettings {
  readonly data: readonly DataSpec[]
  readonly out: string
  readonly seeds: number
  readonly seed: number
  readonly views: number
  readonly alpha?: number
  readonly epochs?: number
  readonly minSteps?: number
  readonly batch?: number
  readonly lr?: number
  readonly cache: boolean
  readonly adapter?: string
  readonly quiet: boolean
  readonly json: boolean
}

/** Options of every study: data, encoder, training, and where the results go. */
export function addStudyOptions(command: Command, out: string, seeds: number): Command {
  command
    .requiredOption(
      '--data <name=path>',
      'a data set, may be repeated: NAME=PATH[,test=PATH][,labels=coarse][,synsets=LIST]',
      dataSpec,
    )
    .option('-o, --out <folder>', 'where the results go', out)
    .option('--seeds <n>', 'repetitions', integer(1, 1000), seeds)
    .option('--seed <n>', 'the first of them', integer(0, 0x7fffffff), 0)
    .option('--views <n>', 'augmented views of each image', integer(0, 64), 4)
    .option('--alpha <x>', 'weight of the entropy term (by k)', number(0, 1000))
    .option('--epochs <n>', 'passes over the images (30)', integer(1))
    .option('--min-steps <n>', 'training steps at least (600)', integer(1))
    .option('--batch <n>', 'images in a step (512, fewer for few images)', integer(2))
    .option('--lr <x>', 'initial learning rate (0.001)', number(0, 10))
    .option('--no-cache', 'neither read nor write the feature cache')
  return addCommonOptions(addModelOptions(command, true))
}

/** The settings of training among a study's. */
export function trainSettings(settings: StudySettings): TrainSettings {
  const { alpha, epochs, minSteps, batch, lr } = settings
  return { alpha, epochs, minSteps, batch, learningRate: lr }
}

/** A study under way: its data sets are embedded. */
export interface Session extends Context {
  readonly device: Device
  /** Of the features: one model, unless files of features come from several. */
  readonly modelName: string
  /** The encoder, where images were embedded. */
  readonly encoder: VisionModel | MixedModel | undefined
  readonly datasets: readonly StudyData[]
  readonly out: string
}

/** Opens what a study needs, runs it, and closes the device. */
export async function withSession<T>(
  settings: StudySettings,
  { terminal, signal }: Context,
  study: (session: Session) => Promise<T>,
): Promise<T> {
  const out = resolve(settings.out)
  await prepareOutput(out)
  const device = await createDevice({ adapter: settings.adapter })
  try {
    await useTuning(device, terminal)
    let encoder: VisionModel | MixedModel | undefined
    const context = { terminal, signal }
    const openOnce = async (): Promise<VisionModel | MixedModel> =>
      (encoder ??= await openEncoder(settings, device, context))
    const datasets: StudyData[] = []
    const models = new Set<string>()
    for (const spec of settings.data) {
      const loaded = await loadStudyData(spec, settings, device, openOnce, context)
      datasets.push(loaded.data)
      models.add(loaded.model)
    }
    const modelName = [...models].join(', ')
    return await study({ device, modelName, encoder, datasets, out, ...context })
  } finally {
    device.close()
  }
}

/** A row of a study's table: what is computed for each data set and seed. */
export interface StudyRow {
  readonly name: string
  /** All that its results depend on beside data and seed. */
  readonly settings: object
  readonly seeds: readonly number[]
  /** How many consecutive seeds go into one program. */
  readonly together: number
  run(context: MethodContext, seeds: readonly number[]): Promise<Omit<Cell, 'dataset' | 'row'>[]>
}

/** Computes what the store does not have yet, row by row, and gives the cells of all. */
export async function computeCells(
  { device, datasets, terminal, signal }: Session,
  rows: readonly StudyRow[],
  store: CellStore,
): Promise<Cell[]> {
  const cells: Cell[] = []
  for (const data of datasets) {
    for (const row of rows) {
      const keyOf = (seed: number): string => cellKey(data, row, seed)
      const missing = row.seeds.filter((seed) => !store.get(keyOf(seed)))
      const label = `${data.name}, ${row.name}`
      const progress = missing.length > 0 ? terminal.progress(label, 100, '%') : undefined
      try {
        let done = 0
        for (const seeds of consecutive(missing, row.together)) {
          const before = done
          const onProgress = (steps: number, all: number, detail: string): void => {
            const share = (before + (seeds.length * steps) / all) / missing.length
            progress?.update(Math.round(100 * share), detail)
          }
          const found = await row.run({ device, data, signal, onProgress }, seeds)
          await store.add(
            found.map((cell) => [keyOf(cell.seed), { ...cell, dataset: data.name, row: row.name }]),
          )
          done += seeds.length
        }
      } finally {
        progress?.stop()
      }
      cells.push(...row.seeds.map((seed) => store.get(keyOf(seed))!))
    }
  }
  return cells
}

/** Runs of consecutive numbers, of `most` at most. */
export function consecutive(seeds: readonly number[], most: number): number[][] {
  const parts: number[][] = []
  for (const seed of seeds) {
    const part = parts.at(-1)
    if (part && part.length < most && part.at(-1) === seed - 1) part.push(seed)
    else parts.push([seed])
  }
  return parts
}

function cellKey({ name, fingerprint }: StudyData, row: StudyRow, seed: number): string {
  const all = JSON.stringify([fingerprint, row.settings])
  const hash = createHash('sha256').update(all).digest('hex').slice(0, 12)
  return `${name}/${row.name}/${seed}/${hash}`
}

/** Seeds of a study's repetitions. */
export const seedsOf = ({ seed, seeds }: StudySettings): number[] =>
  Array.from({ length: seeds }, (_, i) => seed + i)
