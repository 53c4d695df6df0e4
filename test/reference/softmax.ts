/** softmax of each row of x [rows, columns] in f64. */
export function softmax(x: ArrayLike<number>, columns: number): Float64Array {
  const out = new Float64Array(x.length)
  for (let start = 0; start < x.length; start += columns) {
    let largest = -Infinity
    for (let i = start; i < start + columns; i++) largest = Math.max(largest, x[i]!)
    let sum = 0
    for (let i = start; i < start + columns; i++) sum += Math.exp(x[i]! - largest)
    for (let i = start; i < start + columns; i++) out[i] = Math.exp(x[i]! - largest) / sum
  }
  return out
}

/** log(softmax) of each row of x [rows, columns] in f64. */
export function logSoftmax(x: ArrayLike<number>, columns: number): Float64Array {
  const out = new Float64Array(x.length)
  for (let start = 0; start < x.length; start += columns) {
    let largest = -Infinity
    for (let i = start; i < start + columns; i++) largest = Math.max(largest, x[i]!)
    let sum = 0
    for (let i = start; i < start + columns; i++) sum += Math.exp(x[i]! - largest)
    for (let i = start; i < start + columns; i++) out[i] = x[i]! - largest - Math.log(sum)
  }
  return out
}

/** dX of {@link softmax}, or of {@link logSoftmax} when `log`, from its output. */
export function softmaxBackward(
  out: ArrayLike<number>,
  dOut: ArrayLike<number>,
  columns: number,
  log: boolean,
): Float64Array {
  const dX = new Float64Array(out.length)
  for (let start = 0; start < out.length; start += columns) {
    let total = 0
    for (let i = start; i < start + columns; i++) total += log ? dOut[i]! : dOut[i]! * out[i]!
    for (let i = start; i < start + columns; i++) {
      dX[i] = log ? dOut[i]! - Math.exp(out[i]!) * total : out[i]! * (dOut[i]! - total)
    }
  }
  return dX
}
