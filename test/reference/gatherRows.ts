/** out[m] = x[index[m]] for x [rows, columns]; an index past the end takes the last row. */
export function gatherRows(
  x: ArrayLike<number>,
  index: ArrayLike<number>,
  columns: number,
): Float64Array {
  const last = x.length / columns - 1
  const out = new Float64Array(index.length * columns)
  for (let m = 0; m < index.length; m++) {
    for (let c = 0; c < columns; c++) {
      out[m * columns + c] = x[Math.min(index[m]!, last) * columns + c]!
    }
  }
  return out
}

/** dX[index[m]] += dOut[m], in order. */
export function gatherRowsBackward(
  dOut: ArrayLike<number>,
  index: ArrayLike<number>,
  rows: number,
  columns: number,
): Float64Array {
  const dX = new Float64Array(rows * columns)
  for (let m = 0; m < index.length; m++) {
    for (let c = 0; c < columns; c++) {
      dX[Math.min(index[m]!, rows - 1) * columns + c]! += dOut[m * columns + c]!
    }
  }
  return dX
}
