import { softmax } from '../../runtime/ops/softmax.ts'
import { scope } from '../../runtime/tensor.ts'
import type { Adapter } from '../../train/adapter.ts'
import type { StudyData } from './data.ts'

/** About `images` of the scored images, of each class as many, in the order of the classes. */
export function sampleOf(
  { scoredLabels, k }: Pick<StudyData, 'scoredLabels' | 'k'>,
  images: number,
): number[] {
  const each = Math.max(1, Math.round(images / k))
  return Array.from({ length: k }, (_, label) => {
    const own = Array.from(scoredLabels.keys()).filter((i) => scoredLabels[i] === label)
    return own.slice(0, each)
  }).flat()
}

/** Some rows of a matrix. */
export function rowsOf(
  data: Float32Array,
  dimension: number,
  indices: readonly number[],
): Float32Array {
  const rows = new Float32Array(indices.length * dimension)
  indices.forEach((index, i) => {
    rows.set(data.subarray(index * dimension, (index + 1) * dimension), i * dimension)
  })
  return rows
}

/** Logits and probabilities of rows [n, d] by the one run of an adapter, [n, K] each. */
export async function readLogits(
  adapter: Adapter,
  rows: Float32Array,
  count: number,
): Promise<{
  readonly logits: Float32Array<ArrayBuffer>
  readonly probabilities: Float32Array<ArrayBuffer>
}> {
  const { device } = adapter.parameters
  const tensors = scope(() => {
    const x = device.tensor(rows, [count, rows.length / count])
    const logits = adapter.logits(x, false)
    return [logits, softmax(logits)] as const
  })
  try {
    return { logits: await tensors[0].read(), probabilities: await tensors[1].read() }
  } finally {
    tensors.forEach((tensor) => tensor.dispose())
  }
}
