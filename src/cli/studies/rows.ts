import type { ZeroShotClassifier } from '../../index.node.ts'
import { KeeplightError } from '../../runtime/errors.ts'
import { runKmeans, runTraining, runZeroShot, type TrainSettings } from './methods.ts'
import type { StudyRow } from './session.ts'
import type { Cell, Run } from './store.ts'

/** Runs that are trained side by side at most: what the paper chooses the best of. */
const runsTogether = 50

/** k-means with 20 restarts. */
export function kmeansRow(name: string, seeds: readonly number[]): StudyRow {
  return {
    ...{ name, seeds, settings: { method: 'kmeans', restarts: 20 }, together: 1 },
    run: async (context, [seed]) => {
      const { result, seconds } = await timed(() => runKmeans(context, seed))
      return [cellOf(seed, [result], seconds)]
    },
  }
}

/**
 * SCP, or the method of the settings: of every `restarts` runs the one of lowest inertia is kept. Seed s
 * has the runs s·restarts … s·restarts + restarts − 1, what `cluster` with that many restarts does from
 * the first of them.
 */
export function trainedRow(
  name: string,
  seeds: readonly number[],
  restarts: number,
  settings: TrainSettings,
): StudyRow {
  return {
    ...{ name, seeds, settings: { restarts, ...settings, method: settings.method?.name ?? 'scp' } },
    together: Math.max(1, Math.floor(runsTogether / restarts)),
    run: async (context, some) => {
      const all = await timed(() => {
        return runTraining(context, some[0] * restarts, some.length * restarts, settings)
      })
      return some.map((seed) => {
        const own = all.result.filter((run) => Math.floor(run.seed / restarts) === seed)
        return cellOf(seed, own, all.seconds / some.length)
      })
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
      const { result, seconds } = await timed(async () =>
        runZeroShot(context, await classifierOf(context.data.classes)),
      )
      return [cellOf(0, [result], seconds)]
    },
  }
}

function cellOf(
  seed: number,
  runs: readonly Run[],
  seconds: number,
): Omit<Cell, 'dataset' | 'row'> {
  if (runs.length === 0) {
    throw new KeeplightError(
      'internal',
      `the loss of every run of seed ${seed} was no longer finite; lower the learning rate with --lr`,
    )
  }
  const kept = runs.reduce((best, { inertia }, i) => (inertia < runs[best].inertia ? i : best), 0)
  return { seed, runs, kept, seconds }
}

async function timed<T>(work: () => Promise<T>): Promise<{ result: T; seconds: number }> {
  const start = performance.now()
  const result = await work()
  return { result, seconds: (performance.now() - start) / 1000 }
}
