import {
  defineKernel,
  kernelFamily,
  linearWorkgroups,
  mainWgsl,
  read,
  readWrite,
} from './kernel.ts'
import { permutationKeyWgsl, permuteWgsl } from './permutation.ts'
import { normalWgsl, philoxWgsl } from './random.ts'

const GROUP = 64

export type Distribution = 'uniform' | 'normal' | 'integer'

/** From a word of the generator to a value; the twins are in `random.ts`. */
const values: Readonly<Record<Distribution, string>> = {
  uniform: 'uniformFloat(word)',
  normal: 'normalFloat(word)',
  integer: 'mulHigh(word, params.bound)',
}

/**
 * Fills `out` [size] with random numbers: element i is made of word `first` + i of the stream (seed,
 * stream) at step `step[0]`, where `first` = 4·`block` + `skip`. A thread makes one block of four.
 */
export const randomFillKernel = kernelFamily(
  ({ distribution }: { readonly distribution: Distribution }) =>
    defineKernel({
      label: `random.${distribution}`,
      bindings: {
        step: read('u32'),
        out: readWrite(distribution === 'integer' ? 'u32' : 'f32'),
      },
      params: {
        size: 'u32',
        seed: 'u32',
        stream: 'u32',
        block: 'u32',
        skip: 'u32',
        bound: 'u32',
      },
      workgroups: ({ size, skip }) => linearWorkgroups(Math.ceil((size + skip) / 4), GROUP),
      wgsl: /* wgsl */ `
${philoxWgsl}
${distribution === 'normal' ? normalWgsl : ''}
${mainWgsl(GROUP)} {
  let block = linearWorkgroup(id, count) * ${GROUP}u + thread;
  if (block * 4u >= params.size + params.skip) { return; }
  let counter = vec4u(params.block + block, 0u, step[0], 0u);
  let words = philox(counter, vec2u(params.seed, params.stream));
  for (var j = 0u; j < 4u; j++) {
    let place = block * 4u + j;
    if (place < params.skip || place >= params.size + params.skip) { continue; }
    let word = words[j];
    out[place - params.skip] = ${values[distribution]};
  }
}
`,
    }),
)

/** out [size]: where 0 … size − 1 go under the permutation of (seed, stream) at step `step[0]`. */
export const permutationKernel = defineKernel({
  label: 'permutation',
  bindings: { step: read('u32'), out: readWrite('u32') },
  params: { size: 'u32', seed: 'u32', stream: 'u32' },
  workgroups: ({ size }) => linearWorkgroups(size, GROUP),
  wgsl: /* wgsl */ `
${philoxWgsl}
${permuteWgsl}
${permutationKeyWgsl}
${mainWgsl(GROUP)} {
  let i = linearWorkgroup(id, count) * ${GROUP}u + thread;
  if (i >= params.size) { return; }
  let key = permutationKey(vec2u(params.seed, params.stream), step[0]);
  out[i] = permute(i, params.size, key);
}
`,
})
