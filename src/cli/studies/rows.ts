import type { ZeroShotClassifier } from '../../index.node.ts'
import {
  runKmeans,
  runScp,
  runZeroShot,
  type MethodContext,
  type TrainSettings,
} from './methods.ts'
import type { StudyRow } from './session.ts'
import type { Cell, Run } from './store.ts'

/** Runs that are trained side by side at most: what the paper chooses the best of. */
const runsTogether = 50

/** k-means with 20 restarts. */
export function kmeansRow(name: string, seeds: readonly number[]): StudyRow {
  return {
    ...{ name, seeds, settings: { method: 'kmeans', restarts: 20 }, together: 1 },
    run: async (context, [seed]) => {
      const [run, seconds] = await timed(() => runKmeans(context, seed))
      return [cellOf(seed, [run], seconds)]
    },
  }
}

/** SCP: of every `restarts` runs the one of lowest inertia is kept. */
export function scpRow(
  name: string,
  seeds: readonly number[],
  restarts: number,
  settings: TrainSettings,
): StudyRow {
  return trainedRow('scp', name, seeds, restarts, settings, runScp)
}

/** A row of a method that trains; seed s has runs s·restarts … s·restarts + restarts − 1. */
function trainedRow<S extends object>(
  method: string,
  name: string,
  seeds: readonly number[],
  restarts: number,
  settings: S,
  train: (context: MethodContext, seeds: readonly number[], settings: S) => Promise<Run[]>,
): StudyRow {
  return {
    ...{ name, seeds, settings: { method, restarts, ...settings } },
    together: Math.max(1, Math.floor(runsTogether / restarts)),
    run: async (context, some) => {
      const all = some.flatMap((seed) =>
        Array.from({ length: restarts }, (_, i) => seed * restarts + i),
      )
      const [runs, seconds] = await timed(() => train(context, all, settings))
      return some.map((seed, i) =>
        cellOf(seed, runs.slice(i * restarts, (i + 1) * restarts), seconds / some.length),
      )
    },
  }
}

/** CLIP by the names of the classes; it has no seeds. */
export function zeroShotRow(
  name: string,
  settings: object,
  classifierOf: (classes: readonly string[]) => Promise<ZeroShotClassifier>,
): StudyRow {
  return {
    ...{ name, seeds: [0], settings: { method: 'zero-shot', ...settings }, together: 1 },
    run: async (context) => {
      const [run, seconds] = await timed(async () =>
        runZeroShot(context, await classifierOf(context.data.classes)),
      )
      return [cellOf(0, [run], seconds)]
    },
  }
}

function cellOf(
  seed: number,
  runs: readonly Run[],
  seconds: number,
): Omit<Cell, 'dataset' | 'row'> {
  const kept = runs.reduce((best, { inertia }, i) => (inertia < runs[best].inertia ? i : best), 0)
  return { seed, runs, kept, seconds }
}

async function timed<T>(work: () => Promise<T>): Promise<[T, number]> {
  const start = performance.now()
  const result = await work()
  return [result, (performance.now() - start) / 1000]
}
