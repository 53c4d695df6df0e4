import {
  SUM_CHUNK,
  sumBackwardKernel,
  sumChunksKernel,
  sumColumnsKernel,
  sumRowsKernel,
} from '../../kernels/reduce.ts'
import { rowsOf } from '../rows.ts'
import type { Shape } from '../shape.ts'
import { apply, type Op } from '../tape.ts'
import type { Tensor } from '../tensor.ts'

/** Σ over all but the last dimension: [..., columns] → [columns], into `out`; outside the tape. */
export function sumRows(x: Tensor<'f32'>, out: Tensor<'f32'>, scale = 1): Tensor<'f32'> {
  const columns = x.shape.at(-1)!
  x.device.dispatch(sumRowsKernel, { x, out }, { rows: x.size / columns, columns, scale })
  return out
}

/** Σ over the last dimension: [..., columns] → [...], into `out`; outside the tape. */
export function sumColumns(x: Tensor<'f32'>, out: Tensor<'f32'>, scale = 1): Tensor<'f32'> {
  const { rows, columns, lanes } = rowsOf(x)
  x.device.dispatch(sumColumnsKernel({ lanes }), { x, out }, { rows, columns, scale })
  return out
}

/** Σ over every element, into `out` [1], chunk by chunk; outside the tape. */
export function sumAll(x: Tensor<'f32'>, out: Tensor<'f32'>, scale = 1): Tensor<'f32'> {
  const { size, device } = x
  if (size <= SUM_CHUNK) {
    device.dispatch(sumChunksKernel, { x, out }, { size, scale })
    return out
  }
  const partial = device.empty([Math.ceil(size / SUM_CHUNK)])
  device.dispatch(sumChunksKernel, { x, out: partial }, { size, scale: 1 })
  sumAll(partial, out, scale)
  partial.dispose()
  return out
}

/** What a sum runs over: everything, the last dimension (`columns`), or all but the last (`rows`). */
export type Over = 'all' | 'columns' | 'rows'

interface Attributes {
  readonly over: Over
  readonly scale: number
  readonly shape: Shape
}

const sumOp: Op<{ x: Tensor<'f32'> }, Attributes, undefined> = {
  name: 'sum',
  forward({ x }, { over, scale }) {
    const { device, shape } = x
    const reduce = { all: sumAll, columns: sumColumns, rows: sumRows }[over]
    const kept = { all: [], columns: shape.slice(0, -1), rows: shape.slice(-1) }[over]
    const out = reduce(x, device.empty(kept.length > 0 ? kept : [1]), scale)
    return { out, saved: undefined }
  },
  backward({ gradient: dOut, attributes: { over, scale, shape }, output }) {
    const dX = output('x')
    const { size, device } = dX
    const columns = shape.at(-1) ?? 1
    const [inner, period] = {
      all: [size, 1] as const,
      columns: [columns, size / columns] as const,
      rows: [1, columns] as const,
    }[over]
    device.dispatch(sumBackwardKernel, { dOut, dX }, { size, inner, period, scale })
    return { x: dX }
  },
}

/**
 * Sum of x [..., columns].
 *
 * @param over `all` (default) → [1]; `columns`, the last dimension → [...]; `rows`, the others → [columns]
 */
export const sum = (x: Tensor<'f32'>, over: Over = 'all'): Tensor<'f32'> =>
  apply(sumOp, { x }, { over, scale: 1, shape: x.shape })

/** Mean of x [..., columns]; see {@link sum}. */
export function mean(x: Tensor<'f32'>, over: Over = 'all'): Tensor<'f32'> {
  const columns = x.shape.at(-1) ?? 1
  const count = { all: x.size, columns, rows: x.size / columns }[over]
  return apply(sumOp, { x }, { over, scale: 1 / count, shape: x.shape })
}
