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

const ROWS = 8
const COLUMNS = 16
/** Threads that share a column's k, each taking every sixteenth step, or quad of steps. */
const SHARES = 16

/**
 * For few rows, where reading B once is all the work: many small workgroups, each of which reads its
 * columns of B once and uses every element for eight rows. The shares of one sum are added in order.
 */
export function rowsKernel(given: MatmulOptions): MatmulKernel {
  // Quads must lie along k in both operands, as they do where the weight is stored [n, k].
  const quads = given.quadsA && given.quadsB && !given.transposeA && given.transposeB
  const options = { ...given, quadsA: quads, quadsB: quads }
  const type = valueType(quads)
  const rows = range(ROWS)
  // Neighbouring threads read neighbouring elements of B, whichever way it is stored.
  const [column, share] = options.transposeB
    ? [`thread / ${SHARES}u`, `thread % ${SHARES}u`]
    : [`thread % ${COLUMNS}u`, `thread / ${COLUMNS}u`]
  return defineKernel({
    label: label(options),
    bindings: bindings(options),
    params,
    features: features(options),
    workgroups: blockWorkgroups(ROWS, COLUMNS),
    wgsl: /* wgsl */ `${accessWgsl(options)}
var<workgroup> shares: array<f32, ${ROWS * COLUMNS * SHARES}>;
${mainWgsl(COLUMNS * SHARES)} {${blockWgsl(ROWS, COLUMNS)}
  let placeInRow = ${column};
  let share = ${share};
  let column = min(columnBase + placeInRow, params.n - 1u);
${lines(rows.map((r) => `  let row${r} = min(rowBase + ${r}u, params.m - 1u);`))}
${lines(rows.map((r) => `  var sum${r} = ${type}();`))}
  for (var k = slab.start + share${quads ? ' * 4u' : ''}; k < slab.end; k += ${quads ? 4 * SHARES : SHARES}u) {
    let vb = loadB(slab.b, k, column);
${lines(rows.map((r) => `    sum${r} = fma(loadA(slab.a, row${r}, k), vb, sum${r});`))}
  }
  let at = share * ${ROWS * COLUMNS}u + placeInRow;
${lines(rows.map((r) => `  shares[at + ${r * COLUMNS}u] = ${quads ? `(sum${r}.x + sum${r}.y) + (sum${r}.z + sum${r}.w)` : `sum${r}`};`))}
  workgroupBarrier();
  let r = rowBase + thread / ${COLUMNS}u;
  let c = columnBase + thread % ${COLUMNS}u;
  if (thread >= ${ROWS * COLUMNS}u || r >= params.m || c >= params.n) { return; }
  var sum = 0.0;
  for (var i = 0u; i < ${SHARES}u; i++) { sum += shares[i * ${ROWS * COLUMNS}u + thread]; }
  store(slab.out, r, c, sum);
}
`,
  })
}
