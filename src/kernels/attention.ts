import {
  attentionCost,
  layoutParams,
  sliceWgsl,
  sliceWorkgroups,
  type AttentionParam,
} from './attentionLayout.ts'
import { bindings, label, MASKED, splits, stored, transposedReduction } from './attentionParts.ts'
import { softwareKernel } from './attentionSoftware.ts'
import {
  defineKernel,
  kernelFamily,
  subgroupMainWgsl,
  mainWgsl,
  type Kernel,
  type KernelVariant,
} from './kernel.ts'
import { storageFeatures } from './storage.ts'
import { lines, pick, range } from './template.ts'

/**
 * out = softmax(scale · Q·Kᵀ) · V for every head, computed in f32, without storing the scores.
 *
 * Keys are taken in blocks; a running maximum and a running sum keep the softmax exact (Milakov and
 * Gimelshein, "Online normalizer calculation for softmax", 2018; Dao et al., "FlashAttention", 2022).
 */
export interface AttentionOptions {
  /** Size of a head: a multiple of 4, at most {@link MAX_HEAD_SIZE}. */
  readonly headSize: number
  /** Query t attends to keys 0…t only. */
  readonly causal: boolean
  /** Also writes log Σ exp(score) of every row, which the backward pass starts from. */
  readonly logSumExp: boolean
  readonly variant: KernelVariant
  /** Whether q, k, v and out are stored as f16; without `logSumExp`, as no gradient follows. */
  readonly half?: boolean
}

export const MAX_HEAD_SIZE = 128

/** `lse` is bound when the options ask for it. */
export type AttentionBinding = 'q' | 'k' | 'v' | 'out' | 'lse'

export const attentionKernel = kernelFamily((options: AttentionOptions) => {
  const kernel =
    options.variant === 'tile'
      ? tileKernel(options)
      : options.variant === 'subgroup8'
        ? softwareKernel(options)
        : subgroupKernel(options)
  const features = [...(kernel.features ?? []), ...storageFeatures(options.half ? 'f16' : 'f32')]
  return { ...kernel, features, cost: attentionCost(2, options.causal) }
})

/** Queries and keys of a tile. */
const TILE = 32
/** Of a staged row of Q or K, in vec4s: 8 and one more, so that rows start in different memory banks. */
const STRIDE = 9
const TILE_QUADS = 2 * TILE * STRIDE

/**
 * 32 queries a workgroup of 8×8 threads. For 32 keys at a time, thread (y, x) makes the scores of
 * queries 4y…4y+3 with keys x, x+8, …, from slices of Q and K staged in workgroup memory; then it
 * adds P·V to output dimensions of the same queries. Loops end where the problem does, also because
 * software drivers unroll a loop of known length, and then compile for many seconds.
 */
