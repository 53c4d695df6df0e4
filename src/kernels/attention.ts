import {
  defineKernel,
  kernelFamily,
  linearIdWgsl,
  linearWorkgroups,
  read,
  readWrite,
  type Binding,
  type Kernel,
} from './kernel.ts'
import type { MatmulVariant } from './matmul.ts'

/**
 * out = softmax(scale · Q·Kᵀ) · V for every head, f32, without storing the scores.
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
  readonly variant: MatmulVariant
}

export const MAX_HEAD_SIZE = 128

/** `lse` is bound when the options ask for it. */
export type AttentionBinding = 'q' | 'k' | 'v' | 'out' | 'lse'

/**
 * Where a token's head starts, in elements: of q, k, v at
 * `offset + batch · inBatch + token · inToken + head · inHead`, likewise of out without an offset.
 * All are multiples of 4.
 */
export const layoutParams = {
  batches: 'u32',
  heads: 'u32',
  tokens: 'u32',
  headSize: 'u32',
  inBatch: 'u32',
  inToken: 'u32',
  inHead: 'u32',
  kOffset: 'u32',
  vOffset: 'u32',
  outBatch: 'u32',
  outToken: 'u32',
  outHead: 'u32',
  scale: 'f32',
} as const
export type AttentionParam = keyof typeof layoutParams
export type AttentionParams = Readonly<Record<AttentionParam, number>>

export interface AttentionSize {
  readonly batches: number
  readonly heads: number
  readonly tokens: number
  readonly headSize: number
}

/** q, k, v are [B, T, 3·H·d], one buffer; out is [B, T, H·d]. */
export function packedLayout(size: AttentionSize, scale: number): AttentionParams {
  const { batches, heads, tokens, headSize } = size
  const width = heads * headSize
  return {
    batches,
    heads,
    tokens,
    headSize,
    inBatch: tokens * 3 * width,
    inToken: 3 * width,
    inHead: headSize,
    kOffset: width,
    vOffset: 2 * width,
    outBatch: tokens * width,
    outToken: width,
    outHead: headSize,
    scale,
  }
}

/** q, k, v and out are [B, H, T, d], a buffer each. */
export function separateLayout(size: AttentionSize, scale: number): AttentionParams {
  const { batches, heads, tokens, headSize } = size
  const head = tokens * headSize
  return {
    batches,
    heads,
    tokens,
    headSize,
    inBatch: heads * head,
    inToken: headSize,
    inHead: head,
    kOffset: 0,
    vOffset: 0,
    outBatch: heads * head,
    outToken: headSize,
    outHead: head,
    scale,
  }
}

export const attentionKernel = kernelFamily((options: AttentionOptions) => {
  return options.variant === 'tile'
    ? tileKernel(options)
    : subgroupKernel(options, options.variant === 'subgroup8' ? 8 : 4)
})

export const attentionLabel = (name: string, options: AttentionOptions): string =>
  [
    name,
    `d${options.headSize}`,
    ...(options.causal ? ['causal'] : []),
    ...(options.logSumExp ? ['lse'] : []),
    options.variant,
  ].join('.')

function bindings({ logSumExp }: AttentionOptions): Record<AttentionBinding, Binding> {
  return {
    q: read('vec4<f32>'),
    k: read('vec4<f32>'),
    v: read('vec4<f32>'),
    out: readWrite('vec4<f32>'),
    ...(logSumExp ? { lse: readWrite('f32') } : {}),
  } as Record<AttentionBinding, Binding>
}

/** Stands for −∞, which WGSL has no constant for; exp of it is 0. */
const MASKED = '-1e30'

const range = (count: number): number[] => Array.from({ length: count }, (_, index) => index)
/** The item that the run-time index names. */
const pick = (items: readonly string[], index: string): string =>
  items.reduceRight((rest, item, i) => `select(${rest}, ${item}, ${index} == ${i}u)`)
const lines = (items: readonly string[]): string => items.join('\n')

/**
 * What a workgroup works on, in units of vec4: `slice` (batch · heads + head), `first` (its first
 * query), and where q, k, v and out of the slice start.
 */
export const sliceWgsl = (rows: number): string => /* wgsl */ `
  let group = linearWorkgroup(id, count);
  let blocks = (params.tokens + ${rows - 1}u) / ${rows}u;
  let slice = group / blocks;
  if (slice >= params.batches * params.heads) { return; }
  let first = group % blocks * ${rows}u;
  let head = slice % params.heads;
  let batch = slice / params.heads;
  let inToken = params.inToken / 4u;
  let outToken = params.outToken / 4u;
  let qBase = (batch * params.inBatch + head * params.inHead) / 4u;
  let kBase = qBase + params.kOffset / 4u;
  let vBase = qBase + params.vOffset / 4u;
  let outBase = (batch * params.outBatch + head * params.outHead) / 4u;
`

const workgroups =
  (rows: number) =>
  ({ batches, heads, tokens }: AttentionParams): ReturnType<typeof linearWorkgroups> =>
    linearWorkgroups(batches * heads * Math.ceil(tokens / rows), 1)

