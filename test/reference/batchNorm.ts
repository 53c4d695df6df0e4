export interface BatchNormCase {
  readonly rows: number
  readonly columns: number
  readonly eps: number
  readonly relu: boolean
}

/** Column means and biased variances in f64. */
export function statistics(
  x: ArrayLike<number>,
  { rows, columns }: Pick<BatchNormCase, 'rows' | 'columns'>,
): { mean: Float64Array; variance: Float64Array } {
  const mean = new Float64Array(columns)
  const variance = new Float64Array(columns)
  for (let i = 0; i < rows * columns; i++) mean[i % columns]! += x[i]! / rows
  for (let i = 0; i < rows * columns; i++) {
    variance[i % columns]! += (x[i]! - mean[i % columns]!) ** 2 / rows
  }
  return { mean, variance }
}

/** (x − mean)/√(variance + eps)·weight + bias, then ReLU, with given statistics. */
export function normalize(
  x: ArrayLike<number>,
  weight: ArrayLike<number>,
  bias: ArrayLike<number>,
  { mean, variance }: { mean: ArrayLike<number>; variance: ArrayLike<number> },
  { columns, eps, relu }: BatchNormCase,
): Float64Array {
  return Float64Array.from({ length: x.length }, (_, i) => {
    const c = i % columns
    const y = ((x[i]! - mean[c]!) / Math.sqrt(variance[c]! + eps)) * weight[c]! + bias[c]!
    return relu ? Math.max(y, 0) : y
  })
}
