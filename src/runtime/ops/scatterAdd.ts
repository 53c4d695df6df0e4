import { eachThread, fillKernel } from '../../kernels/elementwise.ts'
import {
  countRowsKernel,
  placeRowsKernel,
  scatterAddScanKernel,
  scatterAddSortedKernel,
  SORT_LANES,
  sortAloneKernel,
  sortRowsKernel,
  startsOfRowsKernel,
} from '../../kernels/scatterAdd.ts'
import type { Tensor } from '../tensor.ts'

type F32 = Tensor<'f32'>
type U32 = Tensor<'u32'>

/** Longest index that every element scans by itself, in one dispatch; a longer one is sorted first. */
const SCAN = 64

/** Most rows and parts that a software adapter sorts in one workgroup, and so on one core. */
const ALONE = 32_768

/**
 * out[index[m]] = base + Σ source[m], in ascending order of m; outside the tape. The bits don't depend
 * on how the rows are found.
 *
 * @param source [count, columns]
 * @param out [rows, columns]
 * @param base [rows, columns], or 0
 */
export function scatterAddInto(source: F32, index: U32, out: F32, base?: F32): F32 {
  const { device } = out
  const count = index.size
  const columns = source.size / count
  const rows = out.size / columns
  const vector = columns % 4 === 0
  const options = { base: base !== undefined, vector }
  const width = vector ? columns / 4 : columns
  const tensors = { source, out, ...(base && { base }) }
  if (count <= SCAN) {
    const kernel = scatterAddScanKernel(options)
    device.dispatch(kernel, { ...tensors, index }, { rows, columns: width, count })
    return out
  }
  const { starts, order } = sortByRow(index, rows)
  const each = eachThread(device.adapter.software)
  // On a GPU, neighbours among threads should read neighbours in memory.
  const wide = device.adapter.software && vector && width % 4 === 0 ? 4 : 1
  const kernel = scatterAddSortedKernel({ ...options, each, wide })
  device.dispatch(kernel, { ...tensors, starts, order }, { rows, columns: width / wide })
  starts.dispose()
  order.dispose()
  return out
}

/** For every row the m whose index names it, ascending: `order` from `starts[row]`. */
function sortByRow(index: U32, rows: number): { starts: U32; order: U32 } {
  const { device } = index
  const count = index.size
  const starts = device.empty([rows + 1], 'u32')
  const order = device.empty([count], 'u32')
  if (device.adapter.software && rows <= ALONE && count <= ALONE) {
    const table = device.empty([rows * SORT_LANES], 'u32')
    device.dispatch(sortAloneKernel, { index, table, starts, order }, { rows, count })
    table.dispose()
    return { starts, order }
  }
  const counts = device.empty([rows], 'u32')
  // The bits of 0 are those of 0.0.
  device.dispatch(fillKernel, { out: counts }, { size: rows, value: 0 })
  device.dispatch(countRowsKernel, { index, counts }, { rows, count })
  device.dispatch(startsOfRowsKernel, { counts, starts }, { rows })
  device.dispatch(placeRowsKernel, { index, starts, counts, order }, { rows, count })
  device.dispatch(sortRowsKernel, { starts, order }, { rows })
  counts.dispose()
  return { starts, order }
}
