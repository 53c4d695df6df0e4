import {
  defineKernel,
  kernelFamily,
  linearWorkgroups,
  mainWgsl,
  read,
  readWrite,
} from './kernel.ts'

const GROUP = 64

export type Extremum = 'max' | 'min'

/**
 * `key(x)`: u32 that are ordered as the numbers are, −0 as 0, and NaN above all, so that a NaN wins
 * and no comparison has to see one.
 */
export const keyWgsl = (extremum: Extremum): string => /* wgsl */ `
fn key(x: f32) -> u32 {
  let bits = bitcast<u32>(x);
  let ascending = select(bits | 0x80000000u, ~bits, bits >= 0x80000000u);
  let ordered = select(ascending, 0x80000000u, (bits << 1u) == 0u);
  return select(${extremum === 'max' ? 'ordered' : '~ordered'}, 0xffffffffu, (bits << 1u) > 0xff000000u);
}
`

interface ExtremumOptions {
  readonly extremum: Extremum
  /** Whether x comes with positions, from an earlier pass over segments. */
  readonly positioned: boolean
}

interface Sizes {
  readonly n: number
  readonly inner: number
}
const whole = ({ n, inner }: Sizes): number => n * inner
const kept = ({ inner }: Pick<Sizes, 'inner'>): number => inner
const segments = ({ n, inner, length }: Sizes & { readonly length: number }): number =>
  Math.ceil(n / length) * inner

/**
 * The largest or smallest along the middle of x [outer, n, inner], for each segment of `length`:
 * `values` and `positions` [outer, ⌈n / length⌉, inner], a position being the first n that has it.
 * More than one segment takes another pass, with `earlier` the positions of this one.
 */
export const extremumKernel = kernelFamily(({ extremum, positioned }: ExtremumOptions) =>
  defineKernel<string, 'outer' | 'n' | 'inner' | 'length'>({
    label: `${extremum}${positioned ? '.positioned' : ''}`,
    splits: [
      { along: 'outer', per: { x: whole, earlier: whole, values: segments, positions: segments } },
    ],
    bindings: {
      x: read('f32'),
      ...(positioned ? { earlier: read('u32') } : {}),
      values: readWrite('f32'),
      positions: readWrite('u32'),
    },
    params: { outer: 'u32', n: 'u32', inner: 'u32', length: 'u32' },
    workgroups: ({ outer, n, inner, length }) =>
      linearWorkgroups(outer * Math.ceil(n / length) * inner, GROUP),
    wgsl: /* wgsl */ `${keyWgsl(extremum)}
${mainWgsl(GROUP)} {
  let t = linearWorkgroup(id, count) * ${GROUP}u + thread;
  let segments = (params.n + params.length - 1u) / params.length;
  let column = t % params.inner;
  let first = ((t / params.inner) % segments) * params.length;
  let o = t / (params.inner * segments);
  if (o >= params.outer) { return; }
  let end = min(first + params.length, params.n);
  let start = o * params.n * params.inner + column;
  var best = first;
  var bestKey = key(x[start + first * params.inner]);
  var i = start + first * params.inner;
  for (var r = first + 1u; r < end; r++) {
    i += params.inner;
    let candidate = key(x[i]);
    let larger = candidate > bestKey;
    best = select(best, r, larger);
    bestKey = select(bestKey, candidate, larger);
  }
  values[t] = x[start + best * params.inner];
  positions[t] = ${positioned ? 'earlier[start + best * params.inner]' : 'best'};
}
`,
  }),
)

/** dX [outer, n, inner] = dOut [outer, inner] at the position that was taken, 0 elsewhere. */
export const extremumBackwardKernel = defineKernel({
  label: 'extremum.backward',
  splits: [{ along: 'outer', per: { positions: kept, dOut: kept, dX: whole } }],
  bindings: { positions: read('u32'), dOut: read('f32'), dX: readWrite('f32') },
  params: { outer: 'u32', n: 'u32', inner: 'u32' },
  workgroups: ({ outer, n, inner }) => linearWorkgroups(outer * n * inner, GROUP),
  wgsl: /* wgsl */ `
${mainWgsl(GROUP)} {
  let i = linearWorkgroup(id, count) * ${GROUP}u + thread;
  let row = i / params.inner;
  let o = row / params.n;
  if (o >= params.outer) { return; }
  let place = o * params.inner + i % params.inner;
  dX[i] = select(0.0, dOut[place], positions[place] == row % params.n);
}
`,
})
