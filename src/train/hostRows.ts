import type { Features } from '../model/features.ts'
import { standardDeviation } from './featureStore.ts'

/**
 * The rows of a feature store on the host, for collections larger than the GPU's memory: row v·N + i is
 * view v of image i, view 0 the clean image. Rows are brought to length 1 as they are copied, to the bits
 * that a `FeatureStore` holds, so that the features are not copied as a whole.
 */
export class HostRows {
  readonly count: number
  readonly dimension: number
  /** Views of every image, the clean one included. */
  readonly views: number
  /** Standard deviation of all entries, the unit of feature noise. */
  readonly deviation: number
  readonly #features: Features
  /** What each row is multiplied by; none: rows stay as they are. */
  readonly #scales: Float64Array | undefined

  /** @param normalize whether rows are brought to length 1 */
  constructor(features: Features, normalize = true) {
    const { count, dimension, views } = features
    this.count = count
    this.dimension = dimension
    this.views = 1 + views
    this.#features = features
    if (normalize) {
      this.#scales = Float64Array.from({ length: this.views * count }, (_, row) => {
        let squares = 0
        for (const value of this.#row(row)) squares += value * value
        return 1 / Math.max(Math.sqrt(squares), 1e-12)
      })
    }
    this.deviation = standardDeviation(() => this.#parts())
  }

  /** Copies a row to `out`, from element `at` on. */
  copy(row: number, out: Float32Array, at: number): void {
    const data = this.#row(row)
    if (this.#scales) {
      const scale = this.#scales[row]!
      for (let i = 0; i < data.length; i++) out[at + i] = data[i]! * scale
    } else out.set(data, at)
  }

  #row(row: number): Float32Array {
    const { count, dimension } = this
    const { clean, augmented } = this.#features
    const [data, first] = row < count ? [clean, row] : [augmented, row - count]
    return data.subarray(first * dimension, (first + 1) * dimension)
  }

  *#parts(): Generator<Float32Array> {
    const buffer = new Float32Array(this.dimension)
    for (let row = 0; row < this.views * this.count; row++) {
      this.copy(row, buffer, 0)
      yield buffer
    }
  }
}
