import { randomNormal } from '../../src/kernels/random.ts'
import type { Features } from '../../src/model/features.ts'

/** Features around well separated centres, without views, cluster after cluster, with their labels. */
export function blobs({
  clusters,
  each,
  dimension,
  seed,
  spread = 0.15,
}: {
  readonly clusters: number
  /** Images of a cluster. */
  readonly each: number
  readonly dimension: number
  readonly seed: number
  /** Deviation around a centre, whose own entries are standard normal. */
  readonly spread?: number
}): { features: Features; labels: Int32Array } {
  const count = clusters * each
  const labels = Int32Array.from({ length: count }, (_, i) => Math.floor(i / each))
  const clean = Float32Array.from({ length: count * dimension }, (_, i) => {
    const centre = randomNormal(
      seed,
      1,
      labels[Math.floor(i / dimension)]! * dimension + (i % dimension),
    )
    return centre + spread * randomNormal(seed, 2, i)
  })
  return { features: { count, dimension, views: 0, clean, augmented: new Float32Array() }, labels }
}