function tileKernel(options: AttentionOptions): Kernel<AttentionBinding, AttentionParam> {
  const { headSize, causal, logSumExp } = options
  const quads = headSize / 4
  const rows = range(4)
  const chunks = range(Math.ceil(quads / 8))
  const valueKeys = Math.min(TILE, Math.floor(TILE_QUADS / quads))
  const perRow = (text: (r: number) => string): string => rows.map(text).join(', ')
  const sums = (text: (r: number, c: number) => string): string =>
    lines(rows.map((r) => `    ${chunks.map((c) => text(r, c)).join(' ')}`))
  return defineKernel({
    label: label(options),
    bindings: bindings(options),
    params: layoutParams,
    splits,
    workgroups: sliceWorkgroups(TILE),
    wgsl: /* wgsl */ `
// Rows of Q, then rows of K; or rows of V
var<workgroup> tile: array<vec4f, ${TILE_QUADS}>;
// [key][y], four queries each
var<workgroup> probability: array<vec4f, ${TILE * 8}>;
// [y][x], four queries each
var<workgroup> partial: array<vec4f, 64>;
${mainWgsl(64)} {
${sliceWgsl(TILE)}
  let y = thread / 8u;
  let x = thread % 8u;
  let quads = params.headSize / 4u;
  let last = params.tokens - 1u;
  let query = first + y * 4u;
  var maximum = vec4f(${MASKED});
  var total = vec4f();
${sums((r, c) => `var sum${r}_${c} = vec4f();`)}
  let end = ${causal ? `min(first + ${TILE}u, params.tokens)` : 'params.tokens'};
  for (var base = 0u; base < end; base += ${TILE}u) {
    let keys = min(${TILE}u, end - base);
${lines(rows.map((r) => `    var s${r} = vec4f();`))}
    for (var column = 0u; column < quads; column += 8u) {
      workgroupBarrier();
      for (var i = thread; i < ${2 * TILE * 8}u; i += 64u) {
        let row = i / 8u % ${TILE}u;
        let c = min(column + i % 8u, quads - 1u);
        var value: vec4f;
        if (i < ${TILE * 8}u) { value = vec4f(q[qBase + min(first + row, last) * inToken + c]); }
        else { value = vec4f(k[kBase + min(base + row, last) * inToken + c]); }
        tile[i / 8u * ${STRIDE}u + i % 8u] = value;
      }
      workgroupBarrier();
      let width = min(8u, quads - column);
      for (var c = 0u; c < width; c++) {
${lines(rows.map((j) => `        let k${j} = tile[(${TILE + 8 * j}u + x) * ${STRIDE}u + c];`))}
${lines(rows.map((r) => `        { let a = tile[(y * 4u + ${r}u) * ${STRIDE}u + c]; s${r} += vec4f(${perRow((j) => `dot(a, k${j})`)}); }`))}
      }
    }
    let key = base + x + vec4u(0u, 8u, 16u, 24u);
${lines(
  rows.map((r) => {
    const end = causal ? `min(query + ${r + 1}u, params.tokens)` : 'params.tokens'
    return `    s${r} = select(vec4f(${MASKED}), s${r} * params.scale, key < vec4u(${end}));`
  }),
)}
    partial[thread] = vec4f(${perRow((r) => `max(max(s${r}.x, s${r}.y), max(s${r}.z, s${r}.w))`)});
    workgroupBarrier();
    var higher = maximum;
    for (var i = 0u; i < min(8u, keys); i++) { higher = max(higher, partial[y * 8u + i]); }
    let keep = exp(maximum - higher);
    maximum = higher;
${lines(rows.map((r) => `    s${r} = exp(s${r} - higher[${r}]);`))}
    total = fma(total, keep, vec4f(${perRow((r) => `dot(s${r}, vec4f(1.0))`)}));
${sums((r, c) => `sum${r}_${c} *= keep[${r}];`)}
    let strips = (keys + 7u) / 8u;
    for (var j = 0u; j < strips; j++) {
      probability[(x + 8u * j) * 8u + y] = vec4f(${perRow((r) => `s${r}[j]`)});
    }
    for (var start = 0u; start < keys; start += ${valueKeys}u) {
      let held = min(${valueKeys}u, keys - start);
      workgroupBarrier();
      for (var i = thread; i < held * ${quads}u; i += 64u) {
        tile[i] = vec4f(v[vBase + (base + start + i / ${quads}u) * inToken + i % ${quads}u]);
      }
      workgroupBarrier();
      for (var j = 0u; j < held; j++) {
        let p = probability[(start + j) * 8u + y];
${lines(chunks.map((c) => `        let v${c} = tile[j * ${quads}u + min(x + ${8 * c}u, ${quads - 1}u)];`))}
    ${sums((r, c) => `sum${r}_${c} = fma(vec4f(p[${r}]), v${c}, sum${r}_${c});`)}
      }
    }
  }
  partial[thread] = total;
  workgroupBarrier();
  total = partial[y * 8u];
  for (var i = 1u; i < min(8u, end); i++) { total += partial[y * 8u + i]; }
${sums((r, c) => `sum${r}_${c} /= total[${r}];`)}
  let stored = min(4u, params.tokens - min(query, params.tokens));
  for (var r = 0u; r < stored; r++) {
    for (var c = x; c < quads; c += 8u) {
      out[outBase + (query + r) * outToken + c] = ${stored(options)}(${pick(
        chunks.map((c) =>
          pick(
            rows.map((r) => `sum${r}_${c}`),
            'r',
          ),
        ),
        '(c / 8u)',
      )});
    }
${logSumExp ? '    if (x == 0u) { lse[slice * params.tokens + query + r] = maximum[r] + log(total[r]); }' : ''}
  }
}
`,
  })
}

/**
 * For SwiftShader: each workgroup is one subgroup of 4 lanes and owns a block of queries. Scores have a key per lane
 * and broadcast Q; sums have four output dimensions per lane and broadcast P by shuffles. Past the
 * last token, lanes repeat it.
 */
