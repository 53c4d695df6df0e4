import { mapKernel, type Each, type Spread } from './elementwise.ts'
import {
  defineKernel,
  kernelFamily,
  mainWgsl,
  linearWorkgroups,
  read,
  readWrite,
  splitRows,
} from './kernel.ts'
import {
  eachInRow,
  rowKernelWgsl,
  rowSuffix,
  rowType,
  rowWorkgroups,
  type RowOptions,
} from './rows.ts'

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
var<workgroup> partial: array<f32, ${GROUP}>;
${mainWgsl(GROUP)} {
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

/** Threads of a workgroup without barriers: one subgroup, so that few columns still keep cores busy. */
const ALONE = 8

/** Rows that are added up before they join the total, which bounds what a running sum rounds off. */
const RUN = 256

/**
 * As {@link sumRowsKernel}, a vec4 of columns to a thread and no barrier, for software adapters. Four
 * sums run side by side.
 */
export const sumRowsAloneKernel = kernelFamily(({ vector }: { readonly vector: boolean }) => {
  const type = rowType(vector)
  const width = vector ? 4 : 1
  return defineKernel({
    label: `sumRows.alone.${width}`,
    bindings: { x: read(type), out: readWrite(type) },
    params: { rows: 'u32', columns: 'u32', scale: 'f32' },
    workgroups: ({ columns }) => linearWorkgroups(columns / width, ALONE),
    wgsl: /* wgsl */ `
${mainWgsl(ALONE)} {
  let width = params.columns / ${width}u;
  let c = linearWorkgroup(id, count) * ${ALONE}u + thread;
  if (c >= width) { return; }
  var total = ${type}();
  var row = 0u;
  while (row < params.rows) {
    let end = min(row + ${RUN}u, params.rows);
    var p = ${type}();
    var q = ${type}();
    var r = ${type}();
    var s = ${type}();
    for (; row + 4u <= end; row += 4u) {
      let i = row * width + c;
      p += x[i];
      q += x[i + width];
      r += x[i + 2u * width];
      s += x[i + 3u * width];
    }
    for (; row < end; row++) { p += x[row * width + c]; }
    total += (p + q) + (r + s);
  }
  out[c] = total * params.scale;
}
`,
  })
})

/** Sums over the columns of x [rows, columns] → out [rows], times `scale`. */
export const sumColumnsKernel = kernelFamily((options: RowOptions) =>
  defineKernel({
    label: `sumColumns.${rowSuffix(options)}`,
    splits: [splitRows(['x'], { out: 1 })],
    bindings: { x: read(rowType(options.vector)), out: readWrite('f32') },
    params: { rows: 'u32', columns: 'u32', scale: 'f32' },
    workgroups: rowWorkgroups(options.lanes),
    wgsl: rowKernelWgsl(
      options,
      /* wgsl */ `
  var sum = Element();
  ${eachInRow(options, 'sum += x[i];')}
  let total = sumOverRow(added(sum), lane);
  if (lane == 0u) { out[row] = total * params.scale; }`,
    ),
  }),
)

/** Elements that one workgroup of {@link sumChunksKernel} adds up. */
export const SUM_CHUNK = 4096

/**
 * out [⌈size / SUM_CHUNK⌉]: sums of consecutive chunks of x [size], times `scale`. Each thread adds up
 * vec4s; what is behind the last element counts as 0.
 */
export const sumChunksKernel = defineKernel({
  label: 'sumChunks',
  splits: [{ along: 'size', per: { x: 1, out: 1 / SUM_CHUNK }, step: SUM_CHUNK }],
  bindings: { x: read('vec4<f32>'), out: readWrite('f32') },
  params: { size: 'u32', scale: 'f32' },
  workgroups: ({ size }) => linearWorkgroups(size, SUM_CHUNK),
  wgsl: /* wgsl */ `
var<workgroup> partial: array<f32, ${GROUP}>;
${mainWgsl(GROUP)} {
  let chunk = linearWorkgroup(id, count);
  let start = chunk * ${SUM_CHUNK / 4}u;
  let full = params.size / 4u;
  if (4u * start >= params.size) { return; }
  let end = min(start + ${SUM_CHUNK / 4}u, full);
  var sums = vec4f();
  for (var i = start + thread; i < end; i += ${GROUP}u) { sums += x[i]; }
  var sum = (sums.x + sums.y) + (sums.z + sums.w);
  if (thread == 0u && full < start + ${SUM_CHUNK / 4}u) {
    for (var c = 0u; c < params.size % 4u; c++) { sum += x[full][c]; }
  }
  partial[thread] = sum;
  for (var half = ${GROUP / 2}u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (thread < half) { partial[thread] += partial[thread + half]; }
  }
  if (thread == 0u) { out[chunk] = partial[0] * params.scale; }
}
`,
})

/** Elements that one workgroup of {@link sumLanesKernel} adds up, and the sums that it gives of them. */
export const LANES_CHUNK = 8192
export const LANES = ALONE

/**
 * out [LANES · ⌈size / LANES_CHUNK⌉]: a sum of each thread's vec4s of consecutive chunks of x [size], times
 * `scale`. No barrier, for software adapters; {@link sumChunksKernel} adds up the rest.
 */
export const sumLanesKernel = defineKernel({
  label: 'sumLanes',
  splits: [{ along: 'size', per: { x: 1, out: LANES / LANES_CHUNK }, step: LANES_CHUNK }],
  bindings: { x: read('vec4<f32>'), out: readWrite('f32') },
  params: { size: 'u32', scale: 'f32' },
  workgroups: ({ size }) => linearWorkgroups(size, LANES_CHUNK),
  wgsl: /* wgsl */ `
${mainWgsl(LANES)} {
  let chunk = linearWorkgroup(id, count);
  let start = chunk * ${LANES_CHUNK / 4}u;
  let full = params.size / 4u;
  if (4u * start >= params.size) { return; }
  let end = min(start + ${LANES_CHUNK / 4}u, full);
  var p = vec4f();
  var q = vec4f();
  var r = vec4f();
  var s = vec4f();
  var i = start + thread;
  for (; i + ${3 * LANES}u < end; i += ${4 * LANES}u) {
    p += x[i];
    q += x[i + ${LANES}u];
    r += x[i + ${2 * LANES}u];
    s += x[i + ${3 * LANES}u];
  }
  for (; i < end; i += ${LANES}u) { p += x[i]; }
  let sums = (p + q) + (r + s);
  var sum = (sums.x + sums.y) + (sums.z + sums.w);
  if (thread == 0u && full < start + ${LANES_CHUNK / 4}u) {
    for (var c = 0u; c < params.size % 4u; c++) { sum += x[full][c]; }
  }
  out[chunk * ${LANES}u + thread] = sum * params.scale;
}
`,
})

/** dX = scale · dOut, spread over what was summed: the gradient of every sum. */
export const sumBackwardKernel = kernelFamily(
  ({ spread, each }: { readonly spread: Spread; readonly each: Each }) =>
    mapKernel({
      label: `sum.backward.${spread}.${each}`,
      inputs: { dOut: spread },
      output: 'dX',
      params: { scale: 'f32' },
      expression: 'params.scale * dOut',
      each,
    }),
)
