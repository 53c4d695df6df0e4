import type { Each } from './elementwise.ts'
import {
  defineKernel,
  kernelFamily,
  linearWorkgroups,
  mainWgsl,
  read,
  readWrite,
  type Split,
} from './kernel.ts'
import { lines, range } from './template.ts'

/**
 * out[index[m]] += source[m] without float atomics: the source rows of every row of `out` are added
 * in ascending order of m. Few of them are found by scanning the whole index; many are first sorted
 * by row: counted, placed, and each row's list put in order, so that the places which the counters
 * happened to give don't show.
 */

const GROUP = 64

/** An index past the end names the last row: a write outside the buffer could land anywhere. */
const rowOf = (rows: 'rows' | 'all'): string => /* wgsl */ `
fn rowOf(m: u32) -> u32 { return min(index[m], params.${rows} - 1u); }
`

interface ScatterAddOptions {
  /** Whether the sum starts from `base` [rows, columns], not from 0. */
  readonly base: boolean
  /** Whether `columns` counts vec4s. */
  readonly vector: boolean
}

/** Of `all` rows, a dispatch adds to `rows` from `first` on. */
const params = { rows: 'u32', columns: 'u32', first: 'u32', all: 'u32', count: 'u32' } as const
const splits = ({ vector }: ScatterAddOptions, wide = 1): Split<string, keyof typeof params>[] => {
  const row = ({ columns }: { readonly columns: number }): number =>
    columns * wide * (vector ? 4 : 1)
  return [{ along: 'rows', offset: 'first', per: { base: row, out: row } }]
}
const perElement = ({ rows, columns }: { rows: number; columns: number }) =>
  linearWorkgroups(rows * columns, GROUP)

const initial = ({ base, vector }: ScatterAddOptions, at: string): string =>
  base ? `base[${at}]` : vector ? 'vec4f()' : '0.0'

const head = ({ base, vector }: ScatterAddOptions): string => /* wgsl */ `
${mainWgsl(GROUP)} {
  let i = linearWorkgroup(id, count) * ${GROUP}u + thread;
  let own = i / params.columns;
  let column = i - own * params.columns;
  if (own >= params.rows) { return; }
  let row = params.first + own;
  var sum = ${initial({ base, vector }, 'i')};
`

const bindings = ({ base, vector }: ScatterAddOptions) => {
  const type = vector ? 'vec4<f32>' : 'f32'
  return { source: read(type), ...(base ? { base: read(type) } : {}), out: readWrite(type) }
}

const suffix = ({ base, vector }: ScatterAddOptions): string =>
  `${base ? '.base' : ''}${vector ? '.vec4' : ''}`

/** Scans the whole index for every element: rows · columns · count reads of it. */
export const scatterAddScanKernel = kernelFamily((options: ScatterAddOptions) =>
  defineKernel<string, keyof typeof params>({
    label: `scatterAdd.scan${suffix(options)}`,
    bindings: { index: read('u32'), ...bindings(options) },
    params,
    splits: splits(options),
    workgroups: perElement,
    wgsl: /* wgsl */ `${rowOf('all')}${head(options)}
  for (var m = 0u; m < params.count; m++) {
    if (rowOf(m) == row) { sum += source[m * params.columns + column]; }
  }
  out[i] = sum;
}
`,
  }),
)

interface SortedOptions extends ScatterAddOptions {
  readonly each: Each
  /** Elements or vec4s side by side that a thread adds up at once; `columns` counts these. */
  readonly wide: 1 | 4
}

