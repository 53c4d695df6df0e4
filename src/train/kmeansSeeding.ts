import {
  SEED_BLOCK,
  seedChooseKernel,
  seedDrawKernel,
  seedGroups,
  seedPotentialKernel,
  seedRowKernel,
  seedWeightsKernel,
} from '../kernels/kmeans.ts'
import type { KernelVariant } from '../kernels/kernel.ts'
import { centreSplits } from '../kernels/nearestCentre.ts'
import { randomUniform } from '../kernels/random.ts'
import type { Device } from '../runtime/device.ts'
import { nearestCentre, type Nearest } from '../runtime/ops/distance.ts'
import { scope, type Tensor } from '../runtime/tensor.ts'

/** Consecutive rows of the data; every chunk but the last holds whole blocks of {@link SEED_BLOCK}. */
export interface Chunk {
  readonly start: number
  readonly rows: number
  /** [rows, D] */
  readonly x: Tensor<'f32'>
}

export interface SeedSettings {
  /** N, rows of the data. */
  readonly count: number
  readonly dimension: number
  readonly k: number
  readonly restarts: number
  readonly seed: number
  /** @internal */
  readonly variant?: KernelVariant
}

/** Candidates for each centre, scikit-learn's number. */
export const seedTrials = (k: number): number => 2 + Math.floor(Math.log(k))

/**
 * First centres by greedy k-means++, all restarts at once on the GPU; see `seedWeightsKernel`. Draws
 * are words of the streams (seed, restart), so a seed gives the same centres whatever the chunks are
 * cut to, up to the rounding of sums.
 *
 * @returns [restarts·k, D]
 */
export function seedCentres(
  device: Device,
  data: Float32Array,
  chunks: readonly Chunk[],
  { count, dimension, k, restarts, seed, variant = device.kernelVariant }: SeedSettings,
): Tensor<'f32'> {
  const trials = seedTrials(k)
  const blocks = Math.ceil(count / SEED_BLOCK)
  const groups = chunks.reduce((sum, { rows }) => sum + seedGroups(variant, rows), 0)
  const splits = centreSplits(variant, restarts, trials)
  const firsts = Array.from({ length: restarts }, (_, run) => {
    const row = Math.floor(randomUniform(seed, run, 0) * count)
    return data.subarray(row * dimension, (row + 1) * dimension)
  })
  return scope(() => {
    const initial = new Float32Array(restarts * k * dimension)
    firsts.forEach((row, run) => initial.set(row, run * k * dimension))
    const centres = device.tensor(initial, [restarts * k, dimension])
    const chosen = device.tensor(joined(firsts, dimension), [restarts, dimension])
    const weights = device.empty([restarts, blocks])
    const block = device.empty([restarts, trials], 'u32')
    const rest = device.empty([restarts, trials])
    const candidates = device.empty([restarts * trials, dimension])
    const potentials = device.empty([restarts * trials, groups])
    let found: Nearest[] = []
    for (let centre = 1; centre < k; centre++) {
      const first = centre - 1
      found = chunks.map(({ x }, i) => {
        const from = first > 0 ? { from: { ...found[i]!, first } } : {}
        return nearestCentre(x, chosen, { restarts, variant, ...from })
      })
      chunks.forEach(({ start, rows }, i) => {
        device.dispatch(
          seedWeightsKernel,
          { squared: found[i]!.squared, weights },
          { rows, restarts, firstBlock: start / SEED_BLOCK, blocks },
        )
      })
      const drawn = 1 + first * trials
      const draw = { weights, block, rest }
      device.dispatch(seedDrawKernel, draw, { restarts, trials, blocks, seed, drawn })
      chunks.forEach(({ start, rows, x }, i) => {
        device.dispatch(
          seedRowKernel,
          { x, squared: found[i]!.squared, block, rest, candidates },
          { rows, dimension, restarts, trials, firstBlock: start / SEED_BLOCK },
        )
      })
      let firstGroup = 0
      chunks.forEach(({ rows, x }, i) => {
        device.dispatch(
          seedPotentialKernel({ variant }),
          { x, y: candidates, squared: found[i]!.squared, potentials },
          { rows, dimension, restarts, trials, firstGroup, groups, splits },
        )
        firstGroup += seedGroups(variant, rows)
      })
      device.dispatch(
        seedChooseKernel,
        { potentials, candidates, centres, chosen },
        { restarts, trials, groups, dimension, k, centre },
      )
      // A submit a round keeps each of them short.
      device.flush()
    }
    return centres
  })
}

function joined(rows: readonly Float32Array[], dimension: number): Float32Array<ArrayBuffer> {
  const all = new Float32Array(rows.length * dimension)
  rows.forEach((row, i) => all.set(row, i * dimension))
  return all
}
