/** Symmetric int8 by rows, in plain loops: scale = max |row| / 127, value = x / scale to the nearest even. */
export function quantize(
  x: ArrayLike<number>,
  columns: number,
): { values: number[]; scales: number[] } {
  const values: number[] = []
  const scales: number[] = []
  for (let start = 0; start < x.length; start += columns) {
    let largest = 0
    for (let i = start; i < start + columns; i++) largest = Math.max(largest, Math.abs(x[i]!))
    const scale = Math.fround(largest / 127)
    scales.push(scale)
    for (let i = start; i < start + columns; i++)
      values.push(scale === 0 ? 0 : even(x[i]! / scale) + 0)
  }
  return { values, scales }
}

function even(x: number): number {
  const below = Math.floor(x)
  if (x - below !== 0.5) return Math.round(x)
  return below % 2 === 0 ? below : below + 1
}
