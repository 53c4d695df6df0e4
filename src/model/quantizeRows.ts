/** A matrix in int8 on the host: row i stands for values[i] · scales[i]. */
export interface QuantizedRows {
  readonly values: Int8Array<ArrayBuffer>
  readonly scales: Float32Array<ArrayBuffer>
}

/** Adding and taking away 1.5 · 2^52 rounds an f64 to the nearest integer, ties to even. */
const ROUND = 1.5 * 2 ** 52

/**
 * What the op `quantize` does, on the host, so that the bits do not depend on an adapter's division:
 * symmetric int8 with scale = max |row| / 127, so |error| ≤ scale / 2.
 *
 * @param values finite
 */
export function quantizeRows(values: Float32Array, rows: number, columns: number): QuantizedRows {
  const quantized = new Int8Array(rows * columns)
  const scales = new Float32Array(rows)
  for (let row = 0; row < rows; row++) {
    const start = row * columns
    let most = 0
    for (let i = start; i < start + columns; i++) most = Math.max(most, Math.abs(values[i]))
    const scale = Math.fround(most / 127)
    scales[row] = scale
    // A row of subnormals has no scale that its values could be divided by.
    if (scale === 0) continue
    for (let i = start; i < start + columns; i++) {
      const steps = Math.fround(values[i] / scale) + ROUND - ROUND
      quantized[i] = Math.max(-127, Math.min(127, steps))
    }
  }
  return { values: quantized, scales }
}

/** The values that an int8 matrix stands for. */
export function dequantizeRows({ values, scales }: QuantizedRows): Float32Array<ArrayBuffer> {
  const columns = values.length / scales.length
  const floats = new Float32Array(values.length)
  for (let row = 0; row < scales.length; row++) {
    const scale = scales[row]
    for (let i = row * columns; i < (row + 1) * columns; i++) floats[i] = values[i] * scale
  }
  return floats
}
