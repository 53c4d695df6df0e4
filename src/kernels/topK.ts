import { keyWgsl } from './extremum.ts'
import { defineKernel, mainWgsl, linearWorkgroups, read, readWrite } from './kernel.ts'

const GROUP = 64

/**
 * The `k` largest values of each row of x [rows, columns], in descending order, ties by ascending
 * column; `values` and `indices` [rows, k]. NaN counts as larger than all. Columns beyond a row's
 * length give −3e38 and 2³²−1.
 *
 * Each round finds the largest value after the one before it, so nothing is written in between.
 */
export const topKKernel = defineKernel({
  label: 'topK',
  splits: [
    {
      along: 'rows',
      per: { x: ({ columns }) => columns, values: ({ k }) => k, indices: ({ k }) => k },
    },
  ],
  bindings: { x: read('f32'), values: readWrite('f32'), indices: readWrite('u32') },
  params: { rows: 'u32', columns: 'u32', k: 'u32' },
  workgroups: ({ rows }) => linearWorkgroups(rows, 1),
  wgsl: /* wgsl */ `${keyWgsl('max')}
const NONE = 0xffffffffu;
var<workgroup> bestKey: array<u32, ${GROUP}>;
var<workgroup> bestIndex: array<u32, ${GROUP}>;
fn before(a: u32, i: u32, b: u32, j: u32) -> bool { return a > b || (a == b && i < j); }
${mainWgsl(GROUP)} {
  let row = linearWorkgroup(id, count);
  if (row >= params.rows) { return; }
  var lastKey = NONE;
  var lastIndex = 0u;
  for (var round = 0u; round < params.k; round++) {
    // No number has the key 0.
    var largest = 0u;
    var index = NONE;
    for (var column = thread; column < params.columns; column += ${GROUP}u) {
      let candidate = key(x[row * params.columns + column]);
      let after = round == 0u || before(lastKey, lastIndex, candidate, column);
      if (after && before(candidate, column, largest, index)) {
        largest = candidate;
        index = column;
      }
    }
    bestKey[thread] = largest;
    bestIndex[thread] = index;
    for (var half = ${GROUP / 2}u; half > 0u; half /= 2u) {
      workgroupBarrier();
      if (thread < half && before(bestKey[thread + half], bestIndex[thread + half], bestKey[thread], bestIndex[thread])) {
        bestKey[thread] = bestKey[thread + half];
        bestIndex[thread] = bestIndex[thread + half];
      }
    }
    workgroupBarrier();
    lastKey = bestKey[0];
    lastIndex = bestIndex[0];
    workgroupBarrier();
    if (thread == 0u) {
      let found = lastIndex != NONE;
      values[row * params.k + round] = select(-3e38, x[row * params.columns + select(0u, lastIndex, found)], found);
      indices[row * params.k + round] = lastIndex;
    }
  }
}
`,
})

/** dX [rows, columns] = dOut [rows, k] at the columns that were taken, 0 elsewhere. */
export const topKBackwardKernel = defineKernel({
  label: 'topK.backward',
  splits: [
    {
      along: 'rows',
      per: { indices: ({ k }) => k, dOut: ({ k }) => k, dX: ({ columns }) => columns },
    },
  ],
  bindings: { indices: read('u32'), dOut: read('f32'), dX: readWrite('f32') },
  params: { rows: 'u32', columns: 'u32', k: 'u32' },
  workgroups: ({ rows, columns }) => linearWorkgroups(rows * columns, GROUP),
  wgsl: /* wgsl */ `
${mainWgsl(GROUP)} {
  let i = linearWorkgroup(id, count) * ${GROUP}u + thread;
  let row = i / params.columns;
  if (row >= params.rows) { return; }
  let column = i % params.columns;
  var gradient = 0.0;
  for (var j = row * params.k; j < (row + 1u) * params.k; j++) {
    if (indices[j] == column) { gradient = dOut[j]; }
  }
  dX[i] = gradient;
}
`,
})
