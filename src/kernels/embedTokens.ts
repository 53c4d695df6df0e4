import { defineKernel, mainWgsl, linearWorkgroups, read, readWrite } from './kernel.ts'

const GROUP = 64

const main = (body: string): string => /* wgsl */ `
${mainWgsl(GROUP)} {
  let i = linearWorkgroup(id, count) * ${GROUP}u + thread;
  ${body}
}
`

interface Sizes {
  readonly n: number
  readonly dimension: number
}
const patchesSize = ({ n, dimension }: Sizes): number => n * dimension
const tokensSize = ({ n, dimension }: Sizes): number => (n + 1) * dimension

/**
 * tokens[b] = concat(classToken, patches[b]) + positions: patches [batch, n, dimension], classToken
 * [dimension], positions [n + 1, dimension] → out [batch, n + 1, dimension].
 */
export const embedTokensKernel = defineKernel({
  label: 'embedTokens',
  splits: [{ along: 'batch', per: { patches: patchesSize, out: tokensSize } }],
  bindings: {
    patches: read('f32'),
    classToken: read('f32'),
    positions: read('f32'),
    out: readWrite('f32'),
  },
  params: { batch: 'u32', n: 'u32', dimension: 'u32' },
  workgroups: ({ batch, n, dimension }) => linearWorkgroups(batch * (n + 1) * dimension, GROUP),
  wgsl: main(/* wgsl */ `
  let sequence = (params.n + 1u) * params.dimension;
  let b = i / sequence;
  if (b >= params.batch) { return; }
  let within = i % sequence;
  var value: f32;
  if (within < params.dimension) { value = classToken[within]; }
  else { value = patches[i - (b + 1u) * params.dimension]; }
  out[i] = value + positions[within];`),
})

/** dPatches [batch, n, dimension] = all but the first token of dOut [batch, n + 1, dimension]. */
export const embedTokensPatchesBackwardKernel = defineKernel({
  label: 'embedTokens.patchesBackward',
  splits: [{ along: 'batch', per: { dOut: tokensSize, dPatches: patchesSize } }],
  bindings: { dOut: read('f32'), dPatches: readWrite('f32') },
  params: { batch: 'u32', n: 'u32', dimension: 'u32' },
  workgroups: ({ batch, n, dimension }) => linearWorkgroups(batch * n * dimension, GROUP),
  wgsl: main(/* wgsl */ `
  let b = i / (params.n * params.dimension);
  if (b >= params.batch) { return; }
  dPatches[i] = dOut[i + (b + 1u) * params.dimension];`),
})
