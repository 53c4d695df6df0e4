import { assertNotAborted } from '../model/ahead.ts'
import { normalizeRows } from '../model/features.ts'
import type { Device } from '../runtime/device.ts'
import { KeeplightError } from '../runtime/errors.ts'
import { softmax } from '../runtime/ops/softmax.ts'
import { scope } from '../runtime/tensor.ts'
import type { SavedHead } from './headFile.ts'
import { headKinds } from './headKinds.ts'
import { argmaxRows } from './predictRuns.ts'

/** What a head says of N images, on the host. */
export interface ClusterPrediction {
  /** N */
  readonly count: number
  readonly k: number
  /** [N, K] */
  readonly logits: Float32Array<ArrayBuffer>
  /** [N, K]: softmax of the logits. */
  readonly probabilities: Float32Array<ArrayBuffer>
  /** [N]: the most probable cluster, ties to the lowest. */
  readonly assignments: Int32Array
}

/** Rows that go through the head at once. */
const ROWS = 4096

/**
 * Clusters of images by a trained head, without training: the same numbers that `cluster` gave for the
 * images that it was trained on.
 *
 * @param features of the head's own model, as `embed` gives them; they are L2-normalised here
 * @throws KeeplightError `validation` for features of another size, `aborted` after `signal`
 */
export async function predictClusters(
  device: Device,
  head: Pick<SavedHead, 'weights' | 'method' | 'dimension' | 'k' | 'model'>,
  features: { readonly count: number; readonly dimension: number; readonly data: Float32Array },
  { signal }: { readonly signal?: AbortSignal | undefined } = {},
): Promise<ClusterPrediction> {
  const { k, dimension, weights, method } = head
  const { count, data } = features
  if (features.dimension !== dimension) {
    throw new KeeplightError(
      'validation',
      `predictClusters: features have ${features.dimension} values, the head takes ${dimension}; ` +
        `embed with its model, ${head.model}`,
    )
  }
  const logits = new Float32Array(count * k)
  const probabilities = new Float32Array(count * k)
  const open = headKinds[method]!.open(device, weights)
  try {
    for (let first = 0; first < count; first += ROWS) {
      assertNotAborted(signal)
      const rows = Math.min(ROWS, count - first)
      const part = data.slice(first * dimension, (first + rows) * dimension)
      normalizeRows(part, dimension)
      const outputs = scope(() => {
        const all = open.logits(device.tensor(part, [rows, dimension]))
        return [all, softmax(all)] as const
      })
      try {
        const [some, shares] = await Promise.all(outputs.map((output) => output.read()))
        logits.set(some!, first * k)
        probabilities.set(shares!, first * k)
      } finally {
        outputs.forEach((output) => output.dispose())
      }
    }
  } finally {
    open.dispose()
  }
  return { count, k, logits, probabilities, assignments: argmaxRows(probabilities, k) }
}
