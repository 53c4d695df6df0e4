import { describe, it } from 'vitest'
import {
  batchNormEvalBackwardKernel,
  batchNormEvalKernel,
  batchNormTrainBackwardKernel,
  batchNormTrainKernel,
} from '../../src/kernels/batchNorm.ts'
import {
  batchNormTrainAloneKernel,
  batchNormTrainBackwardAloneKernel,
} from '../../src/kernels/batchNormAlone.ts'
import type { Device } from '../../src/runtime/device.ts'
import type { Tensor } from '../../src/runtime/tensor.ts'
import { normalize, statistics, type BatchNormCase } from '../reference/batchNorm.ts'
import { expectClose } from '../support/compare.ts'
import { useDevice } from '../support/device.ts'
import { runKernel } from '../support/kernels.ts'
import { randomArray } from '../support/random.ts'

const eps = 1e-5

/** Central differences of Σ dOut·out, in f64, where out follows from x, weight and bias. */
function differences(
  forward: (x: Float64Array, weight: Float64Array, bias: Float64Array) => Float64Array,
  operands: [Float64Array, Float64Array, Float64Array],
  dOut: ArrayLike<number>,
): Float64Array[] {
  const loss = (): number => forward(...operands).reduce((sum, y, i) => sum + y * dOut[i]!, 0)
  return operands.map((operand) =>
    operand.map((value, i) => {
      const step = 1e-6
      operand[i] = value + step
      const above = loss()
      operand[i] = value - step
      const below = loss()
      operand[i] = value
      return (above - below) / (2 * step)
    }),
  )
}

function setUp(rows: number, columns: number, relu: boolean) {
  const x = randomArray(rows * columns, 1, 2).map((value, i) => value + (i % columns))
  const weight = randomArray(columns, 2).map((value) => value + 1.5)
  const bias = randomArray(columns, 3)
  const dOut = randomArray(rows * columns, 4)
  const running = Float32Array.from({ length: 2 * columns }, (_, i) => (i < columns ? 0.3 : 1.7))
  const options: BatchNormCase = { rows, columns, eps, relu }
  const operands = {
    x: { data: x, shape: [rows, columns] },
    weight: { data: weight, shape: [columns] },
    bias: { data: bias, shape: [columns] },
  }
  const exact: [Float64Array, Float64Array, Float64Array] = [
    Float64Array.from(x),
    Float64Array.from(weight),
    Float64Array.from(bias),
  ]
  return { x, weight, bias, dOut, running, options, operands, exact }
}

