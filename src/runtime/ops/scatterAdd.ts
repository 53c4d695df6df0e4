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
import { expect } from '../shape.ts'
import { largestPart } from '../split.ts'
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
  if (Math.max(source.byteLength, index.byteLength) <= device.maxBindingBytes) {
    return addInto(source, index, out, base)
  }
  // In parts of the source, each upon the sum of those before it.
  const length = largestPart([4 * columns, 4], count, device)
  expect(length > 0, 'scatterAdd', () => {
    return (
      `the ${count} rows of source ${source.toString()} can't be cut into bindings of ` +
      `${device.maxBindingBytes} bytes; use shorter rows`
    )
  })
  const [rows, places] = [source.view([count, columns]), index.view([count])]
  let sum = base
  for (let first = 0; first < count; first += length) {
    const own = Math.min(length, count - first)
    const [part, named] = [rows.rows(first, own), places.rows(first, own)]
    const next = first + own === count ? out : device.empty(out.shape)
    addInto(part, named, next, sum)
    for (const tensor of [part, named, ...(sum && sum !== base ? [sum] : [])]) tensor.dispose()
    sum = next
  }
  rows.dispose()
  places.dispose()
  return out
}

/** {@link scatterAddInto} of a source that one binding takes. */
function addInto(source: F32, index: U32, out: F32, base?: F32): F32 {
  const { device } = out
  const count = index.size
  const columns = source.size / count
  const rows = out.size / columns
  const vector = columns % 4 === 0
  const options = { base: base !== undefined, vector }
  const sizes = { rows, columns: vector ? columns / 4 : columns, first: 0, all: rows, count }
  const tensors = { source, out, ...(base && { base }) }
  if (count <= SCAN) {
    const kernel = scatterAddScanKernel(options)
    device.dispatch(kernel, { ...tensors, index }, sizes)
    return out
  }
  const { starts, order } = sortByRow(index, rows)
  const each = eachThread(device.adapter.software)
  // On a GPU, neighbours among threads should read neighbours in memory.
  const wide = device.adapter.software && vector && sizes.columns % 4 === 0 ? 4 : 1
  const kernel = scatterAddSortedKernel({ ...options, each, wide })
  const grouped = { ...sizes, columns: sizes.columns / wide }
  device.dispatch(kernel, { ...tensors, starts, order }, grouped)
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
  const fits = 4 * rows * SORT_LANES <= device.maxBindingBytes
  if (device.adapter.software && fits && rows <= ALONE && count <= ALONE) {
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
