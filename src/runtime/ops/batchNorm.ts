import {
  batchNormEvalBackwardKernel,
  batchNormEvalKernel,
  batchNormTrainBackwardKernel,
  batchNormTrainKernel,
} from '../../kernels/batchNorm.ts'
import {
  batchNormTrainAloneKernel,
  batchNormTrainBackwardAloneKernel,
} from '../../kernels/batchNormAlone.ts'
import { expect, expectShape } from '../shape.ts'
import { apply, type BackwardContext, type Op } from '../tape.ts'
import type { Tensor } from '../tensor.ts'
import {
  evalGradientsInParts,
  isLarge,
  normalizeInParts,
  statisticsInParts,
  trainGradientsInParts,
} from './largeBatchNorm.ts'

export interface BatchNormOptions {
  /** Added to the variance. Default 1e-5, PyTorch's. */
  readonly eps?: number
  /** Share of the batch's statistics in the running ones. Default 0.1, PyTorch's. */
  readonly momentum?: number
  /** Fuses a ReLU after the normalisation. */
  readonly relu?: boolean
  /**
   * How many batches the rows of a run are, one after the other: each is normalised by its own
   * statistics. Training only. Default 1.
   */
  readonly batches?: number
}

interface Inputs extends Record<string, Tensor | undefined> {
  readonly x: Tensor<'f32'>
  readonly weight: Tensor<'f32'>
  readonly bias: Tensor<'f32'>
}

interface Attributes extends Required<BatchNormOptions> {
  readonly running: Tensor<'f32'>
}

interface Saved extends Inputs {
  /** Batch mean and inverse standard deviation, or the running mean and variance. */
  readonly statistics: Tensor<'f32'>
}

interface Sizes {
  readonly runs: number
  /** Of a run. */
  readonly rows: number
  readonly columns: number
}

function sizesOf({ shape }: Tensor): Sizes {
  const [rows, columns] = shape.slice(-2) as [number, number]
  return { runs: shape.length === 3 ? shape[0]! : 1, rows, columns }
}

function check(op: string, { x, weight, bias }: Inputs, running: Tensor): Sizes {
  const { length } = x.shape
  expect(length === 2 || length === 3, op, () => {
    return `x is ${x.toString()}, expected [rows, columns] or [R, rows, columns]`
  })
  const sizes = sizesOf(x)
  const lead = x.shape.slice(0, -2)
  expectShape(op, 'weight', weight.shape, [...lead, sizes.columns])
  expectShape(op, 'bias', bias.shape, [...lead, sizes.columns])
  expectShape(op, 'running', running.shape, [...lead, 2, sizes.columns])
  return sizes
}

/** Whether x must be cut, which is done along the rows of one batch. */
function inParts(op: string, x: Tensor, batches = 1): boolean {
  if (!isLarge(x)) return false
  expect(x.shape.length === 2 && batches === 1, op, () => {
    return `x ${x.toString()} in ${batches} batches is larger than a binding; use fewer runs or rows`
  })
  return true
}

/** Whether a thread takes whole columns. */
const alone = ({ device, shape }: Tensor): boolean =>
  device.adapter.software && shape.at(-1)! % 4 === 0

/** The three gradient outputs; those that nobody wants still need a place to be written. */
function gradientOutputs({
  saved,
  wants,
  output,
}: BackwardContext<Inputs, Attributes, Saved>): Record<'x' | 'weight' | 'bias', Tensor<'f32'>> {
  const place = (name: 'x' | 'weight' | 'bias'): Tensor<'f32'> =>
    wants(name) ? output(name) : saved.x.device.empty(saved[name].shape)
  return { x: place('x'), weight: place('weight'), bias: place('bias') }
}

