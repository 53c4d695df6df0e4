import { defineKernel, kernelFamily, read, readWrite, splitRows } from './kernel.ts'
import { eachInRow, rowKernelWgsl, rowWorkgroups, type Lanes } from './rows.ts'

interface L2NormalizeOptions {
  readonly lanes: Lanes
}

/** out = x / max(‖x‖, eps) for each row of x [rows, columns]; `norms` [rows] keeps ‖x‖. */
export const l2NormalizeKernel = kernelFamily(({ lanes }: L2NormalizeOptions) =>
  defineKernel({
    label: `l2Normalize.${lanes}`,
    splits: [splitRows(['x', 'out'], { norms: 1 })],
    bindings: { x: read('f32'), out: readWrite('f32'), norms: readWrite('f32') },
    params: { rows: 'u32', columns: 'u32', eps: 'f32' },
    workgroups: rowWorkgroups(lanes),
    wgsl: rowKernelWgsl(
      lanes,
      /* wgsl */ `
  var sum = 0.0;
  ${eachInRow(lanes, 'sum += x[i] * x[i];')}
  let norm = sqrt(sumOverRow(sum, lane));
  let divisor = max(norm, params.eps);
  ${eachInRow(lanes, 'out[i] = x[i] / divisor;')}
  if (lane == 0u) { norms[row] = norm; }`,
    ),
  }),
)

/** dX = (dOut − out · Σ dOut·out) / ‖x‖; a row with ‖x‖ < eps was only scaled: dX = dOut / eps. */
export const l2NormalizeBackwardKernel = kernelFamily(({ lanes }: L2NormalizeOptions) =>
  defineKernel({
    label: `l2Normalize.backward.${lanes}`,
    splits: [splitRows(['out', 'dOut', 'dX'], { norms: 1 })],
    bindings: {
      out: read('f32'),
      norms: read('f32'),
      dOut: read('f32'),
      dX: readWrite('f32'),
    },
    params: { rows: 'u32', columns: 'u32', eps: 'f32' },
    workgroups: rowWorkgroups(lanes),
    wgsl: rowKernelWgsl(
      lanes,
      /* wgsl */ `
  let norm = norms[row];
  let divisor = max(norm, params.eps);
  var sum = 0.0;
  ${eachInRow(lanes, 'sum += dOut[i] * out[i];')}
  let dot = select(0.0, sumOverRow(sum, lane), norm >= params.eps);
  ${eachInRow(lanes, 'dX[i] = (dOut[i] - out[i] * dot) / divisor;')}`,
    ),
  }),
)
