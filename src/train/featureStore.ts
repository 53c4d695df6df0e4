import { normalizeRows, type Features } from '../model/features.ts'
import type { Device } from '../runtime/device.ts'
import { keep, type Tensor } from '../runtime/tensor.ts'

export interface StoreChunk {
  /** Row of the whole store that is the chunk's first. */
  readonly firstRow: number
  readonly rows: number
  /** [rows, D] */
  readonly tensor: Tensor<'f32'>
}

/**
 * Features on the GPU, L2-normalised unless told otherwise, as chunks that each fit one binding. Row v·N + i is view v of
 * image i; view 0 is the clean image.
 */
export class FeatureStore {
  readonly count: number
  readonly dimension: number
  /** Views of every image, the clean one included. */
  readonly views: number
  readonly chunks: readonly StoreChunk[]
  /** [N, D]: the clean features on the host, as on the GPU. */
  readonly clean: Float32Array
  /** Standard deviation of all entries, the unit of feature noise. */
  readonly deviation: number

  /** @param normalize whether rows are brought to length 1 */
  constructor(device: Device, features: Features, normalize = true) {
    const { count, dimension } = features
    this.count = count
    this.dimension = dimension
    this.views = 1 + features.views
    const data = new Float32Array(this.views * count * dimension)
    data.set(features.clean)
    data.set(features.augmented, count * dimension)
    if (normalize) normalizeRows(data, dimension)
    this.clean = data.subarray(0, count * dimension)
    this.deviation = standardDeviation(() => [data])
    this.chunks = storeChunks(device, this.views * count, dimension, (first, rows, shape) =>
      device.constant(data.subarray(first * dimension, (first + rows) * dimension), shape),
    )
  }

  dispose(): void {
    this.chunks.forEach(({ tensor }) => tensor.dispose())
  }
}

/** Tensors for `total` rows, each of which fits one binding. */
export function storeChunks(
  device: Device,
  total: number,
  dimension: number,
  make: (firstRow: number, rows: number, shape: readonly [number, number]) => Tensor<'f32'>,
): StoreChunk[] {
  const most = Math.floor(device.limits.maxStorageBufferBindingSize / (dimension * 4))
  const chunks: StoreChunk[] = []
  try {
    for (let firstRow = 0; firstRow < total; firstRow += most) {
      const rows = Math.min(most, total - firstRow)
      chunks.push({ firstRow, rows, tensor: keep(make(firstRow, rows, [rows, dimension])) })
    }
  } catch (error) {
    chunks.forEach(({ tensor }) => tensor.dispose())
    throw error
  }
  return chunks
}

/**
 * Of all values together.
 *
 * @param parts gives them, in order and in parts, whenever it is called
 */
export function standardDeviation(parts: () => Iterable<Float32Array>): number {
  let sum = 0
  let count = 0
  for (const part of parts()) {
    for (const value of part) sum += value
    count += part.length
  }
  const mean = sum / count
  let squares = 0
  for (const part of parts()) for (const value of part) squares += (value - mean) ** 2
  return Math.sqrt(squares / Math.max(count - 1, 1))
}
