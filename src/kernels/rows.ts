import { mainWgsl, linearWorkgroups, type ElementType, type Workgroups } from './kernel.ts'
import { storedType, type FloatStorage } from './storage.ts'

/**
 * What kernels that reduce along rows share: x [rows, columns], a row to one thread or to a whole
 * workgroup, each sum in an order that depends on that choice alone.
 */

/** Threads of a workgroup that shares a row. */
const GROUP = 64
/** Threads of one whose threads have rows of their own: fewer, for a few hundred rows to spread evenly. */
const ALONE = 32

/** Threads that share a row. */
export type Lanes = 1 | typeof GROUP

export interface RowOptions {
  readonly lanes: Lanes
  /** Whether rows are whole numbers of vec4s, and are read as such. */
  readonly vector: boolean
  /** How the rows that are read are stored, in kernels that read f16. Default f32. */
  readonly from?: FloatStorage | undefined
  /** Likewise those that are written. */
  readonly to?: FloatStorage | undefined
}

/** `1.vec4` and the like, for labels. */
export const rowSuffix = ({ lanes, vector, from = 'f32', to = 'f32' }: RowOptions): string =>
  `${lanes}${vector ? '.vec4' : ''}${from === to && to === 'f32' ? '' : `.${from}→${to}`}`

/** Element type of the arrays that a row kernel walks. */
export const rowType = (vector: boolean): ElementType & ('f32' | 'vec4<f32>') =>
  vector ? 'vec4<f32>' : 'f32'

/** Longest row that a single thread takes on a GPU. */
const SHORT_ROW = 16
/** The same on a software adapter; past it, one running sum would round too coarsely. */
const SHORT_ROW_SOFTWARE = 1024

/**
 * Threads per row that suit an adapter. A software one runs a barrier as a switch between
 * coroutines, so that a reduction over a workgroup costs it ten to twenty times the row itself. A
 * row of vec4s has four running sums.
 */
export function rowOptions(columns: number, software: boolean): RowOptions {
  const vector = columns % 4 === 0
  const longest = software ? SHORT_ROW_SOFTWARE * (vector ? 4 : 1) : SHORT_ROW
  return { lanes: columns <= longest ? 1 : GROUP, vector }
}

/** Workgroups of {@link rowKernelWgsl}. */
export const rowWorkgroups = (lanes: Lanes): ((params: { rows: number }) => Workgroups) => {
  return ({ rows }) => linearWorkgroups(rows, lanes === 1 ? ALONE : 1)
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

const vectors = /* wgsl */ `
fn added(v: vec4f) -> f32 { return (v.x + v.y) + (v.z + v.w); }
fn largestOf(v: vec4f) -> f32 { return max(max(v.x, v.y), max(v.z, v.w)); }
`
const scalars = /* wgsl */ `
fn added(v: f32) -> f32 { return v; }
fn largestOf(v: f32) -> f32 { return v; }
`

/**
 * A kernel over the rows of a matrix; `params` needs `rows` and `columns`. `body` runs once per
 * thread and sees `row`, `lane` (its number among the threads of the row), `width` (elements or vec4s
 * of a row) and `start` (the index of its first one). It visits its part by {@link eachInRow},
 * takes what a vec4 holds together by `added` and `largestOf`, and combines with the other threads
 * of the row by `sumOverRow(value, lane)` and `maxOverRow(value, lane)`, which every thread must reach
 * and which give every thread the result. `Element` is the type of
 * an element, to which what is read is converted, and `Stored` that of one to be written.
 */
export const rowKernelWgsl = (
  { lanes, vector, to }: RowOptions,
  body: string,
): string => /* wgsl */ `
alias Element = ${vector ? 'vec4f' : 'f32'};
alias Stored = ${storedType(to, vector)};
${vector ? vectors : scalars}${lanes === 1 ? alone : together}
${mainWgsl(lanes === 1 ? ALONE : GROUP)} {
  let group = linearWorkgroup(id, count);
  let row = ${lanes === 1 ? `group * ${ALONE}u + thread` : 'group'};
  let lane = ${lanes === 1 ? '0u' : 'thread'};
  if (row >= params.rows) { return; }
  let width = params.columns${vector ? ' / 4u' : ''};
  let start = row * width;
  ${body}
}
`

/**
 * WGSL loop over this thread's part of its row: `c` is a column, the same for all threads when each
 * has a row of its own, so that a software adapter loads what depends on it alone only once; `i` is
 * an index into the matrix.
 */
export const eachInRow = ({ lanes }: RowOptions, body: string): string =>
  `for (var c = lane; c < width; c += ${lanes}u) { let i = start + c; ${body} }`
