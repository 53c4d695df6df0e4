import { defineKernel, subgroupMainWgsl, read, type Binding, type ElementType } from './kernel.ts'
import type { MatmulBinding, MatmulKernel, MatmulOptions } from './matmul.ts'
import {
  bindings,
  blockWgsl,
  blockWorkgroups,
  epilogueWgsl,
  label,
  params,
  plainEpilogue,
  slabWgsl,
} from './matmulAccess.ts'
import { lines, range } from './template.ts'

const LANES = 8
/** Columns of a block; a lane owns four that lie side by side. */
const WIDTH = 4 * LANES
/** Steps of k in a turn of the loop. */
const STEPS = range(2)
const QUAD = range(4)

/**
 * How one operand is loaded. `start` declares what does not change with k, `load` the registers of a
 * turn; `at` is the element of row (of A) or column (of B) `edge` at step `kk` of the turn.
 */
interface Operand {
  readonly type: ElementType
  readonly start: string
  readonly load: string
  at(edge: number, kk: number): { readonly register: string; readonly lane: number }
}

interface OperandOptions {
  readonly name: 'a' | 'b'
  /** The parameter that bounds rows of A or columns of B, and how many of them a block has. */
  readonly size: 'm' | 'n'
  readonly count: number
  /** Its rows in memory are multiples of four, so that one load can take what lies side by side. */
  readonly quads: boolean
  /** k is known to be even. */
  readonly even: boolean
}

/** Stored [edge, k]: a lane owns a row of A or four columns of B, and loads two k of one at once. */
function alongK({ name, size, count, quads }: OperandOptions): Operand {
  const own = range(count / LANES)
  const edge = (i: number): string =>
    name === 'a' ? `rowBase + ${i * LANES}u + lane` : `column + ${i}u`
  const start = (i: number): string => {
    const element = `slab.${name} + min(${edge(i)}, params.${size} - 1u) * params.k`
    return `  let ${name}${i}Start = ${quads ? `(${element}) / 2u` : element};`
  }
  const one = (i: number, k: string): string =>
    `select(0.0, ${name}[${name}${i}Start + min(${k}, params.k - 1u)], ${k} < slab.end)`
  const load = (i: number): string =>
    `    let ${name}${i} = ${
      quads ? `${name}[${name}${i}Start + k / 2u]` : `vec2f(${one(i, 'k')}, ${one(i, '(k + 1u)')})`
    };`
  return {
    type: quads ? 'vec2<f32>' : 'f32',
    start: lines(own.map(start)),
    load: lines(own.map(load)),
    at: (edge, kk) =>
      name === 'a'
        ? { register: `a${Math.floor(edge / LANES)}[${kk}]`, lane: edge % LANES }
        : { register: `b${edge}[${kk}]`, lane: 0 },
  }
}

/** Stored [k, edge]: a lane owns four rows or columns side by side, and loads them at once. */
function alongEdge({ name, size, count, quads, even }: OperandOptions): Operand {
  const blocks = range(Math.ceil(count / WIDTH))
  const first = name === 'a' ? 'rowBase + lane * 4u' : 'column'
  const start = (i: number): string => {
    const edge = `${first} + ${i * WIDTH}u`
    const quad = `(slab.${name} + min(${edge}, params.${size} - 4u)) / 4u`
    return `  let ${name}${i}Start = ${quads ? quad : edge};`
  }
  const line = (kk: number): string => (even ? `(k + ${kk}u)` : `min(k + ${kk}u, params.k - 1u)`)
  const value = (i: number, kk: number): string => {
    const one = (c: number): string =>
      `${name}[slab.${name} + ${line(kk)} * params.${size} + min(${name}${i}Start + ${c}u, params.${size} - 1u)]`
    const quad = quads
      ? `${name}[${line(kk)} * (params.${size} / 4u) + ${name}${i}Start]`
      : `vec4f(${QUAD.map(one).join(', ')})`
    return even ? quad : `select(vec4f(), ${quad}, k + ${kk}u < slab.end)`
  }
  return {
    type: quads ? 'vec4<f32>' : 'f32',
    start: lines(blocks.map(start)),
    load: lines(
      blocks.flatMap((i) => STEPS.map((kk) => `    let ${name}${i}_${kk} = ${value(i, kk)};`)),
    ),
    at: (edge, kk) => ({
      register: `${name}${Math.floor(edge / WIDTH)}_${kk}[${edge % 4}]`,
      lane: Math.floor((edge % WIDTH) / 4),
    }),
  }
}

/**
 * matmul on lavapipe, f32: a workgroup is one subgroup of 8 lanes and owns `strips` · 8 rows by 32
 * columns. What costs there, and what follows from it (measurements in `bench/NOTES.md`):
 *
 * - A load is a branch for every lane and a bounds check for every number; several numbers a lane
 *   share the branch. So lanes load two k, or four rows or columns, whichever lie side by side, and
 *   blocks are high, for every number to meet many others. Broadcasts are nearly free.
 * - The loop must fit the instruction cache, with over 1 KiB of code a load. So it takes two k a turn.
 * - Sums that outnumber the registers do no harm as long as the compiler knows that they live in
 *   memory. So they are an array, whose indices are constants in the loop.
 */
export function softwareKernel(options: MatmulOptions, strips: 1 | 2 | 4 | 8): MatmulKernel {
  const { transposeA, transposeB, quadsA, quadsB, partial } = options
  const height = strips * LANES
  const rows = range(height)
  const even = (!transposeA && quadsA) || (transposeB && quadsB)
  const loadA = transposeA ? alongEdge : alongK
  const loadB = transposeB ? alongK : alongEdge
  const a = loadA({ name: 'a', size: 'm', count: height, quads: quadsA, even })
  const b = loadB({ name: 'b', size: 'n', count: WIDTH, quads: quadsB, even })
  const product = (r: number): string => {
    const terms = STEPS.reduce((sum, kk) => {
      const { register, lane } = a.at(r, kk)
      return `fma(vec4f(subgroupBroadcast(${register}, ${lane}u)), columns${kk}, ${sum})`
    }, `sums[${r}]`)
    return `    sums[${r}] = ${terms};`
  }
  const columns = (kk: number): string => QUAD.map((c) => b.at(c, kk).register).join(', ')
  return defineKernel({
    label: label(options),
    bindings: {
      ...bindings(options),
      a: read(a.type),
      b: read(b.type),
    } satisfies Record<MatmulBinding, Binding>,
    params,
    features: ['subgroups'],
    workgroups: blockWorkgroups(height, WIDTH),
    wgsl: /* wgsl */ `${epilogueWgsl(partial ? plainEpilogue : options, false)}
${slabWgsl}
${subgroupMainWgsl(LANES)} {${blockWgsl(height, WIDTH)}
  let column = columnBase + lane * 4u;
${a.start}
${b.start}
  // [row], the lane's four columns each
  var sums: array<vec4f, ${height}>;
  for (var k = slab.start; k < slab.end; k += ${STEPS.length}u) {
${a.load}
${b.load}
${lines(STEPS.map((kk) => `    let columns${kk} = vec4f(${columns(kk)});`))}
${lines(rows.map(product))}
  }
  let stored = min(${height}u, params.m - min(rowBase, params.m));
  let owned = min(4u, params.n - min(column, params.n));
  for (var r = 0u; r < stored; r++) {
    let sum = sums[r];
    for (var c = 0u; c < owned; c++) { store(slab.out, rowBase + r, column + c, sum[c]); }
  }
}
`,
  })
}