const trainOp: Op<Inputs, Attributes, Saved> = {
  name: 'batchNormTrain',
  forward(inputs, { running, eps, momentum, relu, batches }) {
    const { x, weight, bias } = inputs
    const { runs, rows, columns } = check('batchNormTrain', inputs, running)
    expect(rows % batches === 0 && rows / batches > 1, 'batchNormTrain', () => {
      const given = `x is ${x.toString()}${batches > 1 ? ` in ${batches} batches` : ''}`
      return `${given}; the variance of one row is undefined, expected 2 rows or more`
    })
    const { device } = x
    if (inParts('batchNormTrain', x, batches)) {
      const statistics = statisticsInParts(x, running, eps, momentum)
      const out = normalizeInParts({ x, weight, bias }, statistics, relu)
      return { out, saved: { x, weight, bias, statistics } }
    }
    const out = device.empty(x.shape)
    const statistics = device.empty([runs, batches, 2, columns])
    const kernel = alone(x) ? batchNormTrainAloneKernel : batchNormTrainKernel
    device.dispatch(
      kernel({ relu }),
      { x, weight, bias, running, statistics, out },
      { runs, batches, rows: rows / batches, columns, eps, momentum },
    )
    const saved = { x, weight, bias, statistics }
    return { out, saved }
  },
  backward(context) {
    const { gradient: dOut, attributes, saved } = context
    const { x, weight, bias, statistics } = saved
    const { relu, batches } = attributes
    const { runs, rows, columns } = sizesOf(x)
    const gradients = gradientOutputs(context)
    if (inParts('batchNormTrain', x)) {
      trainGradientsInParts({ x, weight, bias }, statistics, relu, dOut, gradients)
      return gradients
    }
    const { x: dX, weight: dWeight, bias: dBias } = gradients
    const kernel = alone(x) ? batchNormTrainBackwardAloneKernel : batchNormTrainBackwardKernel
    x.device.dispatch(
      kernel({ relu }),
      { x, weight, bias, statistics, dOut, dX, dWeight, dBias },
      { runs, batches, rows: rows / batches, columns },
    )
    return gradients
  },
}

const evalOp: Op<Inputs, Attributes, Saved> = {
  name: 'batchNormEval',
  forward(inputs, { running, eps, relu }) {
    const { x, weight, bias } = inputs
    const { runs, rows, columns } = check('batchNormEval', inputs, running)
    if (runs > 1) inParts('batchNormEval', x)
    const out = x.device.empty(x.shape)
    x.device.dispatch(
      batchNormEvalKernel({ relu, vector: columns % 4 === 0 }),
      { x, weight, bias, running, out },
      { runs, rows, columns, eps },
    )
    return { out, saved: { x, weight, bias, statistics: running } }
  },
  backward(context) {
    const { gradient: dOut, attributes, saved } = context
    const { x, weight, bias, statistics: running } = saved
    const { runs, rows, columns } = sizesOf(x)
    const gradients = gradientOutputs(context)
    if (inParts('batchNormEval', x)) {
      const constants = { ...attributes, running, inverse: false }
      evalGradientsInParts({ x, weight, bias }, constants, dOut, gradients)
      return gradients
    }
    const { x: dX, weight: dWeight, bias: dBias } = gradients
    x.device.dispatch(
      batchNormEvalBackwardKernel({ relu: attributes.relu }),
      { x, weight, bias, running, dOut, dX, dWeight, dBias },
      { runs, rows, columns, eps: attributes.eps },
    )
    return gradients
  },
}

const defaults = { eps: 1e-5, momentum: 0.1, relu: false, batches: 1 }

/**
 * Normalises each column of x by the batch's own mean and variance (Ioffe & Szegedy 2015), then
 * scales and shifts it; moves `running` towards the batch's statistics as a side effect.
 *
 * @param x [rows, columns], at least two rows; or [R, rows, columns], R runs with weights of their own
 * @param weight [columns] or [R, columns]
 * @param bias [columns] or [R, columns]
 * @param running [2, columns] or [R, 2, columns]: running mean, running (unbiased) variance
 * @returns x's shape
 */
export const batchNormTrain = (
  x: Tensor<'f32'>,
  weight: Tensor<'f32'>,
  bias: Tensor<'f32'>,
  running: Tensor<'f32'>,
  options: BatchNormOptions = {},
): Tensor<'f32'> => apply(trainOp, { x, weight, bias }, { ...defaults, ...options, running })

/** As {@link batchNormTrain}, but by the running statistics, which stay as they are. */
export const batchNormEval = (
  x: Tensor<'f32'>,
  weight: Tensor<'f32'>,
  bias: Tensor<'f32'>,
  running: Tensor<'f32'>,
  options: BatchNormOptions = {},
): Tensor<'f32'> => apply(evalOp, { x, weight, bias }, { ...defaults, ...options, running })
