/** Sums of x [rows, columns] in f64: over everything, over columns, or over rows. */
export function sum(
  x: ArrayLike<number>,
  columns: number,
  over: 'all' | 'columns' | 'rows',
): Float64Array {
  const rows = x.length / columns
  const out = new Float64Array({ all: 1, columns: rows, rows: columns }[over])
  for (let i = 0; i < x.length; i++) {
    out[{ all: 0, columns: Math.floor(i / columns), rows: i % columns }[over]]! += x[i]!
  }
  return out
}
