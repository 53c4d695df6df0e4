import { topKKernel } from '../kernels/topK.ts'
import type { Device } from '../runtime/device.ts'
import { matmul } from '../runtime/ops/matmul.ts'
import { scope } from '../runtime/tensor.ts'

/** Similarities that are held at once: 64 MiB, well below the default binding limit. */
const MAX_SIMILARITIES = 2 ** 24

/**
 * The nearest other rows of every row by dot product (cosine, when the rows are normalised), computed
 * on the GPU in blocks, without storing the N×N matrix.
 *
 * @param data [count, dimension]
 * @returns [count, neighbours] row numbers, nearest first, ties by number
 */
export async function nearestNeighbours(
  device: Device,
  data: Float32Array,
  { count, dimension, neighbours }: { count: number; dimension: number; neighbours: number },
): Promise<Uint32Array<ArrayBuffer>> {
  const wanted = Math.min(neighbours + 1, count)
  const most = Math.floor(device.limits.maxStorageBufferBindingSize / (dimension * 4))
  const columns = Math.min(count, most, MAX_SIMILARITIES / 16)
  const block = Math.max(1, Math.min(count, Math.floor(MAX_SIMILARITIES / columns)))
  const nearest = new Uint32Array(count * neighbours)
  for (let start = 0; start < count; start += block) {
    const rows = Math.min(block, count - start)
    const queries = device.tensor(data.subarray(start * dimension, (start + rows) * dimension), [
      rows,
      dimension,
    ])
    const found: Candidate[][] = Array.from({ length: rows }, () => [])
    for (let first = 0; first < count; first += columns) {
      const width = Math.min(columns, count - first)
      const part = data.subarray(first * dimension, (first + width) * dimension)
      const k = Math.min(wanted, width)
      const { values, indices } = scope(() => {
        const keys = device.tensor(part, [width, dimension])
        const x = matmul(queries, keys, { transposeB: true })
        const best = { values: device.empty([rows, k]), indices: device.empty([rows, k], 'u32') }
        device.dispatch(topKKernel, { x, ...best }, { rows, columns: width, k })
        return best
      })
      const [similarity, index] = [await values.read(), await indices.read()]
      values.dispose()
      indices.dispose()
      for (let i = 0; i < rows * k; i++) {
        found[Math.floor(i / k)]!.push({ similarity: similarity[i]!, index: first + index[i]! })
      }
    }
    queries.dispose()
    found.forEach((candidates, row) => {
      const others = candidates.filter(({ index }) => index !== start + row).sort(nearestFirst)
      // A collection smaller than the wanted neighbourhood repeats what there is.
      for (let i = 0; i < neighbours; i++) {
        nearest[(start + row) * neighbours + i] =
          others[i % Math.max(others.length, 1)]?.index ?? row
      }
    })
  }
  return nearest
}

interface Candidate {
  readonly similarity: number
  readonly index: number
}

const nearestFirst = (a: Candidate, b: Candidate): number =>
  b.similarity - a.similarity || a.index - b.index
