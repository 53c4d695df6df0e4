import { randomUniform } from '../../src/kernels/random.ts'

/**
 * Rows that greedy k-means++ takes as the centres of one restart, by plain loops. Exact, and so equal
 * to any order of adding up, as long as the sums of squared distances are exact in f32.
 */
export function seedRows(
  data: ArrayLike<number>,
  sizes: Record<'count' | 'dimension' | 'k' | 'seed' | 'stream', number>,
): number[] {
  const { count, dimension, k, seed, stream } = sizes
  let drawn = 0
  const draw = (): number => randomUniform(seed, stream, drawn++)
  const squared = (a: number, b: number): number => {
    let sum = 0
    for (let d = 0; d < dimension; d++) {
      sum += (data[a * dimension + d]! - data[b * dimension + d]!) ** 2
    }
    return sum
  }
  const joined = (nearest: readonly number[], centre: number): number[] =>
    nearest.map((distance, row) => Math.min(distance, squared(row, centre)))
  const total = (values: readonly number[]): number => values.reduce((sum, x) => sum + x, 0)
  const rows = [Math.floor(draw() * count)]
  let nearest = joined(Array<number>(count).fill(Infinity), rows[0]!)
  const trials = 2 + Math.floor(Math.log(k))
  while (rows.length < k) {
    const candidates = Array.from({ length: trials }, () => {
      let left = Math.fround(draw() * total(nearest))
      let row = 0
      while (row < count && left >= nearest[row]!) left -= nearest[row++]!
      return row
    })
    const sums = candidates.map((candidate) => total(joined(nearest, candidate)))
    const best = candidates[sums.indexOf(Math.min(...sums))]!
    rows.push(best)
    nearest = joined(nearest, best)
  }
  return rows
}
