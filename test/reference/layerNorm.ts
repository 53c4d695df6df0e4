/** Layer norm of each row of x [rows, columns], columns = weight's length, in f64. */
export function layerNorm(
  x: ArrayLike<number>,
  weight: ArrayLike<number>,
  bias: ArrayLike<number>,
  eps: number,
): Float64Array {
  const columns = weight.length
  const out = new Float64Array(x.length)
  for (let start = 0; start < x.length; start += columns) {
    let sum = 0
    for (let c = 0; c < columns; c++) sum += x[start + c]!
    const mean = sum / columns
    let squares = 0
    for (let c = 0; c < columns; c++) squares += (x[start + c]! - mean) ** 2
    const scale = 1 / Math.sqrt(squares / columns + eps)
    for (let c = 0; c < columns; c++) {
      out[start + c] = (x[start + c]! - mean) * scale * weight[c]! + bias[c]!
    }
  }
  return out
}

/** Gradients of {@link layerNorm}, written out from the normalised values z. */
export function layerNormBackward(
  x: ArrayLike<number>,
  weight: ArrayLike<number>,
  dOut: ArrayLike<number>,
  eps: number,
): { dX: Float64Array; dWeight: Float64Array; statistics: Float64Array } {
  const columns = weight.length
  const rows = x.length / columns
  const dX = new Float64Array(x.length)
  const dWeight = new Float64Array(columns)
  const statistics = new Float64Array(2 * rows)
  for (let row = 0; row < rows; row++) {
    const start = row * columns
    let mean = 0
    for (let c = 0; c < columns; c++) mean += x[start + c]! / columns
    let variance = 0
    for (let c = 0; c < columns; c++) variance += (x[start + c]! - mean) ** 2 / columns
    const scale = 1 / Math.sqrt(variance + eps)
    statistics.set([mean, scale], 2 * row)
    let meanG = 0
    let meanGZ = 0
    for (let c = 0; c < columns; c++) {
      const z = (x[start + c]! - mean) * scale
      meanG += (dOut[start + c]! * weight[c]!) / columns
      meanGZ += (dOut[start + c]! * weight[c]! * z) / columns
      dWeight[c]! += dOut[start + c]! * z
    }
    for (let c = 0; c < columns; c++) {
      const z = (x[start + c]! - mean) * scale
      dX[start + c] = scale * (dOut[start + c]! * weight[c]! - meanG - z * meanGZ)
    }
  }
  return { dX, dWeight, statistics }
}
