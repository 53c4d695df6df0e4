import { describe, expect, it } from 'vitest'
import { normalizeRows } from '../../src/model/features.ts'
import type { HeadWeights } from '../../src/model/mlpHead.ts'
import { backward } from '../../src/runtime/tape.ts'
import { cluster } from '../../src/train/cluster.ts'
import { loadHead, serializeHead } from '../../src/train/headFile.ts'
import { clusteringAccuracy } from '../../src/train/metrics.ts'
import { predictClusters } from '../../src/train/predict.ts'
import { temi, type TemiAdapter } from '../../src/train/temiAdapter.ts'
import { activations } from '../reference/activations.ts'
import { temiLoss } from '../reference/temiLoss.ts'
import { blobs } from '../support/blobs.ts'
import { expectClose, hashBits } from '../support/compare.ts'
import { useDevice } from '../support/device.ts'
import { errorOf } from '../support/errorOf.ts'
import { randomArray } from '../support/random.ts'

const [D, HIDDEN, BOTTLENECK, K] = [6, 8, 5, 3]
const SMALL = { heads: 2, hidden: HIDDEN, bottleneck: BOTTLENECK }

type Arrays = ReadonlyMap<string, ArrayLike<number>>

/** x·Wᵀ + b for rows of x, in f64. */
const linear = (
  x: readonly number[][],
  weight: ArrayLike<number>,
  width: number,
  bias?: ArrayLike<number>,
): number[][] =>
  x.map((row) =>
    Array.from({ length: width }, (_, out) =>
      row.reduce((sum, v, i) => sum + v * weight[out * row.length + i]!, bias?.[out] ?? 0),
    ),
  )

const normalized = (row: readonly number[]): number[] => {
  const length = Math.hypot(...row)
  return row.map((value) => value / length)
}

/** Logits of one of TEMI's heads, before the temperature, by plain loops in f64. */
function headLogits(x: readonly number[][], weights: Arrays): number[][] {
  const of = (name: string): ArrayLike<number> => weights.get(name)!
  const inner = linear(x, of('mlp.0.weight'), HIDDEN, of('mlp.0.bias'))
  const hidden = inner.map((row) => row.map(activations.gelu))
  const z = linear(hidden, of('mlp.2.weight'), BOTTLENECK, of('mlp.2.bias')).map(normalized)
  const v = Array.from(of('last_layer.weight_v'))
  const rows = Array.from({ length: K }, (_, k) =>
    normalized(v.slice(k * BOTTLENECK, (k + 1) * BOTTLENECK)).map(
      (value) => value * of('last_layer.weight_g')[k]!,
    ),
  )
  return linear(z, rows.flat(), K)
}

const toRows = (data: ArrayLike<number>, columns: number): number[][] =>
  Array.from({ length: data.length / columns }, (_, i) =>
    Array.from({ length: columns }, (_, c) => data[i * columns + c]!),
  )

const normalizedRows = (data: Float32Array<ArrayBuffer>): Float32Array<ArrayBuffer> => {
  normalizeRows(data, D)
  return data
}

const arraysOf = (weights: HeadWeights): Arrays =>
  new Map(Array.from(weights, ([name, { data }]) => [name, data]))

