import type { AttentionBinding, AttentionOptions } from './attention.ts'
import { layoutParams, sliceWgsl, sliceWorkgroups, type AttentionParam } from './attentionLayout.ts'
import { bindings, label, MASKED, splits, stored, transposedReduction } from './attentionParts.ts'
import { defineKernel, subgroupMainWgsl, type Kernel } from './kernel.ts'
import { lines, pick, range } from './template.ts'

const LANES = 8
/** Keys of a block; a lane owns those at base + lane, + 8, + 16, + 24. */
const KEYS = 32
const QUAD = range(4)
/** Keys that meet the sums in a turn of the loop over V. */
const TURN = range(2)

/** Queries of a workgroup. More load less, but LLVM takes 8 s to compile 26 of them, 3 s for these. */
const QUERIES = 16

/**
 * attention on lavapipe: a workgroup is one subgroup of 8 lanes and owns some queries of a head, as many
 * as its code allows; the reasons are those of matmul's `softwareKernel`. Scores have four keys a lane
 * and broadcast Q; sums have four output dimensions a lane for each chunk of the head, and broadcast P.
 * Both lie in one array, whose indices are constants in the loops. Past the last token, lanes repeat it.
 */
export function softwareKernel(
  options: AttentionOptions,
): Kernel<AttentionBinding, AttentionParam> {
  const { headSize, causal, logSumExp } = options
  const queries = QUERIES
  const rows = range(queries)
  const strips = range(Math.ceil(queries / LANES))
  const quads = headSize / 4
  const chunks = range(Math.ceil(quads / LANES))
  const each = (text: (row: number) => string): string => lines(rows.map(text))
  const sum = (row: number, chunk: number): string => `sums[${row * chunks.length + chunk}]`
  const score = (row: number): string => `sums[${queries * chunks.length + row}]`
  const broadcast = (name: string, row: number): string =>
    `subgroupBroadcast(${name}${Math.floor(row / LANES)}, ${row % LANES}u)`
  /** Reduces `value` of every row over all lanes; lane i of `name` and strip s then has row 8s + i. */
  const reduced = (
    name: string,
    value: (row: number) => string,
    op: (a: string, b: string) => string,
  ): string =>
    lines(
      strips.map((s) => {
        const names = range(LANES).map((i) => `${name}${s}_${i}`)
        const values = names.map((register, i) => {
          const row = Math.min(s * LANES + i, queries - 1)
          return `    var ${register} = ${value(row)};`
        })
        return `${lines(values)}\n${transposedReduction(names, op)}`
      }),
    )
  const seen = (r: number): string => {
    const end = causal ? `min(first + ${r}u, last)` : 'last'
    return `keys <= vec4u(${end})`
  }
  const dots = (r: number): string => {
    const terms = [...'xyzw'].reduce((total, x) => {
      const ks = QUAD.map((c) => `k${c}.${x}`).join(', ')
      return `fma(vec4f(qr.${x}), vec4f(${ks}), ${total})`
    }, score(r))
    return `      { let qr = ${broadcast('q', r)}; ${score(r)} = ${terms}; }`
  }
  return defineKernel({
    label: label(options),
    bindings: bindings(options),
    splits,
    params: layoutParams,
    features: ['subgroups'],
    workgroups: sliceWorkgroups(queries),
    wgsl: /* wgsl */ `${subgroupMainWgsl(LANES)} {
${sliceWgsl(queries)}
  let last = params.tokens - 1u;
  // Known to the template, but a software driver would unroll the loop and compile for many seconds.
  let quads = params.headSize / 4u;
${lines(strips.map((s) => `  let q${s}Row = qBase + min(first + ${s * LANES}u + lane, last) * inToken;`))}
${lines(chunks.map((c) => `  let v${c}Start = vBase + min(${c * LANES}u + lane, ${quads - 1}u);`))}
${lines(strips.map((s) => `  var max${s} = ${MASKED}; var total${s} = 0.0;`))}
  // [query][chunk] of the output, then [query] of the scores
  var sums: array<vec4f, ${queries * (chunks.length + 1)}>;
  let end = ${causal ? `min(params.tokens, first + ${queries}u)` : 'params.tokens'};
  for (var base = 0u; base < end; base += ${KEYS}u) {
    let keys = base + lane + vec4u(0u, 8u, 16u, 24u);
${lines(QUAD.map((c) => `    let k${c}Row = kBase + min(keys[${c}], last) * inToken;`))}
${each((r) => `    ${score(r)} = vec4f();`)}
    for (var i = 0u; i < quads; i++) {
${lines(strips.map((s) => `      let q${s} = vec4f(q[q${s}Row + i]);`))}
${lines(QUAD.map((c) => `      let k${c} = vec4f(k[k${c}Row + i]);`))}
${each(dots)}
    }
${each((r) => `    let s${r} = select(vec4f(${MASKED}), ${score(r)} * params.scale, ${seen(r)});`)}
${reduced(
  'top',
  (r) => `max(max(s${r}.x, s${r}.y), max(s${r}.z, s${r}.w))`,
  (a, b) => `max(${a}, ${b})`,
)}
${lines(
  strips.map(
    (s) => `    let higher${s} = max(max${s}, top${s}_0);
    let keep${s} = exp(max${s} - higher${s});
    max${s} = higher${s};`,
  ),
)}
${each(
  (r) => `    let e${r} = exp(s${r} - vec4f(${broadcast('max', r)}));
    { let keep = vec4f(${broadcast('keep', r)}); ${chunks.map((c) => `${sum(r, c)} *= keep;`).join(' ')} }`,
)}
${reduced(
  'part',
  (r) => `dot(e${r}, vec4f(1.0))`,
  (a, b) => `${a} + ${b}`,
)}
${lines(strips.map((s) => `    total${s} = fma(total${s}, keep${s}, part${s}_0);`))}
    let held = min(${KEYS}u, end - base);
    for (var start = 0u; start < held; start += ${LANES}u) {
      let strip = start / ${LANES}u;
${each(
  (r) =>
    `      let p${r} = ${pick(
      [...'xyzw'].map((x) => `e${r}.${x}`),
      'strip',
    )};`,
)}
      // A key past the end has the probability 0, and its lane a row that exists.
      let most = min(${LANES}u, held - start);
      for (var j = 0u; j < most; j += ${TURN.length}u) {
${lines(
  TURN.map((t) => {
    const row = `min(base + start + j + ${t}u, last) * inToken`
    const loads = chunks.map((c) => `let v${c}_${t} = vec4f(v[v${c}Start + row${t}]);`)
    return `        let row${t} = ${row}; ${loads.join(' ')}`
  }),
)}
${each((r) => {
  const ps = TURN.map((t) => `let w${t} = vec4f(subgroupShuffle(p${r}, j + ${t}u));`).join(' ')
  const terms = chunks.map((c) => {
    const value = TURN.reduce((total, t) => `fma(w${t}, v${c}_${t}, ${total})`, sum(r, c))
    return `${sum(r, c)} = ${value};`
  })
  return `        { ${ps} ${terms.join(' ')} }`
})}
      }
    }
  }
${lines(
  strips.map((s) => {
    const stored = `${s * LANES}u + lane < ${queries}u && first + ${s * LANES}u + lane <= last`
    return `  let inverse${s} = 1.0 / total${s};
${logSumExp ? `  if (${stored}) { lse[slice * params.tokens + first + ${s * LANES}u + lane] = max${s} + log(total${s}); }` : ''}`
  }),
)}
${each((r) => `  { let inverse = vec4f(${broadcast('inverse', r)}); ${chunks.map((c) => `${sum(r, c)} *= inverse;`).join(' ')} }`)}
  let stored = min(${queries}u, params.tokens - first);
  for (var r = 0u; r < stored; r++) {
    for (var c = lane; c < quads; c += ${LANES}u) {
      out[outBase + (first + r) * outToken + c] = ${stored(options)}(sums[r * ${chunks.length}u + c / ${LANES}u]);
    }
  }
}
`,
  })
}
