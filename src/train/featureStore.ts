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
    this.deviation = standardDeviation(data)
    const most = Math.floor(device.limits.maxStorageBufferBindingSize / (dimension * 4))
    const total = this.views * count
    const chunks: StoreChunk[] = []
    for (let firstRow = 0; firstRow < total; firstRow += most) {
      const rows = Math.min(most, total - firstRow)
      const part = data.subarray(firstRow * dimension, (firstRow + rows) * dimension)
      chunks.push({ firstRow, rows, tensor: keep(device.constant(part, [rows, dimension])) })
    }
    this.chunks = chunks
  }

  dispose(): void {
    this.chunks.forEach(({ tensor }) => tensor.dispose())
  }
}

function standardDeviation(data: Float32Array): number {
  let sum = 0
  for (const value of data) sum += value
  const mean = sum / data.length
  let squares = 0
  for (const value of data) squares += (value - mean) ** 2
  return Math.sqrt(squares / Math.max(data.length - 1, 1))
}