describe('the adapter of TEMI', () => {
  const device = useDevice()

  const make = (runs: number): TemiAdapter => {
    const { maker } = temi(SMALL).method
    return maker(device(), { runs, dimension: D, outputs: K }) as TemiAdapter
  }

  it('predicts by the head of each run whose loss is lowest, as f64 loops do from its weights', async () => {
    const adapter = make(3)
    adapter.initialize([4, 5, 6])
    adapter.state.get('losses')!.write(Float32Array.of(-1, -2, -4, -3, -5, -5))
    const data = normalizedRows(randomArray(4 * D, 1))
    const logits = await adapter.logits(device().tensor(data, [4, D])).read()
    for (const run of [0, 1, 2]) {
      const weights = await adapter.read(run)
      const [chosen] = [[1], [0], [0]][run]!
      const whole = (await adapter.heads.read(run, chosen!)).get('mlp.0.weight')!.data
      expect(weights.get('mlp.0.weight')!.data).toEqual(whole)
      const expected = headLogits(toRows(data, D), arraysOf(weights)).flat()
      const own = logits.slice(run * 4 * K, (run + 1) * 4 * K)
      expectClose(
        `run ${run}`,
        own,
        expected.map((z) => z / 0.1),
        1e-5,
      )
      // A file's weights alone give the same.
      const about = { model: 'tiny', modelHash: 'ab', method: 'temi', settings: {} }
      const head = loadHead(serializeHead(weights, about))
      const features = { count: 4, dimension: D, data: normalizedRows(data) }
      const alone = await predictClusters(device(), head, features)
      expectClose('by a file', alone.logits, own, 1e-6)
    }
    adapter.dispose()
  })

  it('has the loss of f64 loops and the gradients of their finite differences', async () => {
    const [runs, B] = [2, 3]
    const adapter = make(runs)
    adapter.initialize([1, 2])
    const { parameters, heads } = adapter
    // Weights of some size, so that no gradient vanishes; the teacher stays where it began.
    const values = new Map<string, Float32Array>()
    for (const [i, [name, { size }]] of [...parameters.tensors].entries()) {
      values.set(name, randomArray(size, 10 + i, 0.8))
    }
    parameters.write(values)
    const data = randomArray(runs * 2 * B * D, 3)
    const step = device().tensor(new Uint32Array(2 * runs), [runs, 2])
    const batch = {
      features: device().tensor(data, [runs, 2 * B, D]),
      images: device().tensor(new Uint32Array(runs * 2 * B), [runs, 2 * B]),
      step,
    }
    const teachers: Arrays[] = []
    for (let head = 0; head < runs * 2; head++) {
      teachers.push(arraysOf(await heads.read(Math.floor(head / 2), head % 2)))
    }
    const logitsOf = (weights: (head: number) => Arrays): number[] =>
      Array.from({ length: runs * 2 }, (_, head) => {
        const run = Math.floor(head / 2)
        const x = toRows(data.subarray(run * 2 * B * D, (run + 1) * 2 * B * D), D)
        return headLogits(x, weights(head)).flat()
      }).flat()
    const teacher = logitsOf((head) => teachers[head]!)
    const total = (moved: Arrays): number[] => {
      const student = logitsOf((head) => {
        return new Map(
          Array.from(moved, ([name, all]) => {
            const size = all.length / (2 * runs)
            return [name, Array.from(all).slice(head * size, (head + 1) * size)]
          }),
        )
      })
      const sizes = { heads: 2 * runs, perRun: 2, batch: B, clusters: K }
      const constants = { temperature: 0.1, teacherTemperature: 0.1, beta: 0.6, momentum: 0.9 }
      const before = new Float64Array(2 * runs * K).fill(1 / K)
      const { losses } = temiLoss(student, teacher, before, sizes, constants)
      return [0, 1].map((run) => (losses[2 * run]! + losses[2 * run + 1]!) / 2)
    }
    const loss = adapter.loss(batch)
    expectClose('loss', await loss.total.read(), total(values), 1e-5)
    backward(loss.total, parameters.list(), runs)
    const gradients = await parameters.read('gradients')
    for (const [name, gradient] of gradients) {
      const direction = randomArray(gradient.length, 40)
      const at = (size: number): number => {
        const moved = Float64Array.from(values.get(name)!, (w, i) => w + size * direction[i]!)
        return total(new Map<string, ArrayLike<number>>([...values, [name, moved]])).reduce(
          (a, b) => a + b,
        )
      }
      const numeric = (at(1e-5) - at(-1e-5)) / 2e-5
      const actual = gradient.reduce((sum, g, i) => sum + g * direction[i]!, 0)
      const length = Math.hypot(...gradient)
      expect(length, name).toBeGreaterThan(1e-4)
      expect(Math.abs(actual - numeric), name).toBeLessThan(2e-4 * length)
    }
    adapter.dispose()
  })

  it('moves the teacher by 1 − 0.996 of the way to the student', async () => {
    const adapter = make(1)
    adapter.initialize([3])
    const before = await adapter.heads.read(0, 1)
    const { size, shape } = adapter.parameters.values
    const moved = randomArray(size, 5)
    adapter.parameters.values.write(moved)
    const student = adapter.parameters.unpack(moved)
    adapter.afterStep()
    expect(shape).toEqual([size])
    for (const [name, { data }] of await adapter.heads.read(0, 1)) {
      const own = student.get(name)!.slice(data.length, 2 * data.length)
      const expected = before.get(name)!.data.map((w, i) => w + 0.004 * (own[i]! - w))
      expectClose(name, data, expected, 1e-6)
    }
    adapter.dispose()
  })

  const run = (more: object) => {
    const { features, labels } = blobs({ clusters: K, each: 20, dimension: 8, seed: 1 })
    const method = temi({
      ...SMALL,
      heads: 4,
      learningRate: 0.1,
      warmup: 0.1,
      teacherMomentum: 0.9,
    })
    const options = { ...method, pairs: 5, epochs: 1, minSteps: 100, batch: 30, restarts: 2 }
    return cluster(features, { k: K, device: device(), seed: 7, ...options, ...more }).then(
      (result) => ({ ...result, labels }),
    )
  }

  const bits = (head: HeadWeights): string =>
    [...head.values()].map(({ data }) => hashBits(data)).join(' ')

  it('clusters, the same for a run alone as beside another, and resumed from a checkpoint', async () => {
    const checkpoints: Uint8Array[] = []
    const both = await run({
      snapshotEvery: 25,
      onCheckpoint: (bytes: Uint8Array) => void checkpoints.push(bytes),
    })
    expect(both.method).toBe('temi')
    expect(clusteringAccuracy(both.assignments, both.labels)).toBe(1)
    const resumed = await run({ resume: checkpoints[0] })
    expect(bits(resumed.head)).toBe(bits(both.head))
    const alone = await run({ restarts: 1, seed: 7 + both.kept })
    expect(bits(alone.head)).toBe(bits(both.head))
    expect(alone.inertia).toBe(both.inertia)
  })

  it('names options that make no sense', () => {
    expect(errorOf(() => temi({ heads: 0 })).message).toMatch(/temi: heads is 0, expected a whole/)
    expect(errorOf(() => temi({ warmup: 1 })).message).toMatch(/warmup is 1, expected from 0/)
    expect(errorOf(() => temi({ decay: -1 })).message).toMatch(/decay is -1, expected 0 or more/)
  })
})
