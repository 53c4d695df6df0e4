import type { Device } from '../runtime/device.ts'
import { argmax } from '../runtime/ops/extremum.ts'
import { softmax } from '../runtime/ops/softmax.ts'
import { scope, type Tensor } from '../runtime/tensor.ts'
import type { Adapter } from './adapter.ts'

/** Features to predict for. */
export interface PredictionInput {
  /** [N, d] */
  readonly data: Float32Array
  readonly count: number
  readonly dimension: number
  /** Of one dispatch. The same for any number of runs, or the bits of a run might depend on it. */
  readonly rows: number
}

/** Every run's cluster of every image: R arrays [N], computed on the GPU. */
export async function predictRuns(
  adapter: Adapter,
  input: PredictionInput,
): Promise<Int32Array<ArrayBuffer>[]> {
  const { runs } = adapter
  const assignments = Array.from({ length: runs }, () => new Int32Array(input.count))
  await eachPart(
    input,
    (x, rows) => {
      const columns = argmax(softmax(adapter.logits(x, false)), { axis: -1 })
      return columns.view([runs, rows])
    },
    adapter.parameters.device,
    (part, first, rows) => {
      assignments.forEach((all, run) => all.set(part.subarray(run * rows, (run + 1) * rows), first))
    },
  )
  return assignments
}

/** Probabilities [N, K] of an adapter of one run. */
export async function predictProbabilities(
  adapter: Adapter,
  input: PredictionInput,
): Promise<Float32Array<ArrayBuffer>> {
  const k = adapter.outputs
  const probabilities = new Float32Array(input.count * k)
  await eachPart(
    input,
    (x) => softmax(adapter.logits(x, false)),
    adapter.parameters.device,
    (part, first) => probabilities.set(part, first * k),
  )
  return probabilities
}

async function eachPart<D extends 'f32' | 'u32'>(
  { data, count, dimension, rows: most }: PredictionInput,
  compute: (x: Tensor<'f32'>, rows: number) => Tensor<D>,
  device: Device,
  take: (part: Float32Array | Uint32Array, first: number, rows: number) => void,
): Promise<void> {
  for (let first = 0; first < count; first += most) {
    const rows = Math.min(most, count - first)
    const part = data.subarray(first * dimension, (first + rows) * dimension)
    const output = scope(() => compute(device.tensor(part, [rows, dimension]), rows))
    try {
      take(await output.read(), first, rows)
    } finally {
      output.dispose()
    }
  }
}

/** Column of the largest value of each row; ties to the lowest. */
export function argmaxRows(data: Float32Array, columns: number): Int32Array<ArrayBuffer> {
  return Int32Array.from({ length: data.length / columns }, (_, row) => {
    let best = 0
    for (let c = 1; c < columns; c++) {
      if (data[row * columns + c]! > data[row * columns + best]!) best = c
    }
    return best
  })
}

/**
 * Mean squared distance of each row to the mean of its cluster, in f64: by Σ‖x‖² − Σ ‖Sₖ‖²/nₖ over the
 * clusters' sums Sₖ, which is one pass over the rows.
 */
export function inertiaOf(
  data: Float32Array,
  dimension: number,
  assignments: ArrayLike<number>,
  k: number,
): number {
  const sums = new Float64Array(k * dimension)
  const sizes = new Uint32Array(k)
  const count = data.length / dimension
  let squares = 0
  for (let row = 0; row < count; row++) {
    const cluster = assignments[row]!
    sizes[cluster]!++
    for (let d = 0; d < dimension; d++) {
      const value = data[row * dimension + d]!
      squares += value * value
      sums[cluster * dimension + d]! += value
    }
  }
  const within = sums.reduce(
    (sum, value, i) => sum - value ** 2 / Math.max(sizes[Math.floor(i / dimension)]!, 1),
    squares,
  )
  return Math.max(within, 0) / count
}