/** Adds the rows that `order` lists from `starts[row]` up to `starts[row + 1]`. */
export const scatterAddSortedKernel = kernelFamily(({ each, wide, ...options }: SortedOptions) => {
  const sums = range(wide)
  const at = (place: string, k: number): string =>
    wide === 1 ? place : `${wide}u * ${place} + ${k}u`
  const share = (GROUP * each) / wide
  return defineKernel<string, keyof typeof params>({
    label: `scatterAdd.sorted${suffix(options)}.${each}.${wide}`,
    bindings: { starts: read('u32'), order: read('u32'), ...bindings(options) },
    params,
    splits: splits(options, wide),
    workgroups: ({ rows, columns }) => linearWorkgroups(rows * columns, share),
    wgsl: /* wgsl */ `
${mainWgsl(GROUP)} {
  let begin = linearWorkgroup(id, count) * ${share}u;
  let last = min(begin + ${share}u, params.rows * params.columns);
  var row = (begin + thread) / params.columns;
  var column = begin + thread - row * params.columns;
  row += params.first;
  // Carried along: a division for every element costs a software adapter as much as two loads.
  let rowStep = ${GROUP}u / params.columns;
  let columnStep = ${GROUP}u - rowStep * params.columns;
  for (var i = begin + thread; i < last; i += ${GROUP}u) {
    ${lines(sums.map((k) => `var sum${k} = ${initial(options, at('i', k))};`))}
    let end = starts[row + 1u];
    for (var j = starts[row]; j < end; j++) {
      let place = order[j] * params.columns + column;
      ${lines(sums.map((k) => `sum${k} += source[${at('place', k)}];`))}
    }
    ${lines(sums.map((k) => `out[${at('i', k)}] = sum${k};`))}
    column += columnStep;
    let over = column >= params.columns;
    column -= select(0u, params.columns, over);
    row += rowStep + select(0u, 1u, over);
  }
}
`,
  })
})

/** Threads of {@link sortAloneKernel}, each with a table of counts of its own. */
export const SORT_LANES = 8

/**
 * `starts` and `order` at once, for software adapters: a stable counting sort in one workgroup of one
 * subgroup. A thread counts a run of the index; the counts of a row, thread after thread, become places
 * by a sum; and every thread puts its run there in ascending order.
 *
 * `table` [rows, SORT_LANES] is scratch.
 */
export const sortAloneKernel = defineKernel({
  label: 'scatterAdd.sortAlone',
  bindings: {
    index: read('u32'),
    table: readWrite('u32'),
    starts: readWrite('u32'),
    order: readWrite('u32'),
  },
  params: { rows: 'u32', count: 'u32' },
  workgroups: () => [1, 1, 1],
  wgsl: /* wgsl */ `${rowOf('rows')}
var<workgroup> totals: array<u32, ${SORT_LANES}>;
@compute @workgroup_size(${SORT_LANES})
fn main(@builtin(local_invocation_index) thread: u32) {
  for (var row = 0u; row < params.rows; row++) { table[row * ${SORT_LANES}u + thread] = 0u; }
  let run = (params.count + ${SORT_LANES - 1}u) / ${SORT_LANES}u;
  let first = min(thread * run, params.count);
  let end = min(first + run, params.count);
  for (var m = first; m < end; m++) { table[rowOf(m) * ${SORT_LANES}u + thread]++; }
  storageBarrier();
  workgroupBarrier();

  let rows = (params.rows + ${SORT_LANES - 1}u) / ${SORT_LANES}u;
  let firstRow = min(thread * rows, params.rows);
  let endRow = min(firstRow + rows, params.rows);
  var own = 0u;
  for (var i = firstRow * ${SORT_LANES}u; i < endRow * ${SORT_LANES}u; i++) { own += table[i]; }
  totals[thread] = own;
  workgroupBarrier();
  var sum = 0u;
  for (var before = 0u; before < thread; before++) { sum += totals[before]; }
  for (var row = firstRow; row < endRow; row++) {
    starts[row] = sum;
    for (var i = row * ${SORT_LANES}u; i < (row + 1u) * ${SORT_LANES}u; i++) {
      let counted = table[i];
      table[i] = sum;
      sum += counted;
    }
  }
  if (thread == 0u) { starts[params.rows] = params.count; }
  storageBarrier();
  workgroupBarrier();

  for (var m = first; m < end; m++) {
    let i = rowOf(m) * ${SORT_LANES}u + thread;
    let place = table[i];
    order[place] = m;
    table[i] = place + 1u;
  }
}
`,
})

