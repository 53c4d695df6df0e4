import { rowOptions, type RowOptions } from '../kernels/rows.ts'
import type { Tensor } from './tensor.ts'

export interface Rows {
  readonly rows: number
  readonly columns: number
  /** How kernels should share the rows. */
  readonly options: RowOptions
}

/** A tensor as a matrix whose rows run along its last dimension. */
export function rowsOf({ size, shape, device }: Tensor): Rows {
  const columns = shape.at(-1) ?? 1
  return { rows: size / columns, columns, options: rowOptions(columns, device.adapter.software) }
}
