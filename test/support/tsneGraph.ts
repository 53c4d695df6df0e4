import type { Device } from '../../src/runtime/device.ts'
import type { TsneGraph } from '../../src/runtime/ops/tsne.ts'
import type { SparseRows } from '../../src/train/tsneGraph.ts'
import { randomArray } from './random.ts'

/** A symmetric matrix [n, n] that sums to 1, with about every second entry 0. */
export function symmetricMatrix(n: number, seed: number): Float32Array<ArrayBuffer> {
  const draw = randomArray(n * n, seed)
  const matrix = new Float32Array(n * n)
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < i; j++) {
      matrix[i * n + j] = matrix[j * n + i] = Math.max(0, draw[i * n + j]!)
    }
  }
  const sum = matrix.reduce((a, b) => a + b, 0)
  return matrix.map((value) => value / sum)
}

/** The entries above 0 of a matrix [n, n], by rows. */
export function sparseRows(matrix: ArrayLike<number>, n: number): SparseRows {
  const starts = [0]
  const columns: number[] = []
  const weights: number[] = []
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) {
      if (!(matrix[i * n + j]! > 0)) continue
      columns.push(j)
      weights.push(matrix[i * n + j]!)
    }
    starts.push(columns.length)
  }
  return {
    starts: Uint32Array.from(starts),
    columns: Uint32Array.from(columns),
    weights: Float32Array.from(weights),
  }
}

/** The same as the graph that t-SNE's ops take. */
export function sparse(device: Device, matrix: ArrayLike<number>, n: number): TsneGraph {
  const { starts, columns, weights } = sparseRows(matrix, n)
  return {
    starts: device.tensor(starts, [starts.length]),
    columns: device.tensor(columns, [columns.length]),
    weights: device.tensor(weights, [weights.length]),
  }
}