describe('batchNorm', () => {
  const device = useDevice()

  it.each([
    [2, 1, false],
    [7, 7, true],
    [8, 8, false],
    [9, 9, true],
    [65, 17, true],
    [300, 15, false],
    [3, 28, true],
    [5, 32, false],
    [301, 36, true],
  ])('in training equals f64 loops: %i×%i, ReLU %s', async (rows, columns, relu) => {
    const { x, weight, bias, running, options } = setUp(rows, columns, relu)
    const { mean, variance } = statistics(x, options)
    for (const kernel of kernels(columns)) {
      const { out, saved, state } = await train(device(), kernel, x, weight, bias, running, options)
      expectClose('out', out, normalize(x, weight, bias, { mean, variance }, options), 1e-5)
      expectClose(
        'statistics',
        saved,
        [...mean, ...variance.map((value) => 1 / Math.sqrt(value + eps))],
        1e-5,
      )
      expectClose(
        'running',
        state,
        [
          ...mean.map((value) => 0.9 * 0.3 + 0.1 * value),
          ...variance.map((value) => 0.9 * 1.7 + (0.1 * value * rows) / (rows - 1)),
        ],
        1e-5,
      )
    }
  })

  it.each([
    [3, 7, false],
    [9, 8, true],
    [17, 9, true],
    [67, 12, true],
    [4, 36, false],
  ])(
    'gradients in training equal finite differences: %i×%i, ReLU %s',
    async (rows, columns, relu) => {
      const { x, dOut, options, operands, exact } = setUp(rows, columns, relu)
      const { mean, variance } = statistics(x, options)
      const [dX, dWeight, dBias] = differences(
        (y, weight, bias) => normalize(y, weight, bias, statistics(y, options), options),
        exact,
        dOut,
      )
      const saved = Float32Array.from([
        ...mean,
        ...variance.map((value) => 1 / Math.sqrt(value + eps)),
      ])
      for (const kernel of columns % 4 === 0
        ? [batchNormTrainBackwardKernel, batchNormTrainBackwardAloneKernel]
        : [batchNormTrainBackwardKernel]) {
        const results = await runKernel(
          device(),
          kernel({ relu }),
          {
            ...operands,
            statistics: { data: saved, shape: [2, columns] },
            dOut: { data: dOut, shape: [rows, columns] },
          },
          { dX: [rows, columns], dWeight: [columns], dBias: [columns] },
          { runs: 1, batches: 1, rows, columns },
        )
        expectClose('dX', results.dX!, dX!, 1e-4)
        expectClose('dWeight', results.dWeight!, dWeight!, 1e-4)
        expectClose('dBias', results.dBias!, dBias!, 1e-4)
      }
    },
  )

  it.each([
    [1, 1, false],
    [9, 7, true],
    [8, 8, true],
    [15, 4, true],
    [16, 12, true],
    [17, 16, false],
    [21, 9, false],
  ])('by running statistics, with gradients: %i×%i, ReLU %s', async (rows, columns, relu) => {
    const { x, weight, bias, dOut, running, options, operands, exact } = setUp(rows, columns, relu)
    const fixed = { mean: running.subarray(0, columns), variance: running.subarray(columns) }
    const inputs = { ...operands, running: { data: running, shape: [2, columns] } }
    const { out } = await runKernel(
      device(),
      batchNormEvalKernel({ relu, vector: columns % 4 === 0 }),
      inputs,
      { out: [rows, columns] },
      { runs: 1, rows, columns, eps },
    )
    expectClose('out', out!, normalize(x, weight, bias, fixed, options), 1e-5)
    const [dX, dWeight, dBias] = differences(
      (y, w, b) => normalize(y, w, b, fixed, options),
      exact,
      dOut,
    )
    const results = await runKernel(
      device(),
      batchNormEvalBackwardKernel({ relu }),
      { ...inputs, dOut: { data: dOut, shape: [rows, columns] } },
      { dX: [rows, columns], dWeight: [columns], dBias: [columns] },
      { runs: 1, rows, columns, eps },
    )
    expectClose('dX', results.dX!, dX!, 1e-4)
    expectClose('dWeight', results.dWeight!, dWeight!, 1e-4)
    expectClose('dBias', results.dBias!, dBias!, 1e-4)
  })

  it('keeps its accuracy where E[x²] − mean² would cancel', async () => {
    const { weight, bias, options } = setUp(64, 8, false)
    const x = randomArray(64 * 8, 9).map((value) => value + 1000)
    for (const kernel of kernels(8)) {
      const { out } = await train(device(), kernel, x, weight, bias, new Float32Array(16), options)
      expectClose('out', out, normalize(x, weight, bias, statistics(x, options), options), 1e-3)
    }
  })
})

type TrainKernel = typeof batchNormTrainKernel

/** What an adapter may run for so many columns. */
const kernels = (columns: number): TrainKernel[] =>
  columns % 4 === 0
    ? [batchNormTrainKernel, batchNormTrainAloneKernel as TrainKernel]
    : [batchNormTrainKernel]

async function train(
  device: Device,
  kernel: TrainKernel,
  x: Float32Array,
  weight: Float32Array,
  bias: Float32Array,
  running: Float32Array,
  { rows, columns, relu }: BatchNormCase,
): Promise<Record<'out' | 'saved' | 'state', Float32Array>> {
  const poison = (shape: number[]): Tensor<'f32'> =>
    device.tensor(new Float32Array(shape.reduce((a, b) => a * b)).fill(NaN), shape)
  const state = device.tensor(running, [2, columns])
  const out = poison([rows, columns])
  const saved = poison([2, columns])
  device.dispatch(
    kernel({ relu }),
    {
      x: device.tensor(x, [rows, columns]),
      weight: device.tensor(weight, [columns]),
      bias: device.tensor(bias, [columns]),
      running: state,
      statistics: saved,
      out,
    },
    { runs: 1, batches: 1, rows, columns, eps, momentum: 0.1 },
  )
  return { out: await out.read(), saved: await saved.read(), state: await state.read() }
}
