import {
  bindings,
  label,
  splits,
  termsOf,
  type AttentionBackwardOptions,
  type BackwardBinding,
  type Matrix,
} from './attentionBackwardParts.ts'
import { softwareBackwardKernel } from './attentionBackwardSoftware.ts'
import {
  attentionCost,
  layoutParams,
  perBatch,
  sliceWgsl,
  sliceWorkgroups,
  type AttentionParam,
  type AttentionParams,
} from './attentionLayout.ts'
import {
  defineKernel,
  kernelFamily,
  mainWgsl,
  linearWorkgroups,
  read,
  readWrite,
  type Kernel,
} from './kernel.ts'
import { lines, pick, range } from './template.ts'

export type { AttentionBackwardOptions } from './attentionBackwardParts.ts'

/** delta[b, h, t] = Σ dOut ∘ out over a head of a token, a thread each. */
export const attentionDeltaKernel = defineKernel<
  'out' | 'dOut' | 'delta',
  Exclude<AttentionParam, 'scale'>
>({
  label: 'attentionDelta',
  splits: [
    { along: 'batches', per: { out: perBatch.out, dOut: perBatch.out, delta: perBatch.query } },
  ],
  bindings: { out: read('vec4<f32>'), dOut: read('vec4<f32>'), delta: readWrite('f32') },
  params: layoutParams,
  workgroups: ({ batches, heads, tokens }) => linearWorkgroups(batches * heads * tokens, 64),
  wgsl: /* wgsl */ `${mainWgsl(64)} {
  let i = linearWorkgroup(id, count) * 64u + thread;
  let slice = i / params.tokens;
  if (slice >= params.batches * params.heads) { return; }
  let batch = slice / params.heads;
  let row = batch * params.outBatch + slice % params.heads * params.outHead + i % params.tokens * params.outToken;
  var sum = 0.0;
  for (var c = row / 4u; c < (row + params.headSize) / 4u; c++) { sum += dot(out[c], dOut[c]); }
  delta[i] = sum;
}
`,
})

/**
 * The gradient of attention, without atomics: one kernel owns queries and makes dQ, another owns
 * keys and makes dK and dV. Both make the probabilities again from `lse`, the log Σ exp(score) of
 * every query that the forward pass saved (Dao et al., "FlashAttention", 2022, appendix B):
 *
 *     P = exp(scale · Q·Kᵀ − lse)    dS = P ∘ (dOut·Vᵀ − delta) · scale    delta = rowsum(dOut ∘ out)
 *     dQ = dS·K    dK = dSᵀ·Q    dV = Pᵀ·dOut
 */
export const attentionBackwardKernel = kernelFamily((options: AttentionBackwardOptions) => {
  const { owner, causal, variant } = options
  const kernel = variant === 'tile' ? tileKernel(options) : softwareBackwardKernel(options)
  return { ...kernel, cost: attentionCost(owner === 'query' ? 3 : 4, causal) }
})

/** Rows that a workgroup owns, and rows that they meet at a time. */
const TILE = 32
/** Of a staged row, in vec4s: 4 and one more, so that rows start in different memory banks. */
const STRIDE = 5
const TILE_QUADS = 2 * TILE * STRIDE

/**
 * 8×8 threads own 32 rows. For 32 other rows at a time, thread (y, x) makes the scores of owned rows
 * 4y…4y+3 with others x, x+8, …, then adds to gradients of the same owned rows.
 */
