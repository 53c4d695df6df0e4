import {
  extremumBackwardKernel,
  extremumKernel,
  extremumRowsKernel,
  type Extremum,
} from '../../kernels/extremum.ts'
import { axesOf, axisOf, reducedShape, reductionsOf } from '../axes.ts'
import type { ReduceOptions, Reduction } from '../axes.ts'
import { apply, type Op } from '../tape.ts'
import type { Tensor } from '../tensor.ts'
import { reshape } from './reshape.ts'

type F32 = Tensor<'f32'>
type U32 = Tensor<'u32'>

/** Longest run that a thread walks, and about how many threads there should be. */
const LONGEST = 4096
const SHORTEST = 64
const THREADS = 8192
/** The same on a software adapter, whose threads are few and cost something to start. */
const THREADS_SOFTWARE = 512

/** Longest row that a thread of a software adapter takes, and the fewest rows that keep cores busy. */
const LONGEST_ROW = 16_384
const FEWEST_ROWS = 64

/** Elements to a thread. The result is exact, so that this changes its speed and nothing else. */
function segmentLength({ outer, n, inner }: Reduction, width: number, software: boolean): number {
  const even = Math.ceil((n * outer * inner) / width / (software ? THREADS_SOFTWARE : THREADS))
  return Math.min(n, LONGEST, Math.max(SHORTEST, even))
}

/** Value and first position of the extremum along the middle of [outer, n, inner]; outside the tape. */
function find(
  extremum: Extremum,
  x: F32,
  { outer, n, inner }: Reduction,
  values: F32,
  positions: U32,
  earlier?: U32,
): void {
  const { device } = x
  const { software } = device.adapter
  if (software && inner === 1 && !earlier && outer >= FEWEST_ROWS && n <= LONGEST_ROW) {
    const kernel = extremumRowsKernel({ extremum, vector: n % 4 === 0 })
    device.dispatch(kernel, { x, values, positions }, { rows: outer, columns: n })
    return
  }
  const vector = inner % 4 === 0
  const length = segmentLength({ outer, n, inner }, vector ? 4 : 1, software)
  const segments = Math.ceil(n / length)
  const kernel = extremumKernel({ extremum, positioned: earlier !== undefined, vector })
  const inputs = { x, ...(earlier && { earlier }) }
  const params = { outer, n, inner, length }
  if (segments === 1) {
    device.dispatch(kernel, { ...inputs, values, positions }, params)
    return
  }
  const partial = {
    values: device.empty([outer, segments, inner]),
    positions: device.empty([outer, segments, inner], 'u32'),
  }
  device.dispatch(kernel, { ...inputs, ...partial }, params)
  const next = { outer, n: segments, inner }
  find(extremum, partial.values, next, values, positions, partial.positions)
  partial.values.dispose()
  partial.positions.dispose()
}

/** One reduction over the middle of x [outer, n, inner] → [outer, inner]. */
const extremumOp = (extremum: Extremum): Op<{ x: F32 }, Reduction, { positions: U32 }> => ({
  name: extremum,
  forward({ x }, step) {
    const shape = [step.outer, step.inner]
    const [out, positions] = [x.device.empty(shape), x.device.empty(shape, 'u32')]
    find(extremum, x, step, out, positions)
    return { out, saved: { positions } }
  },
  backward({ gradient: dOut, saved: { positions }, attributes, output }) {
    const dX = output('x')
    const { outer, n, inner } = attributes
    dX.device.dispatch(extremumBackwardKernel, { positions, dOut, dX }, { outer, n, inner })
    return { x: dX }
  },
})

function reduction(extremum: Extremum): (x: F32, options?: ReduceOptions) => F32 {
  const op = extremumOp(extremum)
  return (x, { axes, keepDims = false } = {}) => {
    x.assertAlive(extremum)
    const list = axesOf(extremum, axes, x.shape.length)
    let current = x
    const then = (next: F32): void => {
      // The tape holds on to what its rules need.
      if (current !== x) current.dispose()
      current = next
    }
    for (const step of reductionsOf(x.shape, list)) {
      then(reshape(current, [step.outer, step.n, step.inner]))
      then(apply(op, { x: current }, step))
    }
    then(reshape(current, reducedShape(x.shape, list, keepDims)))
    return current
  }
}

/**
 * The largest of x over some of its dimensions: a NaN where there is one, by its bits. The gradient
 * goes to the first of equals, in row-major order.
 *
 * @returns x's shape without those dimensions; [1] when none is left
 */
export const max = reduction('max')

/** The smallest of x over some of its dimensions; see {@link max}. */
export const min = reduction('min')

export interface ArgOptions {
  /** The dimension to look along, negative from the end. Default: all of x as one row. */
  readonly axis?: number
  /** Keeps that dimension as 1. Default false. */
  readonly keepDims?: boolean
}

function position(extremum: Extremum): (x: F32, options?: ArgOptions) => U32 {
  const name = `arg${extremum}`
  return (x, { axis, keepDims = false } = {}) => {
    x.assertAlive(name)
    const { device, shape } = x
    const list =
      axis === undefined
        ? axesOf(name, undefined, shape.length)
        : [axisOf(name, axis, shape.length)]
    const [step = { outer: x.size, n: 1, inner: 1 }] = reductionsOf(shape, list)
    const out = reducedShape(shape, list, keepDims)
    const [values, positions] = [device.empty(out), device.empty(out, 'u32')]
    find(extremum, x, step, values, positions)
    values.dispose()
    return positions
  }
}

/**
 * Position of the largest along a dimension, or in all of x: the first of equals, and the first NaN
 * where there is one. u32, without a gradient.
 */
export const argmax = position('max')

/** Position of the smallest; see {@link argmax}. */
export const argmin = position('min')
