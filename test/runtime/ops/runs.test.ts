import { describe, expect, it } from 'vitest'
import { initializeKernel } from '../../../src/kernels/initialize.ts'
import { philox, randomNormal, randomUniform } from '../../../src/kernels/random.ts'
import { affineRuns } from '../../../src/runtime/ops/affineRuns.ts'
import { batchNormEval, batchNormTrain } from '../../../src/runtime/ops/batchNorm.ts'
import { dropout } from '../../../src/runtime/ops/dropout.ts'
import { linearRuns } from '../../../src/runtime/ops/linearRuns.ts'
import { backward } from '../../../src/runtime/tape.ts'
import { sum } from '../../../src/runtime/ops/reduce.ts'
import { multiply } from '../../../src/runtime/ops/elementwise.ts'
import type { Tensor } from '../../../src/runtime/tensor.ts'
import { useDevice } from '../../support/device.ts'
import { gradcheck } from '../../support/gradcheck.ts'
import { randomArray } from '../../support/random.ts'

/** Ops of R runs side by side: each run's bits are those of a run by itself. */

const RUNS = 3

interface Operand {
  readonly data: Float32Array<ArrayBuffer>
  /** Of one run. */
  readonly shape: readonly number[]
}

describe('ops of runs side by side', () => {
  const device = useDevice()

  /** Result and gradients of Σ out·cotangent for the runs named, as arrays of one run each. */
  async function results(
    operands: Readonly<Record<string, Operand>>,
    op: (inputs: Record<string, Tensor<'f32'>>) => Tensor<'f32'>,
    runs: readonly number[],
  ): Promise<Float32Array[]> {
    const leaves: Record<string, Tensor<'f32'>> = {}
    for (const [name, { data, shape }] of Object.entries(operands)) {
      const size = data.length / RUNS
      const own = runs.flatMap((run) => [...data.subarray(run * size, (run + 1) * size)])
      leaves[name] = device().tensor(Float32Array.from(own), [runs.length, ...shape])
      leaves[name].requiresGrad = name !== 'running'
    }
    const out = op(leaves)
    const size = out.size / runs.length
    const cotangent = runs.flatMap((run) => [...randomArray(size, 50 + run)])
    const weighted = multiply(out, device().tensor(Float32Array.from(cotangent), out.shape))
    const trained = Object.values(leaves).filter(({ requiresGrad }) => requiresGrad)
    const gradients = backward(sum(weighted), trained)
    const tensors = [out, ...gradients, ...(leaves['running'] ? [leaves['running']] : [])]
    const all = await Promise.all(tensors.map((tensor) => tensor.read()))
    return runs.flatMap((_, r) =>
      all.map((data) => {
        const each = data.length / runs.length
        return data.slice(r * each, (r + 1) * each)
      }),
    )
  }

  const operand = (seed: number, ...shape: number[]): Operand => ({
    data: randomArray(RUNS * shape.reduce((a, b) => a * b), seed, 2),
    shape,
  })

  const norm = (rows: number, columns: number): Readonly<Record<string, Operand>> => ({
    x: operand(1, rows, columns),
    weight: operand(2, columns),
    bias: operand(3, columns),
    running: {
      data: operand(4, 2, columns).data.map((value) => 1 + value * value),
      shape: [2, columns],
    },
  })
  const linear = (rows: number, inner: number, outer: number) => ({
    x: operand(1, rows, inner),
    weight: operand(2, outer, inner),
    bias: operand(3, outer),
  })

  it.each([
    ['linearRuns', linear(10, 12, 5)],
    ['linearRuns', linear(70, 8, 33)],
    ['batchNormTrain', norm(6, 8)],
    ['batchNormTrain', norm(9, 7)],
    ['batchNormEval', norm(18, 12)],
    ['batchNormEval', norm(18, 9)],
    ['affineRuns', norm(5, 6)],
  ] as const)('%s gives a run the bits of a run by itself', async (name, operands) => {
    const ops = {
      linearRuns: ({ x, weight, bias }) => linearRuns(x!, weight!, bias),
      batchNormTrain: ({ x, weight, bias, running }) =>
        batchNormTrain(x!, weight!, bias!, running!, { relu: true }),
      batchNormEval: ({ x, weight, bias, running }) =>
        batchNormEval(x!, weight!, bias!, running!, { relu: true }),
      affineRuns: ({ x, weight, bias }) => affineRuns(x!, weight!, bias!),
    } satisfies Record<string, (inputs: Record<string, Tensor<'f32'>>) => Tensor<'f32'>>
    const together = await results(operands, ops[name], [0, 1, 2])
    const per = together.length / RUNS
    for (let run = 0; run < RUNS; run++) {
      const alone = await results(operands, ops[name], [run])
      expect(together.slice(run * per, (run + 1) * per)).toEqual(alone)
    }
  })

  it.each([8, 7])('batchNormTrain takes views apart, %i columns', async (columns) => {
    const rows = 6
    const operands = norm(2 * rows, columns)
    const whole = ({ x, weight, bias, running }: Record<string, Tensor<'f32'>>): Tensor<'f32'> =>
      batchNormTrain(x!, weight!, bias!, running!, { batches: 2 })
    const [out, dX, dWeight, dBias, moved] = await results(operands, whole, [1])
    // The same as two calls, of which the second moves on what the first has moved.
    const size = rows * columns
    const of = (name: string): Float32Array<ArrayBuffer> => {
      const { data } = operands[name]!
      return data.slice(data.length / RUNS, (2 * data.length) / RUNS)
    }
    const running = device().tensor(of('running'), [2, columns])
    const sums = [new Float32Array(columns), new Float32Array(columns)]
    for (const view of [0, 1]) {
      const part = (data: Float32Array): Float32Array<ArrayBuffer> =>
        new Float32Array(data.subarray(view * size, (view + 1) * size))
      const x = device().tensor(part(of('x')), [rows, columns])
      const weight = device().tensor(of('weight'), [columns])
      const bias = device().tensor(of('bias'), [columns])
      for (const leaf of [x, weight, bias]) leaf.requiresGrad = true
      const y = batchNormTrain(x, weight, bias, running)
      const cotangent = device().tensor(part(randomArray(2 * size, 51)), [rows, columns])
      const gradients = backward(sum(multiply(y, cotangent)), [x, weight, bias])
      const [gX, gWeight, gBias] = await Promise.all(gradients.map((tensor) => tensor.read()))
      expect(await y.read()).toEqual(part(out!))
      expect(gX).toEqual(part(dX!))
      const own = [gWeight!, gBias!]
      sums.forEach((total, i) => own[i]!.forEach((value, c) => (total[c]! += value)))
    }
    expect([dWeight, dBias]).toEqual(sums)
    expect(moved).toEqual(await running.read())
  })

  it('linearRuns has the values and gradients of its f64 loops', async () => {
    const [runs, rows, inner, outer] = [2, 5, 7, 3]
    await gradcheck(device(), {
      inputs: {
        x: [runs, rows, inner],
        weight: [runs, outer, inner],
        bias: [runs, outer],
      },
      op: ({ x, weight, bias }) => linearRuns(x, weight, bias),
      reference: ({ x, weight, bias }) =>
        Float64Array.from({ length: runs * rows * outer }, (_, i) => {
          const [row, o] = [Math.floor(i / outer), i % outer]
          const run = Math.floor(row / rows)
          let value = bias[run * outer + o]!
          for (let k = 0; k < inner; k++) {
            value += x[row * inner + k]! * weight[(run * outer + o) * inner + k]!
          }
          return value
        }),
    })
  })

  it('linearRuns lets runs share rows that have no gradient', async () => {
    const x = device().tensor(randomArray(4 * 5, 1), [4, 5])
    const weight = device().tensor(randomArray(2 * 3 * 5, 2), [2, 3, 5])
    const repeated = device().tensor(
      Float32Array.from([...(await x.read()), ...(await x.read())]),
      [2, 4, 5],
    )
    expect(await linearRuns(x, weight).read()).toEqual(await linearRuns(repeated, weight).read())
    expect(() => linearRuns(x, device().tensor(randomArray(10, 1), [2, 5]))).toThrow(/weight/)
  })

  it('dropout drops its share by step, seed and place, and scales the rest', async () => {
    const [size, rate] = [2001, 0.25]
    const x = device().tensor(new Float32Array(2 * size).fill(1), [2, size])
    x.requiresGrad = true
    const state = device().tensor(Uint32Array.from([3, 5, 3, 6]), [2, 2])
    const out = dropout(x, { rate, state, stream: 2 })
    const data = await out.read()
    const expected = Float32Array.from({ length: 2 * size }, (_, i) => {
      const place = i % size
      const words = philox([Math.floor(place / 4), 2, 3, 4], [i < size ? 5 : 6, 0])
      return (words[place % 4]! >>> 8) / 2 ** 24 >= rate ? Math.fround(1 / (1 - rate)) : 0
    })
    data.forEach((value, i) => expect(value).toBeCloseTo(expected[i]!, 6))
    expect(data.filter((value) => value === 0).length / (2 * size)).toBeCloseTo(rate, 1)
    const [gradient] = backward(sum(out), [x])
    expect(await gradient!.read()).toEqual(data)
  })

  it('initial weights are the generator’s, run by run', async () => {
    const [size, stream, scale] = [13, 3, 0.5]
    const seeds = Uint32Array.from([9, 4])
    for (const [kind, twin] of [
      ['uniform', (seed: number, i: number) => 2 * randomUniform(seed, stream, i) - 1],
      ['normal', (seed: number, i: number) => randomNormal(seed, stream, i)],
    ] as const) {
      const out = device().tensor(new Float32Array(2 * size).fill(NaN), [2, size])
      const tensors = { seeds: device().tensor(seeds, [2]), out }
      device().dispatch(initializeKernel({ kind }), tensors, { runs: 2, size, stream, scale })
      const data = await out.read()
      data.forEach((value, i) => {
        const seed = seeds[Math.floor(i / size)]!
        expect(value).toBeCloseTo(scale * twin(seed, i % size), 5)
      })
    }
  })
})