function tileKernel(options: AttentionBackwardOptions): Kernel<BackwardBinding, AttentionParam> {
  const { headSize, causal, owner } = options
  const ownsQueries = owner === 'query'
  const { products, gradients } = termsOf(options)
  const quads = headSize / 4
  const rows = range(4)
  const chunks = range(Math.ceil(quads / 8))
  const tileRows = Math.min(TILE, Math.floor(TILE_QUADS / quads))
  const perRow = (text: (r: number) => string): string => rows.map(text).join(', ')
  const sums = (g: number, text: (sum: string, r: number, c: number) => string): string =>
    lines(rows.map((r) => chunks.map((c) => text(`sum${g}_${r}_${c}`, r, c)).join(' ')))
  const load = ({ name, base, token }: Matrix, row: string): string =>
    `${name}[${base} + ${row} * ${token} + c]`
  const loadEither = (role: 'own' | 'other', row: string): string => {
    const [scores, gradients] = products
    return `if (turn == 0u) { value = ${load(scores[role], row)}; } else { value = ${load(gradients[role], row)}; }`
  }
  // Of four others (vec4) and owned row r.
  const statistic = (name: string, r: number): string => (ownsQueries ? `${name}[${r}]` : name)
  const seen = (r: number): string => {
    if (!causal) return 'other < vec4u(params.tokens)'
    return ownsQueries
      ? `other < vec4u(min(row + ${r + 1}u, params.tokens))`
      : `(other < vec4u(params.tokens)) & (other >= vec4u(row + ${r}u))`
  }
  const loadStatistics = (at: (i: number) => string): string => `
    let rowLse = vec4f(${perRow((i) => `lse[slice * params.tokens + min(${at(i)}, last)]`)});
    let rowDelta = vec4f(${perRow((i) => `delta[slice * params.tokens + min(${at(i)}, last)]`)});`
  const weights = [...new Set(gradients.map(({ weight }) => weight))]
  const starts = causal && !ownsQueries ? 'first' : '0u'
  const ends = causal && ownsQueries ? `min(first + ${TILE}u, params.tokens)` : 'params.tokens'

  return defineKernel({
    label: label(options),
    bindings: bindings(options),
    params: layoutParams,
    splits,
    workgroups: (params: AttentionParams) => sliceWorkgroups(TILE)(params),
    wgsl: /* wgsl */ `// Owned rows, then other rows
var<workgroup> tile: array<vec4f, ${TILE_QUADS}>;
// [other][y], four owned rows each
${lines(weights.map((weight) => `var<workgroup> ${weight}: array<vec4f, ${TILE * 8}>;`))}
${mainWgsl(64)} {
${sliceWgsl(TILE)}
  let y = thread / 8u;
  let x = thread % 8u;
  let quads = params.headSize / 4u;
  let last = params.tokens - 1u;
  // 2, but not known to a software driver, which would unroll the loop and compile twice as long.
  let turns = min(2u, params.tokens + 1u);
  let row = first + y * 4u;
${ownsQueries ? loadStatistics((i) => `row + ${i}u`) : ''}
${lines(gradients.map((_, g) => sums(g, (sum) => `var ${sum} = vec4f();`)))}
  let end = ${ends};
  for (var base = ${starts}; base < end; base += ${TILE}u) {
    let others = min(${TILE}u, end - base);
${lines(rows.map((r) => `    var s${r} = vec4f(); var g${r} = vec4f();`))}
    for (var turn = 0u; turn < turns; turn++) {
${lines(rows.map((r) => `      s${r} = g${r}; g${r} = vec4f();`))}
      for (var column = 0u; column < quads; column += 4u) {
        workgroupBarrier();
        for (var i = thread; i < ${2 * TILE * 4}u; i += 64u) {
          let row = i / 4u % ${TILE}u;
          let c = min(column + i % 4u, quads - 1u);
          var value: vec4f;
          if (i < ${TILE * 4}u) { ${loadEither('own', 'min(first + row, last)')} }
          else { ${loadEither('other', 'min(base + row, last)')} }
          tile[i / 4u * ${STRIDE}u + i % 4u] = value;
        }
        workgroupBarrier();
        let width = min(4u, quads - column);
        for (var c = 0u; c < width; c++) {
${lines(rows.map((j) => `          let b${j} = tile[(${TILE + 8 * j}u + x) * ${STRIDE}u + c];`))}
${lines(rows.map((r) => `          { let a = tile[(y * 4u + ${r}u) * ${STRIDE}u + c]; g${r} += vec4f(${perRow((j) => `dot(a, b${j})`)}); }`))}
        }
      }
    }
    let other = base + x + vec4u(0u, 8u, 16u, 24u);
${ownsQueries ? '' : loadStatistics((i) => `other[${i}]`)}
${lines(
  rows.map((r) => {
    const p = `select(vec4f(), exp(s${r} * params.scale - ${statistic('rowLse', r)}), ${seen(r)})`
    return `    s${r} = ${p}; g${r} = s${r} * (g${r} - ${statistic('rowDelta', r)}) * params.scale;`
  }),
)}
    let strips = (others + 7u) / 8u;
    for (var j = 0u; j < strips; j++) {
${lines(weights.map((weight) => `      ${weight}[(x + 8u * j) * 8u + y] = vec4f(${perRow((r) => `${weight === 'p' ? 's' : 'g'}${r}[j]`)});`))}
    }
${lines(
  gradients.map(
    ({ weight, from }, g) => `
    for (var start = 0u; start < others; start += ${tileRows}u) {
      let held = min(${tileRows}u, others - start);
      workgroupBarrier();
      for (var i = thread; i < held * quads; i += 64u) {
        tile[i] = ${from.name}[${from.base} + (base + start + i / quads) * ${from.token} + i % quads];
      }
      workgroupBarrier();
      for (var j = 0u; j < held; j++) {
        let w = ${weight}[(start + j) * 8u + y];
${lines(chunks.map((c) => `        let b${c} = tile[j * quads + min(x + ${8 * c}u, quads - 1u)];`))}
${sums(g, (sum, r, c) => `${sum} = fma(vec4f(w[${r}]), b${c}, ${sum});`)}
      }
    }`,
  ),
)}
  }
  let stored = min(4u, params.tokens - min(row, params.tokens));
  for (var r = 0u; r < stored; r++) {
    for (var c = x; c < quads; c += 8u) {
${lines(
  gradients.map(({ into }, g) => {
    const names = chunks.map((c) =>
      pick(
        rows.map((r) => `sum${g}_${r}_${c}`),
        'r',
      ),
    )
    return `      ${into.name}[${into.base} + (row + r) * inToken + c] = ${pick(names, '(c / 8u)')};`
  }),
)}
    }
  }
}
`,
  })
}
