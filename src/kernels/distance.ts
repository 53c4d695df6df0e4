import {
  linearIdWgsl,
  linearWorkgroups,
  mainWgsl,
  type KernelVariant,
  type Workgroups,
} from './kernel.ts'
import { lines, range } from './template.ts'

/**
 * Squared distances between the rows of x and of y as sums of (x − y)², never as ‖x‖² − 2x·y + ‖y‖²:
 * that form loses near neighbours to cancellation. A result is off by at most about `dimension` units
 * in its own last place, however close the rows are.
 *
 * No matrix of distances is stored. A workgroup walks the rows of y in blocks of {@link BLOCK}, puts
 * the distances of one block into workgroup memory, and the kernel's own text takes them from there,
 * each thread for its own rows of x and in ascending order of y.
 */

/** Rows of y in a block. */
export const BLOCK = 16

const TILE_K = 16
/** Padded by one vec4, or the threads that store one column would share a memory bank. */
const X_STRIDE = 17
const Y_STRIDE = 5

/** How a variant lays out the rows of x in a workgroup: thread t owns rows t, t + lanes, … */
export interface Layout {
  readonly lanes: number
  readonly strips: number
  /** Rows of x to a workgroup. */
  readonly height: number
}

export function layoutOf(variant: KernelVariant): Layout {
  if (variant === 'tile') return { lanes: 64, strips: 1, height: 64 }
  const lanes = variant === 'subgroup8' ? 8 : 4
  return { lanes, strips: 4, height: 4 * lanes }
}

export const distanceFeatures = (variant: KernelVariant): ['subgroups'] | [] =>
  variant === 'tile' ? [] : ['subgroups']

/** Workgroups for all rows of x, in `splits` parts of y. */
export const distanceWorkgroups = (
  variant: KernelVariant,
  rows: number,
  splits: number,
): Workgroups => linearWorkgroups(Math.ceil(rows / layoutOf(variant).height) * splits, 1)

/** What a kernel does with the distances, as WGSL. */
export interface Consumer {
  /** Functions and variables of the module. */
  readonly module: string
  /** Sets `begin` and `end`, the rows of y that this workgroup walks, from `split`; declares state. */
  readonly start: string
  /** For row `j` of the block, which is row `c` of y; `distance(strip)` is WGSL for its distance. */
  readonly each: (distance: (strip: number) => string) => string
  /** After each block, behind a barrier. */
  readonly block?: string
  /** At the end. */
  readonly finish?: string
}

/** `row0`, … of this thread, not limited to the rows there are. */
export const rowOf = (strip: number): string => `row${strip}`

/**
 * WGSL of a kernel over x [rows, dimension] and y […, dimension]; `params` needs both sizes, and
 * `splits`. See {@link Consumer}.
 */
export function distanceWgsl(variant: KernelVariant, consumer: Consumer): string {
  const { lanes, strips, height } = layoutOf(variant)
  const shared = `var<workgroup> distances: array<f32, ${BLOCK * height}>;`
  const main =
    variant === 'tile'
      ? mainWgsl(lanes)
      : /* wgsl */ `${linearIdWgsl}
@compute @workgroup_size(${lanes})
fn main(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(subgroup_invocation_id) thread: u32,
)`
  const { module, block } = variant === 'tile' ? tileBlock() : subgroupBlock(lanes, strips)
  return /* wgsl */ `
${shared}
${module}
${consumer.module}
${main} {
  let group = linearWorkgroup(id, count);
  let part = group / params.splits;
  let split = group % params.splits;
  let rowBase = part * ${height}u;
  if (rowBase >= params.rows) { return; }
${lines(range(strips).map((s) => `  let ${rowOf(s)} = rowBase + ${s * lanes}u + thread;`))}
  ${consumer.start}
  for (var base = begin; base < end; base += ${BLOCK}u) {
    ${block}
    workgroupBarrier();
    for (var j = 0u; j < min(${BLOCK}u, end - base); j++) {
      let c = base + j;
      ${consumer.each((s) => `distances[j * ${height}u + ${s * lanes}u + thread]`)}
    }
    workgroupBarrier();
    ${consumer.block ? `${consumer.block}\n    workgroupBarrier();` : ''}
  }
  ${consumer.finish ?? ''}
}
`
}

