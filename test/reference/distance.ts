/** Squared distances in f64: x [n, d], y [m, d] → [n, m]. */
export function squaredDistances(
  x: ArrayLike<number>,
  y: ArrayLike<number>,
  dimension: number,
): Float64Array {
  const [n, m] = [x.length / dimension, y.length / dimension]
  const out = new Float64Array(n * m)
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < m; j++) {
      let sum = 0
      for (let d = 0; d < dimension; d++)
        sum += (x[i * dimension + d]! - y[j * dimension + d]!) ** 2
      out[i * m + j] = sum
    }
  }
  return out
}

/** The k smallest columns of each row, ascending, ties by number; `skip(row)` names one to leave out. */
export function smallest(
  matrix: ArrayLike<number>,
  columns: number,
  k: number,
  skip: (row: number) => number = () => -1,
): number[][] {
  return Array.from({ length: matrix.length / columns }, (_, row) => {
    const line = Array.from({ length: columns }, (_, j) => matrix[row * columns + j]!)
    return Array.from(line.keys())
      .filter((j) => j !== skip(row))
      .sort((a, b) => line[a]! - line[b]! || a - b)
      .slice(0, k)
  })
}
