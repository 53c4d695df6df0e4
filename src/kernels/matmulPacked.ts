import { defineKernel, subgroupMainWgsl, read, type Binding } from './kernel.ts'
import type { MatmulBinding, MatmulKernel, MatmulOptions } from './matmul.ts'
import {
  bindings,
  blockWgsl,
  blockWorkgroups,
  epilogueWgsl,
  label,
  params,
  slabWgsl,
} from './matmulAccess.ts'
import { PACK } from './matmulPack.ts'
import { lines, range } from './template.ts'

const LANES = 8
const STEPS = range(2)

/**
 * matmul on lavapipe for products so large that copying both operands costs little (`matmulPack.ts`): a
 * subgroup owns 32×32 of the output as in `matmulSoftware.ts`, and reads both operands in order, four
 * elements a lane, without a bound to watch. A lane has four rows of A and four columns of B.
 */
export function packedKernel(options: MatmulOptions): MatmulKernel {
  const product = (r: number): string => {
    const terms = STEPS.reduce(
      (sum, kk) =>
        `fma(vec4f(subgroupBroadcast(a${kk}[${r % 4}], ${Math.floor(r / 4)}u)), b${kk}, ${sum})`,
      `sums[${r}]`,
    )
    return `    sums[${r}] = ${terms};`
  }
  const quads = PACK / 4
  return defineKernel({
    label: label(options),
    bindings: {
      ...bindings(options),
      a: read('vec4<f32>'),
      b: read('vec4<f32>'),
    } satisfies Record<MatmulBinding, Binding>,
    params,
    features: ['subgroups'],
    workgroups: blockWorkgroups(PACK, PACK),
    wgsl: /* wgsl */ `${epilogueWgsl(options, false)}
${slabWgsl}
${subgroupMainWgsl(LANES)} {${blockWgsl(PACK, PACK)}
  let column = columnBase + lane * 4u;
  // A block's quads: k is padded to a multiple of four.
  let depth = (params.k + 3u) / 4u * ${4 * quads}u;
  let aStart = slab.a / 4u + rowBase / ${PACK}u * depth + lane;
  let bStart = slab.b / 4u + columnBase / ${PACK}u * depth + lane;
  // [row], the lane's four columns each
  var sums: array<vec4f, ${PACK}>;
  for (var at = 0u; at < depth; at += ${STEPS.length * quads}u) {
${lines(STEPS.map((kk) => `    let a${kk} = a[aStart + at + ${kk * quads}u]; let b${kk} = b[bStart + at + ${kk * quads}u];`))}
${lines(range(PACK).map(product))}
  }
  let stored = min(${PACK}u, params.m - rowBase);
  let owned = min(4u, params.n - min(column, params.n));
  for (var r = 0u; r < stored; r++) {
    let sum = sums[r];
    for (var c = 0u; c < owned; c++) { store(slab.out, rowBase + r, column + c, sum[c]); }
  }
}
`,
  })
}
