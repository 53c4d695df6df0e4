import { defineKernel, mainWgsl, linearWorkgroups, read, readWrite } from './kernel.ts'

const GROUP = 64

const main = (body: string): string => /* wgsl */ `
// An index past the end takes the last row: a read outside the buffer could give anything.
fn rowOf(m: u32) -> u32 { return min(index[m], params.rows - 1u); }
${mainWgsl(GROUP)} {
  let i = linearWorkgroup(id, count) * ${GROUP}u + thread;
  let row = i / params.columns;
  let column = i % params.columns;
  ${body}
}
`

/** out[m] = x[index[m]]: x [rows, columns], index [count] → out [count, columns]. */
export const gatherRowsKernel = defineKernel({
  label: 'gatherRows',
  bindings: { x: read('f32'), index: read('u32'), out: readWrite('f32') },
  params: { rows: 'u32', columns: 'u32', count: 'u32' },
  workgroups: ({ columns, count }) => linearWorkgroups(columns * count, GROUP),
  cost: ({ columns, count }) => ({ bytes: (2 * columns + 1) * count * 4 }),
  wgsl: main('if (row < params.count) { out[i] = x[rowOf(row) * params.columns + column]; }'),
})

/**
 * dX[n] = Σ dOut[m] over the m with index[m] = n, in ascending order of m.
 *
 * Every element scans the whole index, rows · count reads per column: without atomics, which would
 * add in any order, and cheap as long as the index is short.
 */
export const gatherRowsBackwardKernel = defineKernel({
  label: 'gatherRows.backward',
  bindings: { index: read('u32'), dOut: read('f32'), dX: readWrite('f32') },
  params: { rows: 'u32', columns: 'u32', count: 'u32' },
  workgroups: ({ columns, rows }) => linearWorkgroups(columns * rows, GROUP),
  wgsl: main(/* wgsl */ `
  if (row >= params.rows) { return; }
  var sum = 0.0;
  for (var m = 0u; m < params.count; m++) {
    if (rowOf(m) == row) { sum += dOut[m * params.columns + column]; }
  }
  dX[i] = sum;`),
})
