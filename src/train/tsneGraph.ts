import type { NearestLists } from './neighbours.ts'

/** A sparse symmetric matrix by rows (CSR), its columns ascending. */
export interface SparseRows {
  /** [N + 1] */
  readonly starts: Uint32Array<ArrayBuffer>
  readonly columns: Uint32Array<ArrayBuffer>
  readonly weights: Float32Array<ArrayBuffer>
}

/** Below this an f32 loses digits, and far below it is 0, whose logarithm the divergence can't take. */
const LEAST = 1e-37

/** Entries of a matrix by row, in any number of arrays of the same rows. */
interface Entries {
  readonly starts: Uint32Array
  readonly columns: Uint32Array
  readonly values: Float64Array
}

/**
 * Joint probabilities of t-SNE, p_ij = (p_{j|i} + p_{i|j})/2N, of conditional ones over the nearest
 * rows. Every sum has two terms, so its order is no question.
 *
 * @param conditional [N, k], of the rows `lists.nearest`
 */
export function jointProbabilities(
  { nearest, k }: Pick<NearestLists, 'nearest' | 'k'>,
  conditional: Float32Array,
): SparseRows {
  const count = nearest.length / k
  // Transposed twice: rows are visited in order, so that columns come out ascending.
  const backward = transpose(
    {
      starts: Uint32Array.from({ length: count + 1 }, (_, row) => row * k),
      columns: nearest,
      values: Float64Array.from(conditional),
    },
    count,
  )
  const forward = transpose(backward, count)
  return addRows(forward, backward, 1 / (2 * count), count)
}

function transpose({ starts, columns, values }: Entries, count: number): Entries {
  const ends = new Uint32Array(count + 1)
  for (const column of columns) ends[column + 1]!++
  for (let i = 0; i < count; i++) ends[i + 1]! += ends[i]!
  const out = {
    starts: ends.slice(),
    columns: new Uint32Array(columns.length),
    values: new Float64Array(columns.length),
  }
  const next = ends.slice(0, count)
  for (let row = 0; row < count; row++) {
    for (let e = starts[row]!; e < starts[row + 1]!; e++) {
      const to = next[columns[e]!]!++
      out.columns[to] = row
      out.values[to] = values[e]!
    }
  }
  return out
}

/** factor · (a + b), by merging ascending rows. */
function addRows(a: Entries, b: Entries, factor: number, count: number): SparseRows {
  const starts = new Uint32Array(count + 1)
  const columns = new Uint32Array(a.columns.length + b.columns.length)
  const weights = new Float32Array(columns.length)
  let size = 0
  for (let row = 0; row < count; row++) {
    let [i, j] = [a.starts[row]!, b.starts[row]!]
    const [iEnd, jEnd] = [a.starts[row + 1]!, b.starts[row + 1]!]
    while (i < iEnd || j < jEnd) {
      const column = Math.min(
        i < iEnd ? a.columns[i]! : Infinity,
        j < jEnd ? b.columns[j]! : Infinity,
      )
      let sum = 0
      if (i < iEnd && a.columns[i] === column) sum += a.values[i++]!
      if (j < jEnd && b.columns[j] === column) sum += b.values[j++]!
      if (sum * factor < LEAST) continue
      columns[size] = column
      weights[size++] = sum * factor
    }
    starts[row + 1] = size
  }
  return { starts, columns: columns.slice(0, size), weights: weights.slice(0, size) }
}
