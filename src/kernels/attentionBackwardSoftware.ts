import {
  bindings,
  label,
  splits,
  termsOf,
  type AttentionBackwardOptions,
  type BackwardBinding,
  type Gradient,
  type Product,
} from './attentionBackwardParts.ts'
import { layoutParams, sliceWgsl, sliceWorkgroups, type AttentionParam } from './attentionLayout.ts'
import { defineKernel, subgroupMainWgsl, type Kernel } from './kernel.ts'
import { lines, pick, range } from './template.ts'

const QUAD = range(4)
/** Other rows that meet the sums in a turn of the last loop. */
const TURN = range(2)
/**
 * Rows that a workgroup owns: more load less. But lavapipe compiles 16 keys, which have twice the sums,
 * for 5 s of CPU, and 8 keys or 16 queries for 3 s.
 */
const rowsOf = ({ owner, variant }: AttentionBackwardOptions): number =>
  owner === 'query' && variant === 'subgroup8' ? 16 : 8

/**
 * The gradient of attention on CPU rasterisers: a workgroup is one subgroup and owns some rows of a
 * head, as in the forward pass. Scores and their gradients have four other rows a lane and broadcast
 * the owned ones; sums have four dimensions a lane for each chunk of the head and broadcast P or dS.
 * All lie in one array whose indices are constants in the loops; `matmulSoftware.ts` says why. Past the
 * last token, lanes repeat it.
 */
