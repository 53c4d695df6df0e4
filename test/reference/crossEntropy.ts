/** Cross-entropy with label smoothing for each row of x [rows, columns], in f64. */
export function crossEntropy(
  x: ArrayLike<number>,
  labels: ArrayLike<number>,
  columns: number,
  smoothing: number,
): Float64Array {
  return Float64Array.from({ length: x.length / columns }, (_, row) => {
    const z = Array.from({ length: columns }, (_, k) => x[row * columns + k]!)
    const top = Math.max(...z)
    const log = top + Math.log(z.reduce((sum, value) => sum + Math.exp(value - top), 0))
    const label = Math.min(labels[row]!, columns - 1)
    return z.reduce((loss, value, k) => {
      const target = (k === label ? 1 - smoothing : 0) + smoothing / columns
      return target === 0 ? loss : loss + target * (log - value)
    }, 0)
  })
}
