import { defineKernel, mainWgsl, linearWorkgroups, read, readWrite } from './kernel.ts'

const GROUP = 64

/**
 * The `k` largest values of each row of x [rows, columns], in descending order, ties by ascending
 * column; `values` and `indices` [rows, k]. Columns beyond a row's length give −3e38 and 2³²−1.
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
  wgsl: /* wgsl */ `
const NONE = 0xffffffffu;
var<workgroup> bestValue: array<f32, ${GROUP}>;
var<workgroup> bestIndex: array<u32, ${GROUP}>;
fn before(a: f32, i: u32, b: f32, j: u32) -> bool { return a > b || (a == b && i < j); }
${mainWgsl(GROUP)} {
  let row = linearWorkgroup(id, count);
  if (row >= params.rows) { return; }
  var lastValue = 3.4e38;
  var lastIndex = 0u;
  for (var round = 0u; round < params.k; round++) {
    var value = -3e38;
    var index = NONE;
    for (var column = thread; column < params.columns; column += ${GROUP}u) {
      let candidate = x[row * params.columns + column];
      let after = round == 0u || before(lastValue, lastIndex, candidate, column);
      if (after && before(candidate, column, value, index)) {
        value = candidate;
        index = column;
      }
    }
    bestValue[thread] = value;
    bestIndex[thread] = index;
    for (var half = ${GROUP / 2}u; half > 0u; half /= 2u) {
      workgroupBarrier();
      if (thread < half && before(bestValue[thread + half], bestIndex[thread + half], bestValue[thread], bestIndex[thread])) {
        bestValue[thread] = bestValue[thread + half];
        bestIndex[thread] = bestIndex[thread + half];
      }
    }
    workgroupBarrier();
    lastValue = bestValue[0];
    lastIndex = bestIndex[0];
    workgroupBarrier();
    if (thread == 0u) {
      values[row * params.k + round] = lastValue;
      indices[row * params.k + round] = lastIndex;
    }
  }
}
`,
})
