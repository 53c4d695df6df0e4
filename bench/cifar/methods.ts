import type { StudyData } from '../../src/cli/studies/data.ts'
import { runKmeans, runTraining, type TrainSettings } from '../../src/cli/studies/methods.ts'
import type { Run } from '../../src/cli/studies/store.ts'
import { temi, type Device, type Preset } from '../../src/index.node.ts'
import { printProgress } from './progress.ts'

/** Larger collections are scored on the test images, as the reference is. */
const MAX_SELF_SCORED = 3000

export const scoredOnTest = (count: number): boolean => count > MAX_SELF_SCORED

export const methods = ['kmeans', 'scp', 'temi'] as const
export type Method = (typeof methods)[number]

export interface MethodRuns {
  readonly runs: readonly Run[]
  /** Of all runs divided by their number: those of SCP and TEMI train side by side. */
  readonly secondsPerRun: number
}

export interface MethodOptions {
  readonly seeds: number
  /** Runs of SCP for each seed. */
  readonly restarts: number
  readonly preset: Preset
  readonly temiHeads: number
  readonly minSteps: number | undefined
}

/** All runs of a method; SCP's seed s has the runs s·restarts … s·restarts + restarts − 1. */
export async function runMethod(
  method: Method,
  device: Device,
  data: StudyData,
  options: MethodOptions,
): Promise<MethodRuns> {
  const start = performance.now()
  const runs = await allRuns(method, device, data, options)
  return { runs, secondsPerRun: (performance.now() - start) / 1000 / runs.length }
}

async function allRuns(
  method: Method,
  device: Device,
  data: StudyData,
  { seeds, restarts, preset, temiHeads, minSteps }: MethodOptions,
): Promise<Run[]> {
  const what = `${method} at n = ${data.labels.length}`
  if (method === 'kmeans') {
    const runs: Run[] = []
    for (let seed = 0; seed < seeds; seed++) {
      runs.push(await runKmeans({ device, data }, seed))
      printProgress(what, seed + 1, seeds)
    }
    return runs
  }
  const onProgress = (done: number, all: number): void => {
    printProgress(`${what}, steps of all runs`, done, all)
  }
  const train = (count: number, settings: TrainSettings): Promise<Run[]> =>
    runTraining({ device, data, onProgress }, 0, count, { minSteps, ...settings })
  return method === 'scp'
    ? train(seeds * restarts, { preset })
    : train(seeds, temi({ heads: temiHeads }))
}