/** One query a thread, its row of Q and of the sum in registers; K and V staged 16 keys at a time. */
function tileKernel(options: AttentionOptions): Kernel<AttentionBinding, AttentionParam> {
  const { headSize, causal, logSumExp } = options
  const QUERIES = 64
  const KEYS = 16
  const quads = headSize / 4
  const each = (text: (c: number) => string): string => lines(range(quads).map(text))
  const score = (key: number): string => {
    const terms = range(quads).map((c) => `dot(q${c}, tileK[row + ${key * quads + c}u])`)
    // Four sums at a time, so that one dot product need not wait for the one before.
    return `let s${key} = ${terms.join(' + ')};`
  }
  return defineKernel({
    label: attentionLabel('attention', options),
    bindings: bindings(options),
    params: layoutParams,
    workgroups: workgroups(QUERIES),
    wgsl: /* wgsl */ `${linearIdWgsl}
var<workgroup> tileK: array<vec4f, ${KEYS * quads}>;
var<workgroup> tileV: array<vec4f, ${KEYS * quads}>;
@compute @workgroup_size(${QUERIES})
fn main(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
${sliceWgsl(QUERIES)}
  let query = first + thread;
  let qRow = qBase + min(query, params.tokens - 1u) * inToken;
${each((c) => `  let q${c} = q[qRow + ${c}u] * params.scale; var sum${c} = vec4f();`)}
  var maximum = ${MASKED};
  var total = 0.0;
  let end = ${causal ? `min(params.tokens, first + ${QUERIES}u)` : 'params.tokens'};
  for (var base = 0u; base < end; base += ${KEYS}u) {
    workgroupBarrier();
    for (var i = thread; i < ${KEYS * quads}u; i += ${QUERIES}u) {
      let row = min(base + i / ${quads}u, params.tokens - 1u) * inToken + i % ${quads}u;
      tileK[i] = k[kBase + row];
      tileV[i] = v[vBase + row];
    }
    workgroupBarrier();
    for (var j = 0u; j < ${KEYS}u && base + j < end; j += 4u) {
      let row = j * ${quads}u;
${lines(range(4).map((key) => `      ${score(key)}`))}
      let key = vec4u(base + j) + vec4u(0u, 1u, 2u, 3u);
      let seen = key < vec4u(${causal ? 'min(query + 1u, params.tokens)' : 'params.tokens'});
      let s = select(vec4f(${MASKED}), vec4f(s0, s1, s2, s3), seen);
      let higher = max(maximum, max(max(s.x, s.y), max(s.z, s.w)));
      let keep = exp(maximum - higher);
      // Masked scores get 0 even in a row that has seen no key yet.
      let p = select(vec4f(), exp(s - higher), seen);
      maximum = higher;
      total = total * keep + dot(p, vec4f(1.0));
${each((c) => {
  const value = (key: number): string => `tileV[row + ${key * quads + c}u]`
  return `      sum${c} = fma(vec4f(p.w), ${value(3)}, fma(vec4f(p.z), ${value(2)}, fma(vec4f(p.y), ${value(1)}, fma(vec4f(p.x), ${value(0)}, sum${c} * keep))));`
})}
    }
  }
  if (query < params.tokens) {
    let outRow = outBase + query * outToken;
    let inverse = 1.0 / total;
${each((c) => `    out[outRow + ${c}u] = sum${c} * inverse;`)}
${logSumExp ? '    lse[slice * params.tokens + query] = maximum + log(total);' : ''}
  }
}
`,
  })
}

/**
 * Reduces as many registers as a subgroup has lanes: lane i of `names[0]` becomes the reduction of
 * `names[i]` over all lanes. Much cheaper than a reduction each.
 */
function transposedReduction(
  names: readonly string[],
  op: (a: string, b: string) => string,
): string {
  const steps: string[] = []
  for (let bit = 1; bit < names.length; bit *= 2) {
    for (let i = 0; i < names.length; i += 2 * bit) {
      const [a, b] = [names[i]!, names[i + bit]!]
      const odd = `(lane & ${bit}u) != 0u`
      const other = `subgroupShuffle(select(${b}, ${a}, ${odd}), lane ^ ${bit}u)`
      steps.push(`    ${a} = ${op(`select(${a}, ${b}, ${odd})`, other)};`)
    }
  }
  return lines(steps)
}

/**
 * Each workgroup is one subgroup of `lanes` and owns a block of queries. Scores have a key per lane
 * and broadcast Q; sums have four output dimensions per lane and broadcast P, which changes lanes
 * through workgroup memory. Past the last token, lanes repeat it: they compute and store what its
 * owner does.
 */
function subgroupKernel(
  options: AttentionOptions,
  lanes: 4 | 8,
): Kernel<AttentionBinding, AttentionParam> {
  const { headSize, causal, logSumExp } = options
  const strips = range(lanes === 8 ? 1 : 2)
  const keyStrips = range(4)
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
    label: attentionLabel('attention', options),
    bindings: bindings(options),
    params: layoutParams,
    features: ['subgroups'],
    workgroups: workgroups(queries),
    wgsl: /* wgsl */ `${linearIdWgsl}
@compute @workgroup_size(${lanes})
fn main(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(subgroup_invocation_id) lane: u32,
) {
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
${lines(keyStrips.map((s) => `      let k${s} = k[k${s}Row + i];`))}
${lines(strips.map((s) => `      let q${s} = q[q${s}Row + i];`))}
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
    ...keyStrips.map((s) => `    s${r}_${s} = select(${MASKED}, s${r}_${s} * params.scale, ${seen(s)});`),
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
${lines(chunks.map((c) => `        let v${c} = v[vRow + column${c}];`))}
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
    let outRow = outBase + (first + r) * outToken;
${lines(chunks.map((c) => `    out[outRow + column${c}] = ${pick(rows.map((r) => `sum${r}_${c}`), 'r')};`))}
  }
}
`,
  })
}
