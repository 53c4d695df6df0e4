import { eachThread } from '../../kernels/elementwise.ts'
import {
  LANES,
  LANES_CHUNK,
  SUM_CHUNK,
  sumBackwardKernel,
  sumChunksKernel,
  sumColumnsKernel,
  sumLanesKernel,
  sumRowsAloneKernel,
  sumRowsKernel,
} from '../../kernels/reduce.ts'
import { SUM_SEGMENT, sumMiddleKernel } from '../../kernels/sumMiddle.ts'
import {
  axesOf,
  keptShape,
  reducedShape,
  reductionsOf,
  type ReduceOptions,
  type Reduction,
} from '../axes.ts'
import { planBroadcast } from '../broadcast.ts'
import type { Device } from '../device.ts'
import { rowsOf } from '../rows.ts'
import { sizeOf, type Shape } from '../shape.ts'
import { apply, type Op } from '../tape.ts'
import type { Tensor } from '../tensor.ts'
import { sumRowParts } from './rowParts.ts'
import { scaled } from './scale.ts'

type F32 = Tensor<'f32'>

/** Σ over all but the last dimension: [..., columns] → [columns], into `out`; outside the tape. */
export function sumRows(x: F32, out: F32, scale = 1): F32 {
  const columns = x.shape.at(-1)!
  const { software } = out.device.adapter
  const kernel = software ? sumRowsAloneKernel({ vector: columns % 4 === 0 }) : sumRowsKernel
  sumRowParts([x], x.size / columns, out, ([x], rows, out) => {
    out.device.dispatch(kernel, { x: x!, out }, { rows, columns, scale })
  })
  return out
}

/** Σ over the last dimension: [..., columns] → [...], into `out`; outside the tape. */
export function sumColumns(x: F32, out: F32, scale = 1): F32 {
  const { rows, columns, options } = rowsOf(x)
  x.device.dispatch(sumColumnsKernel(options), { x, out }, { rows, columns, scale })
  return out
}

/** Σ over every element, into `out` [1], chunk by chunk; outside the tape. */
export function sumAll(x: F32, out: F32, scale = 1): F32 {
  const { size, device } = x
  if (size <= SUM_CHUNK) {
    device.dispatch(sumChunksKernel, { x, out }, { size, scale })
    return out
  }
  const { software } = device.adapter
  const sums = software ? LANES * Math.ceil(size / LANES_CHUNK) : Math.ceil(size / SUM_CHUNK)
  const partial = device.empty([sums])
  const kernel = software ? sumLanesKernel : sumChunksKernel
  device.dispatch(kernel, { x, out: partial }, { size, scale: 1 })
  sumAll(partial, out, scale)
  partial.dispose()
  return out
}

/** Σ over the middle of [outer, n, inner], segment by segment. */
function sumMiddle(x: F32, { outer, n, inner }: Reduction, out: F32, scale: number): F32 {
  const { device } = x
  const segments = Math.ceil(n / SUM_SEGMENT)
  const kernel = sumMiddleKernel({ vector: inner % 4 === 0 })
  if (segments === 1) {
    device.dispatch(kernel, { x, out }, { outer, n, inner, scale })
    return out
  }
  const partial = device.empty([outer, segments, inner])
  device.dispatch(kernel, { x, out: partial }, { outer, n, inner, scale: 1 })
  sumMiddle(partial, { outer, n: segments, inner }, out, scale)
  partial.dispose()
  return out
}

/** Σ over n of [outer, n, inner] → [outer, inner], into `out`, in an order that n and inner alone decide. */
export function sumEach(x: F32, out: F32): F32 {
  const [outer, n, inner] = x.shape as [number, number, number]
  sumMiddle(x, { outer, n, inner }, out, 1)
  return out
}

/**
 * Whether the rows of [n, inner] are better cut in segments: a software adapter has a thread for each
 * column otherwise, and few columns keep few cores busy.
 */
const inSegments = ({ n, inner }: Reduction, { adapter }: Device): boolean =>
  adapter.software && inner < 64 && n > 4096

function reduceOnce(x: F32, step: Reduction, out: F32, scale: number): void {
  const { outer, n, inner } = step
  const view = x.view(inner === 1 ? [outer, n] : [outer * n, inner])
  if (outer === 1 && inner === 1) sumAll(view, out, scale)
  else if (inner === 1) sumColumns(view, out, scale)
  else if (outer === 1 && !inSegments(step, x.device)) sumRows(view, out, scale)
  else sumMiddle(view, step, out, scale)
  view.dispose()
}

/** Σ over the given axes into `out`, times `scale`; outside the tape. */
export function sumAxes(x: F32, axes: readonly number[], out: F32, scale = 1): F32 {
  const steps = reductionsOf(x.shape, axes)
  if (steps.length === 0) return scaled(x, scale, out)
  let current = x
  steps.forEach((step, i) => {
    const last = i === steps.length - 1
    const next = last ? out : x.device.empty([step.outer * step.inner])
    reduceOnce(current, step, next, last ? scale : 1)
    if (current !== x) current.dispose()
    current = next
  })
  return out
}

/** What a sum runs over: everything, the last dimension (`columns`), or all but the last (`rows`). */
export type Over = 'all' | 'columns' | 'rows'

interface Attributes {
  readonly axes: readonly number[]
  readonly keepDims: boolean
  readonly scale: number
  readonly shape: Shape
}

const sumOp: Op<{ x: F32 }, Attributes, undefined> = {
  name: 'sum',
  forward({ x }, { axes, keepDims, scale }) {
    const out = x.device.empty(reducedShape(x.shape, axes, keepDims))
    return { out: sumAxes(x, axes, out, scale), saved: undefined }
  },
  backward({ gradient: dOut, attributes: { axes, scale, shape }, output }) {
    const dX = output('x')
    const { size, device } = dX
    const { spreads, params } = planBroadcast('sum', { dOut: keptShape(shape, axes) }, shape)
    const each = eachThread(device.adapter.software)
    const kernel = sumBackwardKernel({ spread: spreads.dOut, each })
    device.dispatch(kernel, { dOut, dX }, { size, scale, ...params })
    return { x: dX }
  },
}

/** Axes of a reduction that is named or given by its options. */
function chosen(op: string, shape: Shape, over: Over | ReduceOptions) {
  const rank = shape.length
  if (typeof over !== 'string') {
    const { axes, keepDims = false } = over
    return { axes: axesOf(op, axes, rank), keepDims }
  }
  const all = axesOf(op, undefined, rank)
  const axes = { all, columns: all.slice(-1), rows: all.slice(0, -1) }[over]
  return { axes, keepDims: false }
}

/**
 * Sum of x over some of its dimensions.
 *
 * @param over axes and whether to keep them as 1; or `all` (default), `columns`, the last dimension, or
 *   `rows`, all but the last
 * @returns x's shape without those dimensions; [1] when none is left
 */
export const sum = (x: F32, over: Over | ReduceOptions = 'all'): F32 =>
  apply(sumOp, { x }, { ...chosen('sum', x.shape, over), scale: 1, shape: x.shape })

/** Mean of x over some of its dimensions; see {@link sum}. */
export function mean(x: F32, over: Over | ReduceOptions = 'all'): F32 {
  const { axes, keepDims } = chosen('mean', x.shape, over)
  const count = sizeOf(axes.map((axis) => x.shape[axis]!))
  return apply(sumOp, { x }, { axes, keepDims, scale: 1 / count, shape: x.shape })
}
