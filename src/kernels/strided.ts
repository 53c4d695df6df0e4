import type { Each } from './elementwise.ts'
import {
  defineKernel,
  kernelFamily,
  linearWorkgroups,
  mainWgsl,
  read,
  readWrite,
} from './kernel.ts'
import { placeParams, walkFrom, walkOn, walkParams } from './walk.ts'

/** Threads of a workgroup, and the elements between those of one thread. */
export const STRIDED_GROUP = 64

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
 * Params are those of a walk in steps of {@link STRIDED_GROUP}, with `s` for the other array.
 */
export const stridedCopyKernel = kernelFamily((options: StridedCopyOptions) => {
  const { rank, direction, vector, each } = options
  const type = vector ? 'vec4<f32>' : 'f32'
  const names = ['size', 'offset', ...walkParams(rank), ...placeParams('s', rank)]
  const share = STRIDED_GROUP * each
  return defineKernel<'x' | 'out', string>({
    label: `stridedCopy.${direction}.${rank}${vector ? '.vec4' : ''}.${each}`,
    bindings: { x: read(type), out: readWrite(type) },
    params: Object.fromEntries(names.map((name) => [name, 'u32' as const])),
    workgroups: ({ size }) => linearWorkgroups(size!, share),
    wgsl: /* wgsl */ `
${mainWgsl(STRIDED_GROUP)} {
  let start = linearWorkgroup(id, count) * ${share}u + thread;
  let end = min(start - thread + ${share}u, params.size);
  ${walkFrom('start', ['s'], rank)}
  sAt += params.offset;
  for (var i = start; i < end; i += ${STRIDED_GROUP}u) {
    ${direction === 'read' ? 'out[i] = x[sAt];' : 'out[sAt] = x[i];'}
    ${walkOn(['s'], rank)}
  }
}
`,
  })
})
