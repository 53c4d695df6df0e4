import {
  defineKernel,
  kernelFamily,
  linearWorkgroups,
  mainWgsl,
  read,
  readWrite,
} from './kernel.ts'
import { normalWgsl, philoxWgsl } from './random.ts'

const GROUP = 64

/** Shapes of random initial weights. */
export type Initializer = 'uniform' | 'normal'

/** Values in units of `scale`: uniform in ±1, or standard normal (at most 5.3). */
const values: Readonly<Record<Initializer, string>> = {
  uniform: '(2.0 * uniformFloat(words[j]) - 1.0)',
  normal: 'normalFloat(words[j])',
}

/**
 * Initial weights of R runs: element i of run r's part of `out` [R, size] is made of word i of the
 * stream (`seeds[r]`, `stream`), as `randomUniform` and `randomNormal` are, times `scale`.
 */
export const initializeKernel = kernelFamily(({ kind }: { readonly kind: Initializer }) =>
  defineKernel({
    label: `initialize.${kind}`,
    bindings: { seeds: read('u32'), out: readWrite('f32') },
    params: { runs: 'u32', size: 'u32', stream: 'u32', scale: 'f32' },
    workgroups: ({ runs, size }) =>
      linearWorkgroups(runs * Math.ceil(Math.ceil(size / 4) / GROUP), 1),
    wgsl: /* wgsl */ `
${philoxWgsl}
${kind === 'normal' ? normalWgsl : ''}
${mainWgsl(GROUP)} {
  let groups = ((params.size + 3u) / 4u + ${GROUP - 1}u) / ${GROUP}u;
  let group = linearWorkgroup(id, count);
  let run = group / groups;
  if (run >= params.runs) { return; }
  let block = group % groups * ${GROUP}u + thread;
  let words = philox(vec4u(block, 0u, 0u, 0u), vec2u(seeds[run], params.stream));
  for (var j = 0u; j < 4u && block * 4u + j < params.size; j++) {
    out[run * params.size + block * 4u + j] = params.scale * ${values[kind]};
  }
}
`,
  }),
)