export function softwareBackwardKernel(
  options: AttentionBackwardOptions,
): Kernel<BackwardBinding, AttentionParam> {
  const { headSize, causal, owner, variant } = options
  const ownsQueries = owner === 'query'
  const { products, gradients } = termsOf(options)
  const lanes = variant === 'subgroup4' ? 4 : 8
  const others = 4 * lanes
  const rowCount = rowsOf(options)
  const rows = range(rowCount)
  const strips = range(rowCount / lanes)
  const quads = headSize / 4
  const chunks = range(Math.ceil(quads / lanes))
  const sumCount = gradients.length * rowCount * chunks.length
  const each = (text: (row: number) => string): string => lines(rows.map(text))
  const sum = (g: number, row: number, chunk: number): string =>
    `sums[${(g * rowCount + row) * chunks.length + chunk}]`
  /** Of the scores (0) or of the gradients of the probabilities (1). */
  const score = (product: number, row: number): string =>
    `sums[${sumCount + product * rowCount + row}]`
  const broadcast = (name: string, row: number): string =>
    `subgroupBroadcast(${name}${Math.floor(row / lanes)}, ${row % lanes}u)`
  // A number for every query: of owned row r, or of a lane's four others.
  const statistic = (name: 'lse' | 'delta', row: number): string =>
    ownsQueries ? `vec4f(${broadcast(name, row)})` : `${name}Others`
  const seen = (row: number): string => {
    if (!causal) return 'other <= vec4u(last)'
    return ownsQueries
      ? `other <= vec4u(min(first + ${row}u, last))`
      : `(other <= vec4u(last)) & (other >= vec4u(first + ${row}u))`
  }
  const loadStatistic = (name: 'lse' | 'delta'): string => {
    const at = (row: string): string => `${name}[slice * params.tokens + ${row}]`
    return ownsQueries
      ? lines(strips.map((s) => `  let ${name}${s} = ${at(`own${s}`)};`))
      : `    let ${name}Others = vec4f(${QUAD.map((c) => at(`row[${c}]`)).join(', ')});`
  }
  // Four products meet before they meet the sum: as fast as a chain, and a quarter of its rounding.
  const dots = (p: number, row: number): string => {
    const product = (x: string): string =>
      `vec4f(a.${x}) * vec4f(${QUAD.map((c) => `b${c}.${x}`).join(', ')})`
    const [x, y, z, w] = [...'xyzw'].map(product)
    return `      { let a = ${broadcast('a', row)}; ${score(p, row)} += (${x} + ${y}) + (${z} + ${w}); }`
  }
  const multiply = ({ own, other }: Product, p: number): string => /* wgsl */ `
    for (var i = 0u; i < quads; i++) {
${lines(strips.map((s) => `      let a${s} = ${own.name}[${own.base} + own${s} * ${own.token} + i];`))}
${lines(QUAD.map((c) => `      let b${c} = ${other.name}[${other.base} + row[${c}] * ${other.token} + i];`))}
${each((r) => dots(p, r))}
    }`
  const add = ({ weight, from }: Gradient, g: number): string => {
    const loads = TURN.map((t) => {
      const row = `${from.base} + min(base + start + j + ${t}u, last) * ${from.token}`
      const chunk = (c: number): string => {
        const quad = `min(${c * lanes}u + lane, ${quads - 1}u)`
        return `let b${c}_${t} = ${from.name}[row${t} + ${quad}];`
      }
      return `        let row${t} = ${row}; ${chunks.map(chunk).join(' ')}`
    })
    const products = each((r) => {
      const ws = TURN.map((t) => `let w${t} = vec4f(subgroupShuffle(${weight}${r}, j + ${t}u));`)
      const terms = chunks.map((c) => {
        const value = TURN.reduce((total, t) => `fma(w${t}, b${c}_${t}, ${total})`, sum(g, r, c))
        return `${sum(g, r, c)} = ${value};`
      })
      return `        { ${ws.join(' ')} ${terms.join(' ')} }`
    })
    const weights = each((r) => {
      const parts = [...'xyzw'].map((x) => `${weight}s${r}.${x}`)
      return `      let ${weight}${r} = ${pick(parts, 'strip')};`
    })
    // Of a row past the end, P and dS are 0, and what is loaded exists.
    return /* wgsl */ `
    for (var start = 0u; start < held; start += ${lanes}u) {
      let strip = start / ${lanes}u;
${weights}
      let most = min(${lanes}u, held - start);
      for (var j = 0u; j < most; j += ${TURN.length}u) {
${lines(loads)}
${products}
      }
    }`
  }
  const starts = causal && !ownsQueries ? 'first' : '0u'
  const ends = causal && ownsQueries ? `min(first + ${rowCount}u, params.tokens)` : 'params.tokens'
  return defineKernel({
    label: label(options),
    bindings: bindings(options),
    splits,
    params: layoutParams,
    features: ['subgroups'],
    workgroups: sliceWorkgroups(rowCount),
    wgsl: /* wgsl */ `${subgroupMainWgsl(lanes)} {
${sliceWgsl(rowCount)}
  let last = params.tokens - 1u;
  // Known to the template, but a software driver would unroll the loops and compile for many seconds.
  let quads = params.headSize / 4u;
${lines(strips.map((s) => `  let own${s} = min(first + ${s * lanes}u + lane, last);`))}
${ownsQueries ? `${loadStatistic('lse')}\n${loadStatistic('delta')}` : ''}
  // [gradient][row][chunk] of the sums, then [product][row] of the scores
  var sums: array<vec4f, ${sumCount + 2 * rowCount}>;
  let end = ${ends};
  for (var base = ${starts}; base < end; base += ${others}u) {
    let held = min(${others}u, end - base);
    let other = base + lane + vec4u(${QUAD.map((c) => `${c * lanes}u`).join(', ')});
    let row = min(other, vec4u(last));
${ownsQueries ? '' : `${loadStatistic('lse')}\n${loadStatistic('delta')}`}
${each((r) => `    ${score(0, r)} = vec4f(); ${score(1, r)} = vec4f();`)}
${lines(products.map(multiply))}
${each((r) => {
  const p = `select(vec4f(), exp(${score(0, r)} * params.scale - ${statistic('lse', r)}), ${seen(r)})`
  const dS = `ps${r} * (${score(1, r)} - ${statistic('delta', r)}) * params.scale`
  return `    let ps${r} = ${p}; let dSs${r} = ${dS};`
})}
${lines(gradients.map(add))}
  }
  let stored = min(${rowCount}u, params.tokens - first);
  for (var r = 0u; r < stored; r++) {
    for (var c = lane; c < quads; c += ${lanes}u) {
${lines(
  gradients.map(({ into }, g) => {
    const from = `(${g * rowCount}u + r) * ${chunks.length}u + c / ${lanes}u`
    return `      ${into.name}[${into.base} + (first + r) * inToken + c] = sums[${from}];`
  }),
)}
    }
  }
}
`,
  })
}
