import { defineKernel, kernelFamily, read, readWrite, splitRows } from './kernel.ts'
import { eachInRow, rowKernelWgsl, rowWorkgroups, type Lanes, type RowOptions } from './rows.ts'

/** Rows are walked element by element: one of them is picked by its label. */
const rowOptions = (lanes: Lanes): RowOptions => ({ lanes, vector: false })

/**
 * Cross-entropy of each row of x [rows, columns] with the class `labels` [rows] names, and label
 * smoothing ε (Szegedy et al. 2016):
 *
 *   out = ln Σ exp(x) − (1 − ε) x_label − ε/K Σ_k x_k
 *
 * `logs` [rows] keeps ln Σ exp(x). All of it relative to the row's maximum, so that nothing overflows.
 * A label past the end counts as the last class: a read outside the row could give anything.
 */
export const crossEntropyKernel = kernelFamily((lanes: Lanes) =>
  defineKernel({
    label: `crossEntropy.${lanes}`,
    splits: [splitRows(['x'], { labels: 1, out: 1, logs: 1 })],
    bindings: {
      x: read('f32'),
      labels: read('u32'),
      out: readWrite('f32'),
      logs: readWrite('f32'),
    },
    params: { rows: 'u32', columns: 'u32', smoothing: 'f32' },
    workgroups: rowWorkgroups(lanes),
    wgsl: rowKernelWgsl(
      rowOptions(lanes),
      /* wgsl */ `
  var largest = -3.40282e38;
  ${eachInRow(rowOptions(lanes), 'largest = max(largest, x[i]);')}
  let top = maxOverRow(largest, lane);
  var sum = 0.0;
  var linear = 0.0;
  ${eachInRow(rowOptions(lanes), 'sum += exp(x[i] - top); linear += x[i] - top;')}
  let total = sumOverRow(sum, lane);
  let shifted = sumOverRow(linear, lane);
  if (lane == 0u) {
    let own = x[start + min(labels[row], width - 1u)] - top;
    var expected = own;
    // Without smoothing a masked class, −∞, stays out of it.
    if (params.smoothing > 0.0) {
      expected = (1.0 - params.smoothing) * own + params.smoothing / f32(width) * shifted;
    }
    out[row] = log(total) - expected;
    logs[row] = top + log(total);
  }`,
    ),
  }),
)

/** dX = dOut · (softmax(x) − (1 − ε)[k = label] − ε/K), from the saved `logs`. */
export const crossEntropyBackwardKernel = kernelFamily((lanes: Lanes) =>
  defineKernel({
    label: `crossEntropy.backward.${lanes}`,
    splits: [splitRows(['x', 'dX'], { labels: 1, logs: 1, dOut: 1 })],
    bindings: {
      x: read('f32'),
      labels: read('u32'),
      logs: read('f32'),
      dOut: read('f32'),
      dX: readWrite('f32'),
    },
    params: { rows: 'u32', columns: 'u32', smoothing: 'f32' },
    workgroups: rowWorkgroups(lanes),
    wgsl: rowKernelWgsl(
      rowOptions(lanes),
      /* wgsl */ `
  let label = min(labels[row], width - 1u);
  let others = params.smoothing / f32(width);
  ${eachInRow(
    rowOptions(lanes),
    /* wgsl */ `
    let expected = select(others, others + 1.0 - params.smoothing, c == label);
    dX[i] = dOut[row] * (exp(x[i] - logs[row]) - expected);`,
  )}`,
    ),
  }),
)