/** 64 threads, each 4 rows of x by 4 of y, operands staged in workgroup memory. */
function tileBlock(): { module: string; block: string } {
  const four = range(4)
  return {
    module: /* wgsl */ `
var<workgroup> tileX: array<vec4f, ${TILE_K * X_STRIDE}>;
var<workgroup> tileY: array<vec4f, ${TILE_K * Y_STRIDE}>;
fn loadX(row: u32, k: u32) -> f32 {
  if (k >= params.dimension) { return 0.0; }
  return x[min(row, params.rows - 1u) * params.dimension + k];
}
fn loadY(row: u32, last: u32, k: u32) -> f32 {
  if (k >= params.dimension) { return 0.0; }
  return y[min(row, last) * params.dimension + k];
}`,
    block: /* wgsl */ `
${lines(four.map((r) => `    var sum${r} = vec4f();`))}
    for (var chunk = 0u; chunk < params.dimension; chunk += ${TILE_K}u) {
      // Neighbouring threads read neighbouring addresses.
      let kk = thread % ${TILE_K}u;
      let k = chunk + kk;
      for (var quad = thread / ${TILE_K}u; quad < 16u; quad += 4u) {
        let r = rowBase + quad * 4u;
        tileX[kk * ${X_STRIDE}u + quad] = vec4f(${four.map((r) => `loadX(r + ${r}u, k)`).join(', ')});
      }
      let quadY = thread / ${TILE_K}u;
      let rY = base + quadY * 4u;
      tileY[kk * ${Y_STRIDE}u + quadY] = vec4f(${four.map((r) => `loadY(rY + ${r}u, end - 1u, k)`).join(', ')});
      workgroupBarrier();
      for (var i = 0u; i < ${TILE_K}u; i++) {
        let vx = tileX[i * ${X_STRIDE}u + thread / 4u];
        let vy = tileY[i * ${Y_STRIDE}u + thread % 4u];
${lines(four.map((r) => `        let d${r} = vec4f(vx[${r}]) - vy; sum${r} = fma(d${r}, d${r}, sum${r});`))}
      }
      workgroupBarrier();
    }
    for (var i = 0u; i < 4u; i++) {
      let to = (thread % 4u * 4u + i) * 64u + thread / 4u * 4u;
${lines(four.map((r) => `      distances[to + ${r}u] = sum${r}[i];`))}
    }`,
  }
}

/**
 * A workgroup is one subgroup. A lane owns a row of each strip; rows of y are loaded one to a lane and
 * broadcast from registers.
 */
function subgroupBlock(lanes: number, strips: number): { module: string; block: string } {
  const loads = range(BLOCK / lanes)
  const rows = range(BLOCK)
  const all = range(strips)
  const height = strips * lanes
  const sum = (j: number, s: number): string => `sum${j}_${s}`
  return {
    module: '',
    block: /* wgsl */ `
${lines(all.map((s) => `    let x${s} = min(${rowOf(s)}, params.rows - 1u) * params.dimension;`))}
${lines(loads.map((l) => `    let y${l} = min(base + ${l * lanes}u + thread, end - 1u) * params.dimension;`))}
${lines(rows.map((j) => `    ${all.map((s) => `var ${sum(j, s)} = 0.0;`).join(' ')}`))}
    for (var k = 0u; k < params.dimension; k++) {
${lines(all.map((s) => `      let vx${s} = x[x${s} + k];`))}
${lines(loads.map((l) => `      let vy${l} = y[y${l} + k];`))}
${lines(
  rows.map((j) => {
    const value = `subgroupBroadcast(vy${Math.floor(j / lanes)}, ${j % lanes}u)`
    const terms = all.map((s) => {
      return `let d${s} = vx${s} - v; ${sum(j, s)} = fma(d${s}, d${s}, ${sum(j, s)});`
    })
    return `      { let v = ${value}; ${terms.join(' ')} }`
  }),
)}
    }
${lines(
  rows.map((j) => {
    const stores = all.map((s) => {
      return `distances[${j * height + s * lanes}u + thread] = ${sum(j, s)};`
    })
    return `    ${stores.join(' ')}`
  }),
)}`,
  }
}
