import { defineKernel, kernelFamily, mainWgsl, read, readWrite } from './kernel.ts'
import { linearWorkgroups } from './kernel.ts'
import { lines, range } from './template.ts'

/** A thread's block has 4×4 elements, a workgroup's 8×8 blocks; both sides are touched in runs of 128 bytes. */
const SIDE = 8
const GROUP = SIDE * SIDE
const BLOCK = 4

interface TransposeOptions {
  /** `read`: the transposed side is x. `write`: it is out. */
  readonly direction: 'read' | 'write'
  /** Tiles of a workgroup, one below the other: more of them on a software adapter. */
  readonly tiles: 1 | 4
}

const params = {
  outer: 'u32',
  inner: 'u32',
  rows: 'u32',
  columns: 'u32',
  outerStride: 'u32',
  innerStride: 'u32',
  columnStride: 'u32',
  offset: 'u32',
} as const

const ROWS = SIDE * BLOCK
const tilesDown = (rows: number, tiles: number): number => Math.ceil(rows / (ROWS * tiles))

/**
 * Between a dense array [outer, inner, rows, columns] and another that has 1 for the stride of rows and
 * `columnStride`, `outerStride` and `innerStride` for the others, from `offset` on: transposes of
 * matrices in registers. Rows, columns, strides and the offset are multiples of 4.
 */
export const transposeKernel = kernelFamily(({ direction, tiles }: TransposeOptions) =>
  defineKernel({
    label: `transpose.${direction}.${tiles}`,
    bindings: { x: read('vec4<f32>'), out: readWrite('vec4<f32>') },
    params,
    workgroups: ({ outer, inner, rows, columns }) =>
      linearWorkgroups(outer * inner * tilesDown(rows, tiles) * Math.ceil(columns / ROWS), 1),
    wgsl: /* wgsl */ `
${mainWgsl(GROUP)} {
  let across = (params.columns + ${ROWS - 1}u) / ${ROWS}u;
  let down = (params.rows + ${ROWS * tiles - 1}u) / ${ROWS * tiles}u;
  let group = linearWorkgroup(id, count);
  let batch = group / (across * down);
  let tile = group - batch * across * down;
  let tileRow = tile / across;
  let column = (tile - tileRow * across) * ${ROWS}u + thread % ${SIDE}u * ${BLOCK}u;
  let outer = batch / params.inner;
  let inner = batch - outer * params.inner;
  if (outer >= params.outer || column >= params.columns) { return; }
  let first = tileRow * ${ROWS * tiles}u + thread / ${SIDE}u * ${BLOCK}u;
  let end = min((tileRow + 1u) * ${ROWS * tiles}u, params.rows);
  let dense = (batch * params.rows * params.columns + column) / 4u;
  let width = params.columns / 4u;
  let other = (params.offset + outer * params.outerStride + inner * params.innerStride
    + column * params.columnStride) / 4u;
  let step = params.columnStride / 4u;
  for (var row = first; row < end; row += ${ROWS}u) {
    let d = dense + row * width;
    let o = other + row / 4u;
    ${lines(range(BLOCK).map((i) => `let v${i} = x[${direction === 'read' ? `o + ${i}u * step` : `d + ${i}u * width`}];`))}
    ${lines(
      ['x', 'y', 'z', 'w'].map((c, i) => {
        const at = direction === 'read' ? `d + ${i}u * width` : `o + ${i}u * step`
        return `out[${at}] = vec4f(v0.${c}, v1.${c}, v2.${c}, v3.${c});`
      }),
    )}
  }
}
`,
  }),
)
