import {
  kernelFamily,
  defineKernel,
  linearWorkgroups,
  mainWgsl,
  read,
  readWrite,
} from './kernel.ts'
import { lines, range } from './template.ts'

/** Rows of A or columns of B that lie side by side in a packed block. */
export const PACK = 32
/** Steps of k that a thread moves; a packed block is padded by zeros to a multiple of it. */
const STEPS = 4

/** One operand of a product, made ready for `packedKernel`. */
export interface PackOptions {
  /** Its rows in memory run along k (A stored [m, k], or B stored [n, k]). */
  readonly alongK: boolean
  /** The length of its rows in memory is a multiple of four, so that one load takes four elements. */
  readonly quads: boolean
}

type PackParam = 'batch' | 'edge' | 'k'
type Sizes = Readonly<Record<PackParam, number>>

/** Elements of an operand of `edge` rows or columns, packed. */
export const packedSize = ({ batch, edge, k }: Sizes): number =>
  batch * Math.ceil(edge / PACK) * PACK * Math.ceil(k / STEPS) * STEPS

/**
 * x, batches of op(A)'s rows or op(B)'s columns, to out [batch, ⌈edge / 32⌉, k to a multiple of 4, 32]:
 * the order in which `packedKernel` reads. What lies past the edge or past k becomes 0. A thread moves
 * four of the edge by four of k.
 */
export const matmulPackKernel = kernelFamily(({ alongK, quads }: PackOptions) => {
  const four = range(4)
  const element = (row: string, column: string): string =>
    `select(0.0, x[start + min(${row}, rows - 1u) * columns + min(${column}, columns - 1u)], ${row} < rows && ${column} < columns)`
  // v0…v3 are rows in memory: of the edge if they run along k, else steps of k.
  const load = (i: number): string => {
    const row = `(row + ${i}u)`
    if (!quads) return `vec4f(${four.map((j) => element(row, `(column + ${j}u)`)).join(', ')})`
    const at = `(start + min(${row}, rows - 1u) * columns + min(column, columns - 4u)) / 4u`
    return `select(vec4f(), x[${at}], ${row} < rows && column < columns)`
  }
  const step = (j: number): string =>
    alongK ? `vec4f(${four.map((i) => `v${i}[${j}]`).join(', ')})` : `v${j}`
  return defineKernel<'x' | 'out', PackParam>({
    label: ['matmulPack', alongK ? 'alongK' : 'alongEdge', ...(quads ? ['quads'] : [])].join('.'),
    bindings: { x: read(quads ? 'vec4<f32>' : 'f32'), out: readWrite('vec4<f32>') },
    params: { batch: 'u32', edge: 'u32', k: 'u32' },
    workgroups: (sizes) => linearWorkgroups(packedSize(sizes) / (4 * STEPS), 64),
    wgsl: /* wgsl */ `${mainWgsl(64)} {
  let i = linearWorkgroup(id, count) * 64u + thread;
  let steps = (params.k + ${STEPS - 1}u) / ${STEPS}u;
  let blocks = (params.edge + ${PACK - 1}u) / ${PACK}u;
  // Neighbouring threads take neighbours of the edge, then of k.
  let quad = i % ${PACK / 4}u;
  let rest = i / ${PACK / 4}u;
  let k = rest % steps * ${STEPS}u;
  let block = rest / steps;
  if (block >= blocks * params.batch) { return; }
  let edge = block % blocks * ${PACK}u + quad * 4u;
  let rows = ${alongK ? 'params.edge' : 'params.k'};
  let columns = ${alongK ? 'params.k' : 'params.edge'};
  let row = ${alongK ? 'edge' : 'k'};
  let column = ${alongK ? 'k' : 'edge'};
  let start = block / blocks * rows * columns;
${lines(four.map((i) => `  let v${i} = ${load(i)};`))}
  let at = (block * steps * ${STEPS}u + k) * ${PACK / 4}u + quad;
${lines(four.map((j) => `  out[at + ${(j * PACK) / 4}u] = ${step(j)};`))}
}
`,
  })
})
