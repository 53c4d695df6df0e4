import { defineKernel, linearIdWgsl, linearWorkgroups, read, readWrite } from './kernel.ts'

/** Threads of a workgroup that reduces together; part of the result's rounding, so fixed. */
const GROUP = 64

/**
 * Sums over the rows of x [rows, columns] → out [columns], times `scale`.
 *
 * A workgroup owns 8 columns; 8 threads walk each column's rows in strides of 8 and their partial
 * sums are added in order.
 */
export const sumRowsKernel = defineKernel({
  label: 'sumRows',
  bindings: { x: read('f32'), out: readWrite('f32') },
  params: { rows: 'u32', columns: 'u32', scale: 'f32' },
  workgroups: ({ columns }) => linearWorkgroups(columns, 8),
  wgsl: /* wgsl */ `
${linearIdWgsl}
var<workgroup> partial: array<f32, ${GROUP}>;
@compute @workgroup_size(${GROUP})
fn main(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let column = linearWorkgroup(id, count) * 8u + thread % 8u;
  var sum = 0.0;
  if (column < params.columns) {
    for (var row = thread / 8u; row < params.rows; row += 8u) {
      sum += x[row * params.columns + column];
    }
  }
  partial[thread] = sum;
  workgroupBarrier();
  if (thread < 8u && column < params.columns) {
    for (var i = 1u; i < 8u; i++) { sum += partial[i * 8u + thread]; }
    out[column] = sum * params.scale;
  }
}
`,
})

/** Sums over the columns of x [rows, columns] → out [rows], times `scale`; one workgroup a row. */
export const sumColumnsKernel = defineKernel({
  label: 'sumColumns',
  bindings: { x: read('f32'), out: readWrite('f32') },
  params: { rows: 'u32', columns: 'u32', scale: 'f32' },
  workgroups: ({ rows }) => linearWorkgroups(rows, 1),
  wgsl: /* wgsl */ `
${linearIdWgsl}
var<workgroup> partial: array<f32, ${GROUP}>;
@compute @workgroup_size(${GROUP})
fn main(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let row = linearWorkgroup(id, count);
  if (row >= params.rows) { return; }
  var sum = 0.0;
  for (var column = thread; column < params.columns; column += ${GROUP}u) {
    sum += x[row * params.columns + column];
  }
  partial[thread] = sum;
  for (var half = ${GROUP / 2}u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (thread < half) { partial[thread] += partial[thread + half]; }
  }
  if (thread == 0u) { out[row] = partial[0] * params.scale; }
}
`,
})
