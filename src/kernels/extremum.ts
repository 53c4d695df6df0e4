import {
  defineKernel,
  kernelFamily,
  linearWorkgroups,
  mainWgsl,
  read,
  readWrite,
  splitRows,
} from './kernel.ts'

const GROUP = 64

export type Extremum = 'max' | 'min'

/**
 * `key(x)`: u32 that are ordered as the numbers are, −0 as 0, and NaN above all, so that a NaN wins
 * and no comparison has to see one. Of a vec4 it is taken by component.
 */
export const keyWgsl = (extremum: Extremum, vector = false): string => {
  const [f32, u32] = vector ? ['vec4f', 'vec4u'] : ['f32', 'u32']
  const of = (value: string): string => `${u32}(${value})`
  const ordered = extremum === 'max' ? 'ordered' : '~ordered'
  return /* wgsl */ `
fn key(x: ${f32}) -> ${u32} {
  let bits = bitcast<${u32}>(x);
  let ascending = select(bits | ${of('0x80000000u')}, ~bits, bits >= ${of('0x80000000u')});
  let twice = bits + bits;
  let ordered = select(ascending, ${of('0x80000000u')}, twice == ${of('0u')});
  return select(${ordered}, ${of('0xffffffffu')}, twice > ${of('0xff000000u')});
}
`
}

interface ExtremumOptions {
  readonly extremum: Extremum
  /** Whether x comes with positions, from an earlier pass over segments. */
  readonly positioned: boolean
  /** Whether `inner` is a whole number of vec4s, which a thread then takes one of. */
  readonly vector: boolean
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
export const extremumKernel = kernelFamily(({ extremum, positioned, vector }: ExtremumOptions) => {
  const [f32, u32] = vector ? (['vec4<f32>', 'vec4<u32>'] as const) : (['f32', 'u32'] as const)
  const width = vector ? 4 : 1
  const picked = ['x', 'y', 'z', 'w'].map((c) => `earlier[start + best.${c} * inner].${c}`)
  const earlier = vector ? `vec4u(${picked.join(', ')})` : 'earlier[start + best * inner]'
  return defineKernel<string, 'outer' | 'n' | 'inner' | 'length'>({
    label: `${extremum}${positioned ? '.positioned' : ''}.${width}`,
    splits: [
      { along: 'outer', per: { x: whole, earlier: whole, values: segments, positions: segments } },
    ],
    bindings: {
      x: read(f32),
      ...(positioned ? { earlier: read(u32) } : {}),
      values: readWrite(f32),
      positions: readWrite(u32),
    },
    params: { outer: 'u32', n: 'u32', inner: 'u32', length: 'u32' },
    workgroups: ({ outer, n, inner, length }) =>
      linearWorkgroups((outer * Math.ceil(n / length) * inner) / width, GROUP),
    wgsl: /* wgsl */ `${keyWgsl(extremum, vector)}
${mainWgsl(GROUP)} {
  let t = linearWorkgroup(id, count) * ${GROUP}u + thread;
  let inner = params.inner / ${width}u;
  let segments = (params.n + params.length - 1u) / params.length;
  let column = t % inner;
  let first = ((t / inner) % segments) * params.length;
  let o = t / (inner * segments);
  if (o >= params.outer) { return; }
  let end = min(first + params.length, params.n);
  let start = o * params.n * inner + column;
  var i = start + first * inner;
  var best = ${u32}(first);
  var value = x[i];
  var bestKey = key(value);
  for (var r = first + 1u; r < end; r++) {
    i += inner;
    let other = x[i];
    let candidate = key(other);
    let larger = candidate > bestKey;
    best = select(best, ${u32}(r), larger);
    value = select(value, other, larger);
    bestKey = select(bestKey, candidate, larger);
  }
  values[t] = value;
  positions[t] = ${positioned ? earlier : 'best'};
}
`,
  })
})

/** Threads of a workgroup of the next kernel: few, for a few hundred rows to spread evenly. */
const ROWS_GROUP = 32

interface ExtremumRowsOptions {
  readonly extremum: Extremum
  /** Whether `columns` is a whole number of vec4s. */
  readonly vector: boolean
}

/** One candidate for each component of the vec4s, joined by key and then by position. */
const inQuads = /* wgsl */ `
  let width = params.columns / 4u;
  let start = row * width;
  var keys = key(x[start]);
  var best = vec4u();
  for (var c = 1u; c < width; c++) {
    let candidate = key(x[start + c]);
    let larger = candidate > keys;
    best = select(best, vec4u(c), larger);
    keys = select(keys, candidate, larger);
  }
  let at = 4u * best + vec4u(0u, 1u, 2u, 3u);
  var top = keys.x;
  var position = at.x;
  ${['y', 'z', 'w']
    .map(
      (c) =>
        `if (keys.${c} > top || (keys.${c} == top && at.${c} < position)) { top = keys.${c}; position = at.${c}; }`,
    )
    .join('\n  ')}
  values[row] = x[start + position / 4u][position % 4u];
`

const inScalars = /* wgsl */ `
  let start = row * params.columns;
  var position = 0u;
  var value = x[start];
  var top = key(value);
  for (var c = 1u; c < params.columns; c++) {
    let other = x[start + c];
    let candidate = key(other);
    let larger = candidate > top;
    position = select(position, c, larger);
    value = select(value, other, larger);
    top = select(top, candidate, larger);
  }
  values[row] = value;
`

/**
 * The largest or smallest of each row of x [rows, columns] and the first column that has it; a row to a
 * thread, for software adapters.
 */
export const extremumRowsKernel = kernelFamily(({ extremum, vector }: ExtremumRowsOptions) =>
  defineKernel({
    label: `${extremum}.rows${vector ? '.vec4' : ''}`,
    splits: [splitRows(['x'], { values: 1, positions: 1 })],
    bindings: {
      x: read(vector ? 'vec4<f32>' : 'f32'),
      values: readWrite('f32'),
      positions: readWrite('u32'),
    },
    params: { rows: 'u32', columns: 'u32' },
    workgroups: ({ rows }) => linearWorkgroups(rows, ROWS_GROUP),
    wgsl: /* wgsl */ `${keyWgsl(extremum, vector)}
${mainWgsl(ROWS_GROUP)} {
  let row = linearWorkgroup(id, count) * ${ROWS_GROUP}u + thread;
  if (row >= params.rows) { return; }
  ${vector ? inQuads : inScalars}
  positions[row] = position;
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
