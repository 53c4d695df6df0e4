import {
  defineKernel,
  kernelFamily,
  linearWorkgroups,
  mainWgsl,
  read,
  readWrite,
} from './kernel.ts'

const GROUP = 64

/** Addends that one thread adds up before its sum rounds too coarsely. */
export const SUM_SEGMENT = 256

interface SumMiddleOptions {
  /** Whether `inner` is a whole number of vec4s, which a thread then takes one of. */
  readonly vector: boolean
}

/**
 * Sums over the middle of x [outer, n, inner] in segments of {@link SUM_SEGMENT}: out [outer,
 * ⌈n / SUM_SEGMENT⌉, inner], times `scale`. A thread adds up its segment in ascending order; more than
 * one segment takes another pass.
 */
export const sumMiddleKernel = kernelFamily(({ vector }: SumMiddleOptions) => {
  const type = vector ? 'vec4<f32>' : 'f32'
  const width = vector ? 4 : 1
  return defineKernel({
    label: `sumMiddle.${width}`,
    splits: [
      {
        along: 'outer',
        per: {
          x: ({ n, inner }) => n * inner,
          out: ({ n, inner }) => Math.ceil(n / SUM_SEGMENT) * inner,
        },
      },
    ],
    bindings: { x: read(type), out: readWrite(type) },
    params: { outer: 'u32', n: 'u32', inner: 'u32', scale: 'f32' },
    workgroups: ({ outer, n, inner }) =>
      linearWorkgroups((outer * Math.ceil(n / SUM_SEGMENT) * inner) / width, GROUP),
    wgsl: /* wgsl */ `
${mainWgsl(GROUP)} {
  let t = linearWorkgroup(id, count) * ${GROUP}u + thread;
  let inner = params.inner / ${width}u;
  let segments = (params.n + ${SUM_SEGMENT - 1}u) / ${SUM_SEGMENT}u;
  let column = t % inner;
  let segment = (t / inner) % segments;
  let o = t / (inner * segments);
  if (o >= params.outer) { return; }
  let first = segment * ${SUM_SEGMENT}u;
  let terms = min(${SUM_SEGMENT}u, params.n - first);
  let start = (o * params.n + first) * inner + column;
  var sum = ${type}();
  for (var i = 0u; i < terms; i++) { sum += x[start + i * inner]; }
  out[t] = sum * params.scale;
}
`,
  })
})