/** counts[n] += the times that `index` [count] names row n; counts start at 0. */
export const countRowsKernel = defineKernel({
  label: 'scatterAdd.count',
  bindings: { index: read('u32'), counts: readWrite('atomic<u32>') },
  params: { rows: 'u32', count: 'u32' },
  workgroups: ({ count }) => linearWorkgroups(count, GROUP),
  wgsl: /* wgsl */ `${rowOf('rows')}
${mainWgsl(GROUP)} {
  let m = linearWorkgroup(id, count) * ${GROUP}u + thread;
  if (m < params.count) { atomicAdd(&counts[rowOf(m)], 1u); }
}
`,
})

/** starts [rows + 1]: sums of the counts before each row. One workgroup, a run of rows to a thread. */
export const startsOfRowsKernel = defineKernel({
  label: 'scatterAdd.starts',
  bindings: { counts: read('u32'), starts: readWrite('u32') },
  params: { rows: 'u32' },
  workgroups: () => [1, 1, 1],
  wgsl: /* wgsl */ `
var<workgroup> totals: array<u32, ${GROUP}>;
@compute @workgroup_size(${GROUP})
fn main(@builtin(local_invocation_index) thread: u32) {
  let run = (params.rows + ${GROUP - 1}u) / ${GROUP}u;
  let first = min(thread * run, params.rows);
  let end = min(first + run, params.rows);
  var own = 0u;
  for (var row = first; row < end; row++) { own += counts[row]; }
  totals[thread] = own;
  workgroupBarrier();
  var sum = 0u;
  for (var before = 0u; before < thread; before++) { sum += totals[before]; }
  for (var row = first; row < end; row++) {
    starts[row] = sum;
    sum += counts[row];
  }
  if (thread == ${GROUP - 1}u) { starts[params.rows] = sum; }
}
`,
})

/** Puts every m among those of its row, in any order, and counts the counts down to 0. */
export const placeRowsKernel = defineKernel({
  label: 'scatterAdd.place',
  bindings: {
    index: read('u32'),
    starts: read('u32'),
    counts: readWrite('atomic<u32>'),
    order: readWrite('u32'),
  },
  params: { rows: 'u32', count: 'u32' },
  workgroups: ({ count }) => linearWorkgroups(count, GROUP),
  wgsl: /* wgsl */ `${rowOf('rows')}
${mainWgsl(GROUP)} {
  let m = linearWorkgroup(id, count) * ${GROUP}u + thread;
  if (m >= params.count) { return; }
  let row = rowOf(m);
  order[starts[row] + atomicSub(&counts[row], 1u) - 1u] = m;
}
`,
})

/** Sorts each row's part of `order` in place by heapsort, a row to a thread. */
export const sortRowsKernel = defineKernel({
  label: 'scatterAdd.sort',
  bindings: { starts: read('u32'), order: readWrite('u32') },
  params: { rows: 'u32' },
  workgroups: ({ rows }) => linearWorkgroups(rows, GROUP),
  wgsl: /* wgsl */ `
fn siftDown(start: u32, top: u32, size: u32) {
  let value = order[start + top];
  var hole = top;
  loop {
    var child = 2u * hole + 1u;
    if (child >= size) { break; }
    if (child + 1u < size && order[start + child + 1u] > order[start + child]) { child++; }
    if (order[start + child] <= value) { break; }
    order[start + hole] = order[start + child];
    hole = child;
  }
  order[start + hole] = value;
}
${mainWgsl(GROUP)} {
  let row = linearWorkgroup(id, count) * ${GROUP}u + thread;
  if (row >= params.rows) { return; }
  let start = starts[row];
  let size = starts[row + 1u] - start;
  for (var i = size / 2u; i > 0u; i--) { siftDown(start, i - 1u, size); }
  for (var left = size; left > 1u; left--) {
    let largest = order[start];
    order[start] = order[start + left - 1u];
    order[start + left - 1u] = largest;
    siftDown(start, 0u, left - 1u);
  }
}
`,
})
