import type { Device } from '../runtime/device.ts'
import { nearestRows } from '../runtime/ops/distance.ts'
import type { Tensor } from '../runtime/tensor.ts'

/** Differences that one dispatch computes: a second or so on a CPU, milliseconds on a GPU. */
const WORK = 2 ** 33
/** Rows of a dispatch at least: fewer leave a GPU idle. A multiple of 64 rows starts at an aligned byte. */
const LEAST_ROWS = { software: 64, hardware: 1024 }

/** Lists of the nearest other rows of every row, ascending, ties by number. */
export interface NearestLists {
  /** Rows found for each. */
  readonly k: number
  /** [count, k] row numbers; 2³² − 1 where none is left that is finite. */
  readonly nearest: Uint32Array<ArrayBuffer>
  /** [count, k] squared Euclidean distances; 3.4e38 there. */
  readonly squared: Float32Array<ArrayBuffer>
}

/**
 * The k nearest other rows of every row, computed on the GPU in blocks, without storing the N×N matrix.
 *
 * @param data [count, dimension]
 * @param k 1 to count − 1, and to `MAX_NEAREST`
 */
export async function nearestLists(
  device: Device,
  data: Float32Array,
  { count, dimension, k }: { count: number; dimension: number; k: number },
): Promise<NearestLists> {
  const lists = {
    k,
    nearest: new Uint32Array(count * k),
    squared: new Float32Array(count * k),
  }
  // Parts whose rows and whose results fit one binding.
  const { maxStorageBufferBindingSize } = device.limits
  const fitting = Math.floor(maxStorageBufferBindingSize / (Math.max(dimension, k) * 4))
  const wide = Math.max(64, Math.floor(fitting / 64) * 64)
  const parts: Tensor<'f32'>[] = []
  for (let start = 0; start < count; start += wide) {
    const rows = Math.min(wide, count - start)
    const part = data.subarray(start * dimension, (start + rows) * dimension)
    parts.push(device.tensor(part, [rows, dimension]))
  }
  const least = LEAST_ROWS[device.adapter.software ? 'software' : 'hardware']
  const block = Math.max(least, Math.floor(WORK / (count * dimension) / 64) * 64)
  for (const [i, part] of parts.entries()) {
    const height = part.shape[0]!
    for (let start = 0; start < height; start += block) {
      const self = i * wide + start
      const x = part.rows(start, Math.min(block, height - start))
      const { nearest, squared } = nearestRows(x, parts, { k, self })
      lists.nearest.set(await nearest.read(), self * k)
      lists.squared.set(await squared.read(), self * k)
      for (const tensor of [x, nearest, squared]) tensor.dispose()
    }
  }
  parts.forEach((part) => part.dispose())
  return lists
}

/**
 * The nearest other rows of every row by Euclidean distance, which for normalised rows is the order of
 * their cosines.
 *
 * @param data [count, dimension]
 * @returns [count, neighbours] row numbers, nearest first, ties by number
 */
export async function nearestNeighbours(
  device: Device,
  data: Float32Array,
  { count, dimension, neighbours }: { count: number; dimension: number; neighbours: number },
): Promise<Uint32Array<ArrayBuffer>> {
  // A collection smaller than the wanted neighbourhood repeats what there is.
  const k = Math.min(neighbours, count - 1)
  if (k === 0) return new Uint32Array(count * neighbours)
  const { nearest } = await nearestLists(device, data, { count, dimension, k })
  return Uint32Array.from({ length: count * neighbours }, (_, at) => {
    const row = Math.floor(at / neighbours)
    const index = nearest[row * k + ((at % neighbours) % k)]!
    // A row that is not finite has no neighbours but itself.
    return index < count ? index : row
  })
}
