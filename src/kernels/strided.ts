import type { Each } from './elementwise.ts'
import {
  defineKernel,
  kernelFamily,
  linearWorkgroups,
  mainWgsl,
  read,
  readWrite,
} from './kernel.ts'
import { range } from './template.ts'

const GROUP = 64

interface StridedCopyOptions {
  /** Dimensions of the dense side. */
  readonly rank: 1 | 2 | 3 | 4 | 5
  /** `read`: out[i] = x[place(i)]. `write`: out[place(i)] = x[i], what lies between untouched. */
  readonly direction: 'read' | 'write'
  /** Whether all sizes, strides and the offset count vec4s. */
  readonly vector: boolean
  readonly each: Each
}

/**
 * Copies `size` elements of a dense array, of shape [d0, …] with d1 onward given, from or to the
 * places `offset` + Σ coordinate · stride of another: slices, parts of a concatenation, permutations.
 */
export const stridedCopyKernel = kernelFamily((options: StridedCopyOptions) => {
  const { rank, direction, vector, each } = options
  const type = vector ? 'vec4<f32>' : 'f32'
  const inner = range(rank).slice(1)
  const names = ['size', 'offset', ...range(rank).map((d) => `s${d}`), ...inner.map((d) => `d${d}`)]
  const share = GROUP * each
  return defineKernel<'x' | 'out', string>({
    label: `stridedCopy.${direction}.${rank}${vector ? '.vec4' : ''}.${each}`,
    bindings: { x: read(type), out: readWrite(type) },
    params: Object.fromEntries(names.map((name) => [name, 'u32' as const])),
    workgroups: ({ size }) => linearWorkgroups(size!, share),
    wgsl: /* wgsl */ `
fn place(i: u32) -> u32 {
  var rest = i;
  var at = params.offset;
  ${[...inner]
    .reverse()
    .map((d) => {
      // One division: CPU rasterisers have no vector instruction for it.
      const quotient = `let q${d} = rest / params.d${d};`
      return `${quotient} at += (rest - q${d} * params.d${d}) * params.s${d}; rest = q${d};`
    })
    .join('\n  ')}
  return at + rest * params.s0;
}
${mainWgsl(GROUP)} {
  let start = linearWorkgroup(id, count) * ${share}u;
  let end = min(start + ${share}u, params.size);
  for (var i = start + thread; i < end; i += ${GROUP}u) {
    ${direction === 'read' ? 'out[i] = x[place(i)];' : 'out[place(i)] = x[i];'}
  }
}
`,
  })
})
