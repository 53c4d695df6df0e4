import { crossEntropyBackwardKernel, crossEntropyKernel } from '../../kernels/crossEntropy.ts'
import { rowsOf } from '../rows.ts'
import { expect, expectShape } from '../shape.ts'
import { apply, type Op } from '../tape.ts'
import type { Tensor } from '../tensor.ts'
import { mean } from './reduce.ts'

interface Attributes {
  readonly labels: Tensor<'u32'>
  readonly smoothing: number
}

interface Saved {
  readonly logits: Tensor<'f32'>
  /** [rows]: the log-sum-exp of every row. */
  readonly logs: Tensor<'f32'>
  readonly labels: Tensor<'u32'>
}

const crossEntropyOp: Op<{ logits: Tensor<'f32'> }, Attributes, Saved> = {
  name: 'crossEntropy',
  forward({ logits }, { labels, smoothing }) {
    const { device, shape } = logits
    const { rows, columns, options } = rowsOf(logits)
    const out = device.empty(shape.slice(0, -1))
    const logs = device.empty([rows])
    const kernel = crossEntropyKernel(options.lanes)
    device.dispatch(kernel, { x: logits, labels, out, logs }, { rows, columns, smoothing })
    return { out, saved: { logits, logs, labels } }
  },
  backward({ gradient: dOut, saved: { logits: x, logs, labels }, attributes, output }) {
    const { rows, columns, options } = rowsOf(x)
    const { smoothing } = attributes
    const dX = output('logits')
    const kernel = crossEntropyBackwardKernel(options.lanes)
    x.device.dispatch(kernel, { x, labels, logs, dOut, dX }, { rows, columns, smoothing })
    return { logits: dX }
  },
}

export interface CrossEntropyOptions {
  /** ε of label smoothing, from 0 to 1: ε/K of the target goes to every class. Default 0. */
  readonly labelSmoothing?: number
  /** `mean` over all rows, or `rows`: one loss for each. Default `mean`. */
  readonly reduction?: 'mean' | 'rows'
}

/**
 * Cross-entropy of logits with integer labels, as `torch.nn.functional.cross_entropy`:
 * ln Σ exp(z) − z_label, with label smoothing where that is asked for.
 *
 * @param logits [..., K]
 * @param labels [...], from 0 to K − 1; a larger one counts as K − 1
 * @returns [1], the mean over all rows; with `rows`, [...]
 * @throws KeeplightError `validation` when shapes do not fit or labelSmoothing is out of range
 */
export function crossEntropy(
  logits: Tensor<'f32'>,
  labels: Tensor<'u32'>,
  { labelSmoothing: smoothing = 0, reduction = 'mean' }: CrossEntropyOptions = {},
): Tensor<'f32'> {
  expect(logits.shape.length >= 2 && logits.dtype === 'f32', 'crossEntropy', () => {
    return `logits is ${logits.toString()}, expected f32 [..., K]`
  })
  expectShape('crossEntropy', 'labels', labels.shape, logits.shape.slice(0, -1))
  expect(labels.dtype === 'u32', 'crossEntropy', () => {
    return `labels is ${labels.toString()}, expected u32`
  })
  expect(smoothing >= 0 && smoothing <= 1, 'crossEntropy', () => {
    return `labelSmoothing is ${smoothing}, expected 0 to 1`
  })
  const rows = apply(crossEntropyOp, { logits }, { labels, smoothing })
  if (reduction === 'rows') return rows
  const out = mean(rows)
  rows.dispose()
  return out
}
