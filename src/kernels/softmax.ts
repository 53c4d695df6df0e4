import { defineKernel, kernelFamily, read, readWrite, splitRows } from './kernel.ts'
import { eachInRow, rowKernelWgsl, rowWorkgroups, type Lanes } from './rows.ts'

export interface SoftmaxOptions {
  /** Whether the result is log(softmax(x)). */
  readonly log: boolean
  readonly lanes: Lanes
}

const name = ({ log, lanes }: SoftmaxOptions): string =>
  `${log ? 'logSoftmax' : 'softmax'}.${lanes}`

/**
 * softmax or log-softmax of each row of x [rows, columns] → out, with the row's maximum taken off
 * first, so that no exponential overflows.
 */
export const softmaxKernel = kernelFamily((options: SoftmaxOptions) => {
  const { log, lanes } = options
  const each = (body: string): string => eachInRow(lanes, body)
  return defineKernel({
    label: name(options),
    splits: [splitRows(['x', 'out'])],
    bindings: { x: read('f32'), out: readWrite('f32') },
    params: { rows: 'u32', columns: 'u32' },
    workgroups: rowWorkgroups(lanes),
    wgsl: rowKernelWgsl(
      lanes,
      /* wgsl */ `
  var largest = x[start];
  ${each('largest = max(largest, x[i]);')}
  let top = maxOverRow(largest, lane);
  var sum = 0.0;
  ${each('sum += exp(x[i] - top);')}
  let total = sumOverRow(sum, lane);
  ${
    log
      ? `let shift = log(total);
  ${each('out[i] = (x[i] - top) - shift;')}`
      : each('out[i] = exp(x[i] - top) / total;')
  }`,
    ),
  })
})

/**
 * Gradient from the saved output.
 * softmax: dX = out · (dOut − Σ dOut·out). log-softmax: dX = dOut − exp(out) · Σ dOut.
 */
export const softmaxBackwardKernel = kernelFamily((options: SoftmaxOptions) => {
  const { log, lanes } = options
  const each = (body: string): string => eachInRow(lanes, body)
  return defineKernel({
    label: `${name(options)}.backward`,
    splits: [splitRows(['out', 'dOut', 'dX'])],
    bindings: { out: read('f32'), dOut: read('f32'), dX: readWrite('f32') },
    params: { rows: 'u32', columns: 'u32' },
    workgroups: rowWorkgroups(lanes),
    wgsl: rowKernelWgsl(
      lanes,
      /* wgsl */ `
  var sum = 0.0;
  ${each(log ? 'sum += dOut[i];' : 'sum += dOut[i] * out[i];')}
  let total = sumOverRow(sum, lane);
  ${each(log ? 'dX[i] = dOut[i] - exp(out[i]) * total;' : 'dX[i] = out[i] * (dOut[i] - total);')}`,
    ),
  })
})
