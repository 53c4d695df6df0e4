import { activationWgsl, type Activation } from './activations.ts'
import {
  defineKernel,
  kernelFamily,
  linearIdWgsl,
  mainWgsl,
  linearWorkgroups,
  read,
  readWrite,
  type Binding,
  type Kernel,
  type KernelVariant,
} from './kernel.ts'
import { range } from './template.ts'

/**
 * out = activate(op(A) · op(B) + bias) + residual, f32, with op(A) [m, k] and op(B) [k, n].
 *
 * Every variant adds the products of one output element in ascending k, so the choice of variant
 * changes results only as far as the adapter fuses multiply and add differently.
 */
export interface MatmulOptions {
  /** A is stored [k, m]. */
  readonly transposeA: boolean
  /** B is stored [n, k], as PyTorch stores a linear layer's weight. */
  readonly transposeB: boolean
  /** Adds `bias` [n]. */
  readonly bias: boolean
  readonly activation: Activation
  /** Adds `residual` [m, n] after the activation. */
  readonly residual: boolean
  /** `tile`: 64×64 tiles. */
  readonly variant: KernelVariant
}

/** Names of the operands; `bias` and `residual` are bound when the options ask for them. */
export type MatmulBinding = 'a' | 'b' | 'bias' | 'residual' | 'out'
export type MatmulParam = 'm' | 'n' | 'k'

const TILE = 64
const TILE_K = 16
/** Padded by one vec4, or the 16 threads that store one column of k would share a memory bank. */
const STRIDE = TILE / 4 + 1

export const matmulKernel = kernelFamily((options: MatmulOptions) => {
  return options.variant === 'tile'
    ? tileKernel(options)
    : subgroupKernel(options, options.variant === 'subgroup8' ? 8 : 4)
})

function label(options: MatmulOptions): string {
  const layout = `${options.transposeA ? 'T' : 'N'}${options.transposeB ? 'T' : 'N'}`
  const epilogue = [
    options.bias ? 'bias' : '',
    options.activation === 'none' ? '' : options.activation,
    options.residual ? 'residual' : '',
  ].filter(Boolean)
  return ['matmul', layout, ...epilogue, options.variant].join('.')
}

function bindings(options: MatmulOptions): Record<MatmulBinding, Binding> {
  return {
    a: read('f32'),
    b: read('f32'),
    ...(options.bias ? { bias: read('f32') } : {}),
    ...(options.residual ? { residual: read('f32') } : {}),
    out: readWrite('f32'),
  } as Record<MatmulBinding, Binding>
}

/** `loadA(row, k)`, `loadB(k, column)` and `store(row, column, sum)`. */
function accessWgsl(options: MatmulOptions): string {
  const { transposeA, transposeB, bias, residual } = options
  return /* wgsl */ `
${activationWgsl(options.activation)}
fn loadA(row: u32, k: u32) -> f32 { return a[${transposeA ? 'k * params.m + row' : 'row * params.k + k'}]; }
fn loadB(k: u32, column: u32) -> f32 { return b[${transposeB ? 'column * params.k + k' : 'k * params.n + column'}]; }
fn store(row: u32, column: u32, sum: f32) {
  let index = row * params.n + column;
  out[index] = activate(sum${bias ? ' + bias[column]' : ''})${residual ? ' + residual[index]' : ''};
}
`
}

function tileKernel(options: MatmulOptions): Kernel<MatmulBinding, MatmulParam> {
  const rows = range(4)
  // Each thread stages four elements of one k; neighbouring threads read neighbouring addresses,
  // whichever way the operand is stored.
  const alongK = { k: 'thread % 16u', quad: 'thread / 16u' }
  const alongEdge = { k: 'thread / 16u', quad: 'thread % 16u' }
  const stageA = options.transposeA ? alongEdge : alongK
  const stageB = options.transposeB ? alongK : alongEdge
  return defineKernel({
    label: label(options),
    bindings: bindings(options),
    params: { m: 'u32', n: 'u32', k: 'u32' },
    workgroups: ({ m, n }) => linearWorkgroups(Math.ceil(m / TILE) * Math.ceil(n / TILE), 1),
    wgsl: /* wgsl */ `${accessWgsl(options)}
var<workgroup> tileA: array<vec4f, ${TILE_K * STRIDE}>;
var<workgroup> tileB: array<vec4f, ${TILE_K * STRIDE}>;
fn guardedA(row: u32, k: u32) -> f32 {
  if (row >= params.m || k >= params.k) { return 0.0; }
  return loadA(row, k);
}
fn guardedB(k: u32, column: u32) -> f32 {
  if (k >= params.k || column >= params.n) { return 0.0; }
  return loadB(k, column);
}
${mainWgsl(256)} {
  let columns = (params.n + ${TILE - 1}u) / ${TILE}u;
  let group = linearWorkgroup(id, count);
  let rowBase = group / columns * ${TILE}u;
  let columnBase = group % columns * ${TILE}u;
  let y = thread / 16u;
  let x = thread % 16u;
  let kA = ${stageA.k};
  let quadA = ${stageA.quad};
  let rowA = rowBase + quadA * 4u;
  let kB = ${stageB.k};
  let quadB = ${stageB.quad};
  let columnB = columnBase + quadB * 4u;
${rows.map((r) => `  var sum${r} = vec4f();`).join('\n')}
  for (var base = 0u; base < params.k; base += ${TILE_K}u) {
    let ka = base + kA;
    tileA[kA * ${STRIDE}u + quadA] = vec4f(${rows.map((r) => `guardedA(rowA + ${r}u, ka)`).join(', ')});
    let kb = base + kB;
    tileB[kB * ${STRIDE}u + quadB] = vec4f(${rows.map((r) => `guardedB(kb, columnB + ${r}u)`).join(', ')});
    workgroupBarrier();
    for (var kk = 0u; kk < ${TILE_K}u; kk++) {
      let va = tileA[kk * ${STRIDE}u + y];
      let vb = tileB[kk * ${STRIDE}u + x];
${rows.map((r) => `      sum${r} = fma(vec4f(va[${r}]), vb, sum${r});`).join('\n')}
    }
    workgroupBarrier();
  }
  let row = rowBase + y * 4u;
  let column = columnBase + x * 4u;
  // One guarded store in a loop compiles much faster than sixteen of them.
  for (var i = 0u; i < 16u; i++) {
    let upper = select(sum1, sum0, i < 4u);
    let lower = select(sum3, sum2, i < 12u);
    let r = row + i / 4u;
    let c = column + i % 4u;
    if (r < params.m && c < params.n) { store(r, c, select(lower, upper, i < 8u)[i % 4u]); }
  }
}
`,
  })
}

