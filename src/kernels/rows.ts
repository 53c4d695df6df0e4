import { mainWgsl, linearWorkgroups, type Workgroups } from './kernel.ts'

/**
 * What kernels that reduce along rows share: x [rows, columns], a row to one thread or to a whole
 * workgroup, each sum in an order that depends on that choice alone.
 */

/** Threads of a workgroup. */
const GROUP = 64

/** Threads that share a row. */
export type Lanes = 1 | typeof GROUP

/** Longest row that a single thread takes on a GPU. */
const SHORT_ROW = 16
/** The same on a software adapter; past it, one running sum would round too coarsely. */
const SHORT_ROW_SOFTWARE = 1024

/**
 * Threads per row that suit an adapter. A software one runs a barrier as a switch between
 * coroutines, so that a reduction over a workgroup costs it ten to twenty times the row itself.
 */
export const rowLanes = (columns: number, software: boolean): Lanes =>
  columns <= (software ? SHORT_ROW_SOFTWARE : SHORT_ROW) ? 1 : GROUP

/** Workgroups of {@link rowKernelWgsl}. */
export const rowWorkgroups = (lanes: Lanes): ((params: { rows: number }) => Workgroups) => {
  return ({ rows }) => linearWorkgroups(rows, GROUP / lanes)
}

const alone = /* wgsl */ `
fn sumOverRow(value: f32, lane: u32) -> f32 { return value; }
fn maxOverRow(value: f32, lane: u32) -> f32 { return value; }
`

const together = /* wgsl */ `
var<workgroup> partial: array<f32, ${GROUP}>;
fn sumOverRow(value: f32, lane: u32) -> f32 {
  partial[lane] = value;
  for (var half = ${GROUP / 2}u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (lane < half) { partial[lane] += partial[lane + half]; }
  }
  workgroupBarrier();
  let total = partial[0];
  workgroupBarrier();
  return total;
}
fn maxOverRow(value: f32, lane: u32) -> f32 {
  partial[lane] = value;
  for (var half = ${GROUP / 2}u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (lane < half) { partial[lane] = max(partial[lane], partial[lane + half]); }
  }
  workgroupBarrier();
  let largest = partial[0];
  workgroupBarrier();
  return largest;
}
`

/**
 * A kernel over the rows of a matrix; `params` needs `rows` and `columns`. `body` runs once per
 * thread and sees `row`, `lane` (its number among the threads of the row), `start` (index of the
 * row's first element), and `end`; it visits its elements by {@link eachInRow} and combines with the
 * other threads of the row by `sumOverRow(value, lane)` and `maxOverRow(value, lane)`, which every
 * thread must reach and which give every thread the result.
 */
export const rowKernelWgsl = (lanes: Lanes, body: string): string => /* wgsl */ `
${lanes === 1 ? alone : together}
${mainWgsl(GROUP)} {
  let group = linearWorkgroup(id, count);
  let row = ${lanes === 1 ? `group * ${GROUP}u + thread` : 'group'};
  let lane = ${lanes === 1 ? '0u' : 'thread'};
  if (row >= params.rows) { return; }
  let start = row * params.columns;
  let end = start + params.columns;
  ${body}
}
`

/** WGSL loop over this thread's elements of its row: `i` is an index into the matrix. */
export const eachInRow = (lanes: Lanes, body: string): string =>
  `for (var i = start + lane; i < end; i += ${lanes}u) { ${body} }`
