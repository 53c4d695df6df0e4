import { defineKernel, mainWgsl } from './kernel.ts'
import type { MatmulKernel, MatmulOptions } from './matmul.ts'
import {
  accessWgsl,
  bindings,
  blockWgsl,
  blockWorkgroups,
  features,
  label,
  params,
  valueType,
} from './matmulAccess.ts'
import { lines, range } from './template.ts'

export interface TileShape {
  readonly rows: number
  readonly columns: number
  /** A thread owns 4×4 of each strip of rows. */
  readonly strips: 1 | 2
  /** Sets of threads that share k: each takes its part of every staged step. One strip then. */
  readonly shares: 1 | 4
}

/**
 * Operands staged k-major in workgroup memory as vec4s along the edge; each thread keeps 4·strips × 4
 * sums in registers. With shares, these meet in workgroup memory and are added in order of the shares.
 */
export function tileKernel(
  options: MatmulOptions,
  { rows, columns, strips, shares }: TileShape,
): MatmulKernel {
  const { quadsA, quadsB, rowSums = false } = options
  const across = columns / 4
  const threadsOfShare = (rows / 4 / strips) * across
  const threads = threadsOfShare * shares
  // Steps of k that one share multiplies, and that all stage, between two barriers; with shares only
  // so many that the tiles and the sums fit 16 KiB.
  const steps = shares === 1 ? 16 : 8
  const depth = steps * shares
  const quads = { a: rows / 4, b: columns / 4 }
  // Padded by one vec4, or the threads that store one column of k would share a memory bank.
  const stride = { a: quads.a + 1, b: quads.b + 1 }
  /**
   * Stages one operand. Neighbouring threads load neighbouring addresses, whichever way it is stored:
   * elements or quads of one row of it, of which rows along k are transposed on their way.
   */
  const stage = (operand: 'a' | 'b', alongK: boolean, fours: boolean): string => {
    const [name, edge] = [operand.toUpperCase(), operand === 'a' ? 'rowBase' : 'columnBase']
    const load = (i: number): string => {
      const at = `${edge} + quad * 4u + ${i}u`
      return operand === 'a' ? `guardedA(slab, ${at}, k)` : `guardedB(slab, k, ${at})`
    }
    const loads = range(4).map(load)
    const place = (step: string): string => `tile${name}[(${step}) * ${stride[operand]}u + quad]`
    const inRow = !alongK ? quads[operand] : fours ? depth / 4 : depth
    const [step, quad] = alongK
      ? [`q % ${inRow}u`, `q / ${inRow}u`]
      : [`q / ${inRow}u`, `q % ${inRow}u`]
    const transposed = range(4).map(
      (j) =>
        `${place(`kk + ${j}u`)} = vec4f(${range(4)
          .map((i) => `v${i}[${j}]`)
          .join(', ')});`,
    )
    const moves = !fours
      ? [`${place('kk')} = vec4f(${loads.join(', ')});`]
      : alongK
        ? [...loads.map((text, i) => `let v${i} = ${text};`), ...transposed]
        : [`${place('kk')} = ${load(0)};`]
    const body = /* wgsl */ `
      let kk = ${step}${fours && alongK ? ' * 4u' : ''};
      let quad = ${quad};
      let k = base + kk;
${lines(moves.map((line) => `      ${line}`))}`
    const count = (quads[operand] * depth) / (fours && alongK ? 4 : 1)
    // Where half of the threads suffice for one operand, the other half takes the other.
    const first = operand === 'b' && count <= threads / 2 ? `thread ^ ${threads / 2}u` : 'thread'
    return count === threads
      ? `    { let q = thread;${body}\n    }`
      : `    for (var q = ${first}; q < ${count}u; q += ${threads}u) {${body}\n    }`
  }
  const sums = range(strips).flatMap((s) => range(4).map((r) => `sum${s}_${r}`))
  // One guarded store in a loop compiles much faster than sixteen of them.
  const drain = (s: number): string => /* wgsl */ `
  for (var i = 0u; i < 16u; i++) {
    let upper = select(sum${s}_1, sum${s}_0, i < 4u);
    let lower = select(sum${s}_3, sum${s}_2, i < 12u);
    let r = rowBase + ${(s * rows) / strips}u + y * 4u + i / 4u;
    let c = columnBase + x * 4u + i % 4u;
    if (r < params.m && c < params.n) { store(slab.out, r, c, select(lower, upper, i < 8u)[i % 4u]); }
  }`
  const rowOfSums = (r: number): string => `sums[(y * 4u + ${r}u) * ${across}u + x]`
  const addShares = /* wgsl */ `
  if (share == 0u) {
${lines(range(4).map((r) => `    ${rowOfSums(r)} = sum0_${r};`))}
  }
  for (var next = 1u; next < ${shares}u; next++) {
    workgroupBarrier();
    if (share == next) {
${lines(range(4).map((r) => `      ${rowOfSums(r)} += sum0_${r};`))}
    }
  }
  workgroupBarrier();
  for (var i = thread; i < ${rows * columns}u; i += ${threads}u) {
    let r = rowBase + i / ${columns}u;
    let c = columnBase + i % ${columns}u;
    if (r < params.m && c < params.n) { store(slab.out, r, c, sums[i / 4u][i % 4u]); }
  }`
  const quadRows = rows / 4
  const storeRowSums =
    shares === 1
      ? lines(
          range(strips).map(
            (s) => /* wgsl */ `
  if (columnBase == 0u && x == 0u) {
    let first = rowBase + ${(s * rows) / strips}u + y * 4u;
    for (var i = 0u; i < 4u && first + i < params.m; i++) { rowSums[slab.out / params.n + first + i] = rowSum${s}[i]; }
  }`,
          ),
        )
      : /* wgsl */ `
  if (columnBase == 0u && thread < ${rows}u && rowBase + thread < params.m) {
    var total = 0.0;
    for (var i = 0u; i < ${shares}u; i++) {
      total += rowShares[i * ${quadRows}u + thread / 4u][thread % 4u];
    }
    rowSums[slab.out / params.n + rowBase + thread] = total;
  }`
  return defineKernel({
    label: label(options),
    bindings: bindings(options),
    params,
    features: features(options),
    workgroups: blockWorkgroups(rows, columns),
    wgsl: /* wgsl */ `${accessWgsl(options)}
var<workgroup> tileA: array<vec4f, ${depth * stride.a}>;
var<workgroup> tileB: array<vec4f, ${depth * stride.b}>;
${shares > 1 ? `var<workgroup> sums: array<vec4f, ${(rows * columns) / 4}>;` : ''}
${shares > 1 && rowSums ? `var<workgroup> rowShares: array<vec4f, ${shares * quadRows}>;` : ''}
fn guardedA(slab: Slab, row: u32, k: u32) -> ${valueType(quadsA)} {
  if (row >= params.m || k >= slab.end) { return ${valueType(quadsA)}(); }
  return loadA(slab.a, row, k);
}
fn guardedB(slab: Slab, k: u32, column: u32) -> ${valueType(quadsB)} {
  if (k >= slab.end || column >= params.n) { return ${valueType(quadsB)}(); }
  return loadB(slab.b, k, column);
}
${mainWgsl(threads)} {${blockWgsl(rows, columns)}
  let share = thread / ${threadsOfShare}u;
  let y = thread % ${threadsOfShare}u / ${across}u;
  let x = thread % ${across}u;
${lines(sums.map((sum) => `  var ${sum} = vec4f();`))}
${rowSums ? lines(range(strips).map((s) => `  var rowSum${s} = vec4f();`)) : ''}
  for (var base = slab.start; base < slab.end; base += ${depth}u) {
${stage('a', !options.transposeA, quadsA)}
${stage('b', options.transposeB, quadsB)}
    workgroupBarrier();
    for (var kk = share * ${steps}u; kk < (share + 1u) * ${steps}u; kk++) {
      let vb = tileB[kk * ${stride.b}u + x];
${lines(
  range(strips).map(
    (
      s,
    ) => /* wgsl */ `      let va${s} = tileA[kk * ${stride.a}u + y + ${(s * quads.a) / strips}u];${rowSums ? ` rowSum${s} += va${s};` : ''}
${lines(range(4).map((r) => `      sum${s}_${r} = fma(vec4f(va${s}[${r}]), vb, sum${s}_${r});`))}`,
  ),
)}
    }
    workgroupBarrier();
  }
${shares > 1 && rowSums ? `  if (x == 0u) { rowShares[share * ${quadRows}u + y] = rowSum0; }` : ''}
${shares > 1 ? addShares : lines(range(strips).map(drain))}
${rowSums ? storeRowSums : ''}
}
`,
  })
}
