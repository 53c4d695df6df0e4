import { sumColumnsKernel, sumRowsKernel } from '../../kernels/reduce.ts'
import type { Tensor } from '../tensor.ts'

/** Σ over all but the last dimension: [..., columns] → [columns], into `out`; outside the tape. */
export function sumRows(x: Tensor<'f32'>, out: Tensor<'f32'>, scale = 1): Tensor<'f32'> {
  const columns = x.shape.at(-1)!
  x.device.dispatch(sumRowsKernel, { x, out }, { rows: x.size / columns, columns, scale })
  return out
}

/** Σ over the last dimension: [..., columns] → [...], into `out`; outside the tape. */
export function sumColumns(x: Tensor<'f32'>, out: Tensor<'f32'>, scale = 1): Tensor<'f32'> {
  const columns = x.shape.at(-1)!
  x.device.dispatch(sumColumnsKernel, { x, out }, { rows: x.size / columns, columns, scale })
  return out
}
