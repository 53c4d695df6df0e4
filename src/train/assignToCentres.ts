import type { Device } from '../runtime/device.ts'
import { nearestCentre } from '../runtime/ops/distance.ts'
import { withRecovery } from '../runtime/recovery.ts'
import { scope } from '../runtime/tensor.ts'

/** Differences that one dispatch computes at most: a second or so on a CPU, milliseconds on a GPU. */
const MAX_WORK = 2 ** 32
const MAX_BYTES = 2 ** 26

/**
 * The nearest centre of every row, ties to the lowest number: partitions rows that a clustering was not
 * fitted on.
 *
 * @param points [N, D]
 * @param centres [k, D]
 * @returns [N]
 */
export async function assignToCentres(
  device: Device,
  points: { readonly count: number; dimension: number; data: Float32Array | Uint8Array },
  centres: Float32Array,
): Promise<Int32Array> {
  const { count, dimension, data } = points
  const k = centres.length / dimension
  const assignments = new Int32Array(count)
  const quick = Math.floor(MAX_WORK / (k * dimension))
  const block = Math.max(1, Math.min(quick, Math.floor(MAX_BYTES / (4 * dimension))))
  for (let start = 0; start < count; start += block) {
    const rows = Math.min(block, count - start)
    const part = Float32Array.from(data.subarray(start * dimension, (start + rows) * dimension))
    const found = await withRecovery(device, async () => {
      const { nearest, squared } = scope(() =>
        nearestCentre(
          device.tensor(part, [rows, dimension]),
          device.tensor(centres, [k, dimension]),
        ),
      )
      try {
        return await nearest.read()
      } finally {
        nearest.dispose()
        squared.dispose()
      }
    })
    assignments.set(found, start)
  }
  return assignments
}