function subgroupKernel(options: AttentionOptions): Kernel<AttentionBinding, AttentionParam> {
  const { headSize, causal, logSumExp } = options
  const lanes = 4
  const strips = range(2)
  const keyStrips = range(headSize > 64 ? 2 : 4)
  const queries = strips.length * lanes
  const keys = keyStrips.length * lanes
  const rows = range(queries)
  const quads = headSize / 4
  const chunks = range(Math.ceil(quads / lanes))
  const each = (text: (row: number) => string): string => lines(rows.map(text))
  const grid = (text: (row: number, s: number) => string): string =>
    each((row) => `  ${keyStrips.map((s) => text(row, s)).join(' ')}`)
  const sums = (text: (row: number, c: number) => string): string =>
    each((row) => `  ${chunks.map((c) => text(row, c)).join(' ')}`)
  const broadcast = (name: string, row: number): string =>
    `subgroupBroadcast(${name}${Math.floor(row / lanes)}, ${row % lanes}u)`
  return defineKernel({
    label: label(options),
    bindings: bindings(options),
    params: layoutParams,
    splits,
    features: ['subgroups'],
    workgroups: sliceWorkgroups(queries),
    wgsl: /* wgsl */ `${subgroupMainWgsl(lanes)} {
${sliceWgsl(queries)}
  let last = params.tokens - 1u;
  // Software drivers unroll a loop of known length, and then compile for many seconds.
  let quads = params.headSize / 4u;
${lines(strips.map((s) => `  let q${s}Row = qBase + min(first + ${s * lanes}u + lane, last) * inToken;`))}
${lines(chunks.map((c) => `  let column${c} = min(${c * lanes}u + lane, ${quads - 1}u);`))}
${lines(strips.map((s) => `  var max${s} = ${MASKED};`))}
${each((r) => `  var total${r} = 0.0;`)}
${sums((r, c) => `var sum${r}_${c} = vec4f();`)}
  let end = ${causal ? `min(params.tokens, first + ${queries}u)` : 'params.tokens'};
  for (var base = 0u; base < end; base += ${keys}u) {
${lines(keyStrips.map((s) => `    let key${s} = base + ${s * lanes}u + lane; let k${s}Row = kBase + min(key${s}, last) * inToken;`))}
${grid((r, s) => `var s${r}_${s} = 0.0;`)}
    for (var i = 0u; i < quads; i++) {
${lines(keyStrips.map((s) => `      let k${s} = vec4f(k[k${s}Row + i]);`))}
${lines(strips.map((s) => `      let q${s} = vec4f(q[q${s}Row + i]);`))}
${each((r) => {
  const dot = (s: number): string =>
    [...'xyzw'].reduce((sum, x) => `fma(qr.${x}, k${s}.${x}, ${sum})`, `s${r}_${s}`)
  return `      { let qr = ${broadcast('q', r)}; ${keyStrips.map((s) => `s${r}_${s} = ${dot(s)};`).join(' ')} }`
})}
    }
${each((r) => {
  const seen = (s: number): string =>
    causal ? `key${s} <= min(first + ${r}u, last)` : `key${s} <= last`
  return lines([
    ...keyStrips.map(
      (s) => `    s${r}_${s} = select(${MASKED}, s${r}_${s} * params.scale, ${seen(s)});`,
    ),
    `    var top${r} = ${keyStrips.map((s) => `s${r}_${s}`).reduce((a, b) => `max(${a}, ${b})`)};`,
  ])
})}
${lines(
  strips.map((s) => {
    const names = range(lanes).map((i) => `top${s * lanes + i}`)
    return `${transposedReduction(names, (a, b) => `max(${a}, ${b})`)}
    let higher${s} = max(max${s}, ${names[0]!});
    let keep${s} = exp(max${s} - higher${s});
    max${s} = higher${s};`
  }),
)}
${each((r) => `    let m${r} = ${broadcast('max', r)}; { let keep = ${broadcast('keep', r)}; total${r} *= keep; ${chunks.map((c) => `sum${r}_${c} *= keep;`).join(' ')} }`)}
    let blockEnd = min(base + ${keys}u, end);
    for (var start = base; start < blockEnd; start += ${lanes}u) {
      let strip = (start - base) / ${lanes}u;
${each((r) => {
  const score = pick(
    keyStrips.map((s) => `s${r}_${s}`),
    'strip',
  )
  return `      let p${r} = exp(${score} - m${r}); total${r} += p${r};`
})}
      let held = min(blockEnd - start, ${lanes}u);
      for (var j = 0u; j < held; j++) {
        let vRow = vBase + (start + j) * inToken;
${lines(chunks.map((c) => `        let v${c} = vec4f(v[vRow + column${c}]);`))}
${each((r) => `        { let p = vec4f(subgroupShuffle(p${r}, j)); ${chunks.map((c) => `sum${r}_${c} = fma(p, v${c}, sum${r}_${c});`).join(' ')} }`)}
      }
    }
  }
${lines(
  strips.map((s) => {
    const names = range(lanes).map((i) => `total${s * lanes + i}`)
    return `${transposedReduction(names, (a, b) => `${a} + ${b}`)}
  let inverse${s} = 1.0 / ${names[0]!};
${logSumExp ? `  lse[slice * params.tokens + min(first + ${s * lanes}u + lane, last)] = max${s} + log(${names[0]!});` : ''}`
  }),
)}
${each((r) => `  { let inverse = ${broadcast('inverse', r)}; ${chunks.map((c) => `sum${r}_${c} *= inverse;`).join(' ')} }`)}
  let stored = min(${queries}u, params.tokens - first);
  for (var r = 0u; r < stored; r++) {
    for (var c = lane; c < quads; c += ${lanes}u) {
      out[outBase + (first + r) * outToken + c] = ${stored(options)}(${pick(
        chunks.map((c) =>
          pick(
            rows.map((r) => `sum${r}_${c}`),
            'r',
          ),
        ),
        `(c / ${lanes}u)`,
      )});
    }
  }
}
`,
  })
}
