import {
  defineKernel,
  kernelFamily,
  linearWorkgroups,
  mainWgsl,
  read,
  readWrite,
  subgroupMainWgsl,
  type KernelVariant,
} from './kernel.ts'
import { lines, range } from './template.ts'

/** Points that are summed apart before they join the total, which bounds what a running sum rounds off. */
const RUN = 256
/** Points in workgroup memory at a time. */
const TILE = 64

/** Arithmetic of one pair: two differences, 1 + d², its inverse, its square, and three sums. */
export const PAIR_FLOPS = 13

interface Layout {
  readonly lanes: number
  /** Points to a lane. */
  readonly strips: number
}

function layoutOf(variant: KernelVariant): Layout {
  if (variant === 'tile') return { lanes: TILE, strips: 2 }
  return { lanes: variant === 'subgroup8' ? 8 : 4, strips: 4 }
}

/** Points that a workgroup sums forces for. */
export function repulsionHeight(variant: KernelVariant): number {
  const { lanes, strips } = layoutOf(variant)
  return lanes * strips
}

/**
 * Exact repulsion of t-SNE: with w = 1/(1 + |yᵢ − yⱼ|²) over `points` [count, 2], `partials` [splits,
 * count, 4] get Σⱼ w²(yᵢ − yⱼ) and Σⱼ w, and 0, for points `first` … `first` + `rows` − 1; the j of part
 * s are the s-th share of all points. j = i is among them, and adds 1 to the sum of w.
 *
 * No matrix is stored: a workgroup walks the points in blocks, which it stages in workgroup memory, or
 * broadcasts from a subgroup's registers.
 */
export const tsneRepulsionKernel = kernelFamily(
  ({ variant }: { readonly variant: KernelVariant }) => {
    const { lanes, strips } = layoutOf(variant)
    const height = lanes * strips
    const own = range(strips)
    const pair = (x: string, y: string): string =>
      lines(
        own.map(
          (s) => /* wgsl */ `
        {
          let dx = own${s}.x - ${x};
          let dy = own${s}.y - ${y};
          let w = 1.0 / fma(dx, dx, fma(dy, dy, 1.0));
          let square = w * w;
          run${s} = vec3f(fma(square, dx, run${s}.x), fma(square, dy, run${s}.y), run${s}.z + w);
        }`,
        ),
      )
    const block = variant === 'tile' ? tileBlock(pair) : subgroupBlock(lanes, pair)
    return defineKernel({
      label: `tsneRepulsion.${variant}`,
      bindings: { points: read('vec2<f32>'), partials: readWrite('vec4<f32>') },
      params: { count: 'u32', first: 'u32', rows: 'u32', splits: 'u32' },
      features: variant === 'tile' ? [] : ['subgroups'],
      cost: ({ rows, count }) => ({ flops: PAIR_FLOPS * rows * count }),
      workgroups: ({ rows, splits }) => linearWorkgroups(Math.ceil(rows / height) * splits, 1),
      wgsl: /* wgsl */ `
${variant === 'tile' ? `var<workgroup> others: array<vec2f, ${TILE}>;` : ''}
${variant === 'tile' ? mainWgsl(lanes) : subgroupMainWgsl(lanes)} {
  let group = linearWorkgroup(id, count);
  let split = group % params.splits;
  let top = group / params.splits * ${height}u;
  if (top >= params.rows) { return; }
  let last = params.count - 1u;
${lines(
  own.map(
    (s) => /* wgsl */ `
  let row${s} = top + ${s * lanes}u + ${variant === 'tile' ? 'thread' : 'lane'};
  let own${s} = points[min(params.first + row${s}, last)];
  var sum${s} = vec3f();`,
  ),
)}
  let share = (params.count + params.splits - 1u) / params.splits;
  let begin = min(split * share, params.count);
  let end = min(begin + share, params.count);
  for (var start = begin; start < end; start += ${RUN}u) {
    let stop = min(start + ${RUN}u, end);
${lines(own.map((s) => `    var run${s} = vec3f();`))}
    ${block}
${lines(own.map((s) => `    sum${s} += run${s};`))}
  }
${lines(
  own.map((s) => {
    const to = `partials[split * params.count + params.first + row${s}]`
    return `  if (row${s} < params.rows) { ${to} = vec4f(sum${s}, 0.0); }`
  }),
)}
}
`,
    })
  },
)

type Pair = (x: string, y: string) => string

const tileBlock = (pair: Pair): string => /* wgsl */ `
    for (var base = start; base < stop; base += ${TILE}u) {
      others[thread] = points[min(base + thread, last)];
      workgroupBarrier();
      for (var j = 0u; j < min(${TILE}u, stop - base); j++) {
        let other = others[j];
        ${pair('other.x', 'other.y')}
      }
      workgroupBarrier();
    }`

/** Whole blocks of a point to a lane, broadcast in turn; then the rest, read by all lanes. */
const subgroupBlock = (lanes: number, pair: Pair): string => /* wgsl */ `
    var base = start;
    for (; base + ${lanes}u <= stop; base += ${lanes}u) {
      let other = points[base + lane];
${lines(
  range(lanes).map(
    (l) => /* wgsl */ `
      {
        let x = subgroupBroadcast(other.x, ${l}u);
        let y = subgroupBroadcast(other.y, ${l}u);
        ${pair('x', 'y')}
      }`,
  ),
)}
    }
    for (; base < stop; base++) {
      let other = points[base];
      ${pair('other.x', 'other.y')}
    }`
