import {
  defineKernel,
  kernelFamily,
  linearWorkgroups,
  mainWgsl,
  read,
  readWrite,
} from './kernel.ts'
import type { Binding } from './kernel.ts'
import type { MatmulOptions } from './matmul.ts'
import { epilogueBindings, epilogueNames, epilogueWgsl } from './matmulAccess.ts'

const GROUP = 64

export interface MatmulReduceOptions extends Pick<
  MatmulOptions,
  'bias' | 'activation' | 'layerScale' | 'residual' | 'out'
> {
  /** Multiplies the sums by `scales` [n], those of an int8 weight's rows. */
  readonly scales: boolean
}

export type MatmulReduceBinding = 'partial' | 'scales' | 'bias' | 'layerScale' | 'residual' | 'out'

/**
 * The second half of a matmul with split k: adds up partial [slabs, size] over the slabs, in order, and
 * applies the epilogue; out [size], matrices of m rows of n.
 */
export const matmulReduceKernel = kernelFamily((options: MatmulReduceOptions) => {
  const { out, scales } = options
  const names = [...(scales ? ['scales'] : []), ...epilogueNames(options)]
  return defineKernel({
    label: ['matmulReduce', ...names, ...(out === 'f16' ? ['f16'] : [])].join('.'),
    bindings: {
      partial: read('f32'),
      ...(scales ? { scales: read('f32') } : {}),
      ...epilogueBindings(options),
      out: readWrite(out),
    } as Record<MatmulReduceBinding, Binding>,
    params: { size: 'u32', m: 'u32', n: 'u32', slabs: 'u32' },
    features: out === 'f16' ? (['shader-f16'] as const) : [],
    workgroups: ({ size }) => linearWorkgroups(size, GROUP),
    wgsl: /* wgsl */ `${epilogueWgsl(options, scales)}
${mainWgsl(GROUP)} {
  let i = linearWorkgroup(id, count) * ${GROUP}u + thread;
  if (i >= params.size) { return; }
  var sum = 0.0;
  for (var slab = 0u; slab < params.slabs; slab++) { sum += partial[slab * params.size + i]; }
  put(i, finish(sum, i, i % params.n));
}
`,
  })
})
