import { defineKernel, mainWgsl, linearWorkgroups, read, readWrite } from './kernel.ts'

const GROUP = 64

/** `held` rows from `first` on are bound, of `rows` in all: a table beyond one binding is cut. */
const params = {
  rows: 'u32',
  columns: 'u32',
  count: 'u32',
  first: 'u32',
  held: 'u32',
} as const

const columns = ({ columns }: { readonly columns: number }): number => columns

const main = (body: string): string => /* wgsl */ `
// An index past the end takes the last row: a read outside the buffer could give anything.
fn rowOf(m: u32) -> u32 { return min(index[m], params.rows - 1u) - params.first; }
${mainWgsl(GROUP)} {
  let i = linearWorkgroup(id, count) * ${GROUP}u + thread;
  let row = i / params.columns;
  let column = i % params.columns;
  ${body}
}
`

/** out[m] = x[index[m]]: x [held, columns], index [count] → out [count, columns]. */
export const gatherRowsKernel = defineKernel({
  label: 'gatherRows',
  splits: [
    { along: 'count', per: { index: 1, out: columns } },
    { along: 'held', offset: 'first', per: { x: columns } },
  ],
  bindings: { x: read('f32'), index: read('u32'), out: readWrite('f32') },
  params,
  workgroups: ({ columns, count }) => linearWorkgroups(columns * count, GROUP),
  wgsl: main(/* wgsl */ `
  if (row >= params.count) { return; }
  // Below 'first', the difference wraps to a number far beyond 'held'.
  let from = rowOf(row);
  if (from < params.held) { out[i] = x[from * params.columns + column]; }`),
})

/**
 * dX[n] = Σ dOut[m] over the m with index[m] = n, in ascending order of m.
 *
 * Every element scans the whole index, rows · count reads per column: without atomics, which would
 * add in any order, and cheap as long as the index is short.
 */
export const gatherRowsBackwardKernel = defineKernel({
  label: 'gatherRows.backward',
  splits: [{ along: 'held', offset: 'first', per: { dX: columns } }],
  bindings: { index: read('u32'), dOut: read('f32'), dX: readWrite('f32') },
  params,
  workgroups: ({ columns, held }) => linearWorkgroups(columns * held, GROUP),
  wgsl: main(/* wgsl */ `
  if (row >= params.held) { return; }
  var sum = 0.0;
  for (var m = 0u; m < params.count; m++) {
    if (rowOf(m) == row) { sum += dOut[m * params.columns + column]; }
  }
  dX[i] = sum;`),
})
