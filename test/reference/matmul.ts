/** out[m, n] = Σ_k a(m, k) · b(k, n) in f64. */
export function matmul(
  a: ArrayLike<number>,
  b: ArrayLike<number>,
  { m, n, k }: { m: number; n: number; k: number },
  { transposeA = false, transposeB = false } = {},
): Float64Array {
  const out = new Float64Array(m * n)
  for (let row = 0; row < m; row++) {
    for (let column = 0; column < n; column++) {
      let sum = 0
      for (let i = 0; i < k; i++) {
        const left = transposeA ? a[i * m + row]! : a[row * k + i]!
        const right = transposeB ? b[column * k + i]! : b[i * n + column]!
        sum += left * right
      }
      out[row * n + column] = sum
    }
  }
  return out
}

/** Σ(actual − expected)² / Σ expected²: the measure of the long list of shapes; NaN if any value is. */
export function normalizedError(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  let error = 0
  let scale = 0
  for (let i = 0; i < expected.length; i++) {
    error += (actual[i]! - expected[i]!) ** 2
    scale += expected[i]! ** 2
  }
  return error / scale
}
