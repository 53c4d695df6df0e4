import { rowLanes, type Lanes } from '../kernels/rows.ts'
import type { Tensor } from './tensor.ts'

export interface Rows {
  readonly rows: number
  readonly columns: number
  readonly lanes: Lanes
}

/** A tensor as a matrix whose rows run along its last dimension, and how kernels should share them. */
export function rowsOf({ size, shape, device }: Tensor): Rows {
  const columns = shape.at(-1) ?? 1
  return { rows: size / columns, columns, lanes: rowLanes(columns, device.adapter.software) }
}
