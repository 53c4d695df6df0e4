import { describe, expect, it } from 'vitest'
import { scpLossKernel } from '../../src/kernels/scpLoss.ts'
import { scpLossForm } from '../../src/runtime/ops/scpLoss.ts'
import type { Tensor } from '../../src/runtime/tensor.ts'
import { scpLoss, type ScpWeights } from '../reference/scpLoss.ts'
import { expectClose } from '../support/compare.ts'
import { useDevice } from '../support/device.ts'
import { runKernel } from '../support/kernels.ts'
import { randomArray } from '../support/random.ts'

const weights = { crossEntropy: 1, confidence: 1, entropy: 2 }
const form = { ...scpLossForm({}), runs: 1 }

describe('scpLoss', () => {
  const device = useDevice()

  const run = (
    logits: Float32Array,
    batch: number,
    clusters: number,
    own: ScpWeights = weights,
    runs = 1,
  ): Promise<Record<string, Float32Array>> =>
    runKernel(
      device(),
      scpLossKernel({ ring: false }),
      { logits: { data: logits as Float32Array<ArrayBuffer>, shape: [runs, 2 * batch, clusters] } },
      {
        terms: [4, runs],
        dLogits: [runs, 2 * batch, clusters],
        scratch: [runs, 5 * batch + 2 * clusters],
      },
      { batch, clusters, ...form, ...own, runs, steps: 1 },
    )

  it.each([
    [1, 2],
    [15, 15],
    [16, 16],
    [17, 17],
    [255, 10],
    [256, 3],
    [257, 33],
    [40, 100],
  ])('equals f64 loops: batch %i, %i clusters', async (batch, clusters) => {
    const logits = randomArray(2 * batch * clusters, 5, 4)
    const expected = scpLoss(logits, batch, clusters, weights)
    const { terms, dLogits } = await run(logits, batch, clusters)
    expectClose('terms', terms!, expected.terms, 1e-5)
    expectClose('dLogits', dLogits!, expected.gradient, 1e-4)
  })

  it.each(['crossEntropy', 'confidence', 'entropy'] as const)(
    'the gradient of %s alone equals finite differences',
    async (term) => {
      const [batch, clusters] = [5, 4]
      const own = { crossEntropy: 0, confidence: 0, entropy: 0, [term]: 1 }
      const logits = Float64Array.from(randomArray(2 * batch * clusters, 6, 2))
      const numeric = logits.map((value, i) => {
        const at = (z: number): number => {
          logits[i] = z
          const { terms } = scpLoss(logits, batch, clusters, own)
          logits[i] = value
          return terms[0]
        }
        return (at(value + 1e-5) - at(value - 1e-5)) / 2e-5
      })
      const { dLogits } = await run(Float32Array.from(logits), batch, clusters, own)
      expectClose(term, dLogits!, numeric, 1e-4)
    },
  )

  it.each([
    { symmetric: false },
    { symmetric: false, stopGradient: true },
    { stopGradient: true, entropyOver: 'mean' },
  ] as const)('equals f64 loops in other forms: %o', async (given) => {
    const [batch, clusters] = [19, 6]
    const logits = randomArray(2 * batch * clusters, 9, 4)
    const own = { ...weights, ...scpLossForm(given) }
    const expected = scpLoss(logits, batch, clusters, own)
    const { terms, dLogits } = await run(logits, batch, clusters, own)
    expectClose('terms', terms!, expected.terms, 1e-5)
    expectClose('dLogits', dLogits!, expected.gradient, 1e-4)
  })

  it('gives every run the bits of a run by itself', async () => {
    const [runs, batch, clusters] = [3, 21, 7]
    const size = 2 * batch * clusters
    const logits = randomArray(runs * size, 12, 4)
    const all = await run(logits, batch, clusters, weights, runs)
    for (let r = 0; r < runs; r++) {
      const one = await run(logits.slice(r * size, (r + 1) * size), batch, clusters)
      expect(all['dLogits']!.subarray(r * size, (r + 1) * size)).toEqual(one['dLogits'])
      const terms = one['terms']!.map((_, term) => all['terms']![term * runs + r]!)
      expect(terms).toEqual(one['terms'])
    }
  })

  /** Rows of two views, each sure of one cluster: both of the same, or of different ones. */
  const saturated = (size: number, batch: number, clusters: number, agree: boolean): Float32Array =>
    Float32Array.from({ length: 2 * batch * clusters }, (_, i) => {
      const row = Math.floor(i / clusters)
      const shift = row >= batch && !agree ? 1 : 0
      const own = ((row % batch) + shift) % clusters
      return (i % clusters === own ? size : -size) + randomArray(1, i)[0]!
    })

  it.each([
    [80, true],
    [80, false],
    [40, false],
    [1000, true],
  ])('equals f64 loops where all rows are saturated: ±%i, agreeing %s', async (size, agree) => {
    for (const [batch, clusters] of [
      [6, 3],
      // More clusters than rows: some have nothing in them at all.
      [3, 5],
    ] as const) {
      const logits = saturated(size, batch, clusters, agree)
      const expected = scpLoss(logits, batch, clusters, weights)
      const { terms, dLogits } = await run(logits, batch, clusters)
      expectClose('terms', terms!, expected.terms, 1e-5)
      // Where all is solved the gradient is 0 but for rounding: of the size of a gradient, not of that.
      const scale = Math.max(...expected.gradient.map(Math.abs), 1 / batch)
      dLogits!.forEach((value, i) => {
        expect(Math.abs(value - expected.gradient[i]!), `dLogits[${i}]`).toBeLessThan(1e-5 * scale)
      })
    }
  })

  it('stays finite when rows are saturated, agree or contradict', async () => {
    const logits = Float32Array.from([1e4, -1e4, 0, -1e4, 1e4, 0, 1e4, -1e4, 0, 1e4, -1e4, 0])
    const { terms, dLogits } = await run(logits, 2, 3)
    expect([...terms!, ...dLogits!].every(Number.isFinite)).toBe(true)
  })

  it('is ln K for each term at a uniform start', async () => {
    const { terms } = await run(new Float32Array(2 * 8 * 5).fill(0.25), 8, 5)
    expectClose('terms', terms!.subarray(1), [Math.log(5), Math.log(5), -2 * Math.log(5)], 1e-6)
  })

  it('brings a ring forward: trace, the row of the schedule, the number of steps', async () => {
    const [batch, clusters, steps] = [4, 3, 5]
    const logits = randomArray(2 * batch * clusters, 7, 3)
    const tensor = (data: Float32Array | Uint32Array, shape: number[]): Tensor =>
      device().tensor(data, shape)
    const schedule = randomArray(steps * 4, 8)
    const [step, trace, current] = [
      tensor(new Uint32Array([3, 77]), [2]),
      tensor(new Float32Array(steps * 5).fill(NaN), [steps, 5]),
      tensor(new Float32Array(4).fill(NaN), [1, 4]),
    ]
    const terms = tensor(new Float32Array(4), [4])
    device().dispatch(
      scpLossKernel({ ring: true }),
      {
        logits: tensor(logits, [2 * batch, clusters]),
        terms,
        dLogits: device().empty([2 * batch, clusters]),
        scratch: device().empty([5 * batch + 2 * clusters]),
        schedule: tensor(schedule, [steps, 4]),
        step,
        trace,
        current,
      },
      { batch, clusters, ...weights, ...form, steps },
    )
    const expected = new Float32Array(steps * 5).fill(NaN)
    expected.set(await terms.read(), 3 * 5)
    expected[3 * 5 + 4] = schedule[3 * 4 + 2]!
    expect(await trace.read()).toEqual(expected)
    expect(await current.read()).toEqual(schedule.slice(12, 16))
    expect([...(await step.read())]).toEqual([4, 77])
  })
})
