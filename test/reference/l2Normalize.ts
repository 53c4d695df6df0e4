/** x / max(‖x‖, eps) for each row of x [rows, columns] in f64. */
export function l2Normalize(x: ArrayLike<number>, columns: number, eps: number): Float64Array {
  const out = new Float64Array(x.length)
  for (let start = 0; start < x.length; start += columns) {
    let squares = 0
    for (let i = start; i < start + columns; i++) squares += x[i]! ** 2
    const divisor = Math.max(Math.sqrt(squares), eps)
    for (let i = start; i < start + columns; i++) out[i] = x[i]! / divisor
  }
  return out
}

/** dX of {@link l2Normalize}. */
export function l2NormalizeBackward(
  x: ArrayLike<number>,
  dOut: ArrayLike<number>,
  columns: number,
  eps: number,
): Float64Array {
  const dX = new Float64Array(x.length)
  for (let start = 0; start < x.length; start += columns) {
    let squares = 0
    let dot = 0
    for (let i = start; i < start + columns; i++) {
      squares += x[i]! ** 2
      dot += x[i]! * dOut[i]!
    }
    const norm = Math.sqrt(squares)
    for (let i = start; i < start + columns; i++) {
      dX[i] = norm < eps ? dOut[i]! / eps : (dOut[i]! - (x[i]! * dot) / squares) / norm
    }
  }
  return dX
}
