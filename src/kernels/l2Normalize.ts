import { defineKernel, kernelFamily, read, readWrite, splitRows } from './kernel.ts'
import {
  eachInRow,
  rowKernelWgsl,
  rowSuffix,
  rowType,
  rowWorkgroups,
  type RowOptions,
} from './rows.ts'

/** out = x / max(‖x‖, eps) for each row of x [rows, columns]; `norms` [rows] keeps ‖x‖. */
export const l2NormalizeKernel = kernelFamily((options: RowOptions) =>
  defineKernel({
    label: `l2Normalize.${rowSuffix(options)}`,
    splits: [splitRows(['x', 'out'], { norms: 1 })],
    bindings: {
      x: read(rowType(options.vector)),
      out: readWrite(rowType(options.vector)),
      norms: readWrite('f32'),
    },
    params: { rows: 'u32', columns: 'u32', eps: 'f32' },
    workgroups: rowWorkgroups(options.lanes),
    wgsl: rowKernelWgsl(
      options,
      /* wgsl */ `
  var sum = Element();
  ${eachInRow(options, 'sum += x[i] * x[i];')}
  let norm = sqrt(sumOverRow(added(sum), lane));
  let divisor = max(norm, params.eps);
  ${eachInRow(options, 'out[i] = x[i] / divisor;')}
  if (lane == 0u) { norms[row] = norm; }`,
    ),
  }),
)

/** dX = (dOut − out · Σ dOut·out) / ‖x‖; a row with ‖x‖ < eps was only scaled: dX = dOut / eps. */
export const l2NormalizeBackwardKernel = kernelFamily((options: RowOptions) =>
  defineKernel({
    label: `l2Normalize.backward.${rowSuffix(options)}`,
    splits: [splitRows(['out', 'dOut', 'dX'], { norms: 1 })],
    bindings: {
      out: read(rowType(options.vector)),
      norms: read('f32'),
      dOut: read(rowType(options.vector)),
      dX: readWrite(rowType(options.vector)),
    },
    params: { rows: 'u32', columns: 'u32', eps: 'f32' },
    workgroups: rowWorkgroups(options.lanes),
    wgsl: rowKernelWgsl(
      options,
      /* wgsl */ `
  let norm = norms[row];
  let divisor = max(norm, params.eps);
  var sum = Element();
  ${eachInRow(options, 'sum += dOut[i] * out[i];')}
  let dot = select(0.0, sumOverRow(added(sum), lane), norm >= params.eps);
  ${eachInRow(options, 'dX[i] = (dOut[i] - out[i] * dot) / divisor;')}`,
    ),
  }),
)