/**
 * Each workgroup is one subgroup of `lanes`; it owns a block of rows by 4·lanes columns.
 *
 * How sums leave the registers is chosen by what the driver compiles well. On lavapipe (8 lanes)
 * they pass through workgroup memory to one guarded loop: guards around every register's store take
 * LLVM five seconds to compile. On SwiftShader (4 lanes) workgroup memory is slower than storage, so
 * they are stored at once; past the edge, lanes repeat the last row or column and store what its
 * owner stores.
 */
function subgroupKernel(options: MatmulOptions, lanes: 4 | 8): Kernel<MatmulBinding, MatmulParam> {
  const rowStrips = range(lanes === 8 ? 2 : 4)
  const strips = range(4)
  const height = rowStrips.length * lanes
  const width = strips.length * lanes
  const rows = range(height)
  const sum = (row: number, strip: number): string => `sum${row}_${strip}`
  const each = (text: (row: number, strip: number) => string): string =>
    rows.map((row) => `  ${strips.map((strip) => text(row, strip)).join(' ')}`).join('\n')
  const plain = !options.bias && !options.residual && options.activation === 'none'
  const loop = (value: string): string => /* wgsl */ `
  for (var i = 0u; i < ${height * strips.length}u; i++) {
    let r = row + i / ${strips.length}u;
    let c = column + i % ${strips.length}u * ${lanes}u;
    if (r < params.m && c < params.n) { store(r, c, ${value}); }
  }`
  const drain =
    lanes === 8
      ? `${each((r, s) => `sums[${(r * strips.length + s) * lanes}u + lane] = ${sum(r, s)};`)}
${loop(`sums[i * ${lanes}u + lane]`)}`
      : `${each((r, s) => `out[min(row + ${r}u, params.m - 1u) * params.n + column${s}] = ${sum(r, s)};`)}
${plain ? '' : `  storageBarrier();${loop('out[r * params.n + c]')}`}`
  return defineKernel({
    label: label(options),
    bindings: bindings(options),
    params: { m: 'u32', n: 'u32', k: 'u32' },
    features: ['subgroups'],
    workgroups: ({ m, n }) => linearWorkgroups(Math.ceil(m / height) * Math.ceil(n / width), 1),
    wgsl: /* wgsl */ `${accessWgsl(options)}
${linearIdWgsl}
${lanes === 8 ? `var<workgroup> sums: array<f32, ${height * width}>;` : ''}
@compute @workgroup_size(${lanes})
fn main(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  let columns = (params.n + ${width - 1}u) / ${width}u;
  let group = linearWorkgroup(id, count);
  let row = group / columns * ${height}u;
  let column = group % columns * ${width}u + lane;
${rowStrips.map((s) => `  let row${s} = min(row + ${s * lanes}u + lane, params.m - 1u);`).join('\n')}
${strips.map((s) => `  let column${s} = min(column + ${s * lanes}u, params.n - 1u);`).join('\n')}
${each((r, s) => `var ${sum(r, s)} = 0.0;`)}
  for (var k = 0u; k < params.k; k++) {
${strips.map((s) => `    let b${s} = loadB(k, column${s});`).join('\n')}
${rowStrips.map((s) => `    let a${s} = loadA(row${s}, k);`).join('\n')}
${rows
  .map((r) => {
    const value = `subgroupBroadcast(a${Math.floor(r / lanes)}, ${r % lanes}u)`
    const terms = strips.map((s) => `${sum(r, s)} = fma(v, b${s}, ${sum(r, s)});`)
    return `    { let v = ${value}; ${terms.join(' ')} }`
  })
  .join('\n')}
  }
${drain}
}
`,
  })
}
