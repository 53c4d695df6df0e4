import {
  defineKernel,
  kernelFamily,
  linearWorkgroups,
  mainWgsl,
  read,
  readWrite,
} from './kernel.ts'

const GROUP = 64

/** average ← average + rate · (x − average), over `size` elements or, with `vector`, vec4s. */
export const movingAverageKernel = kernelFamily(({ vector }: { readonly vector: boolean }) => {
  const type = vector ? 'vec4<f32>' : 'f32'
  const each = vector ? 4 : 1
  return defineKernel({
    label: `movingAverage${vector ? '.vec4' : ''}`,
    bindings: { x: read(type), average: readWrite(type) },
    params: { size: 'u32', rate: 'f32' },
    splits: [{ along: 'size', per: { x: each, average: each } }],
    workgroups: ({ size }) => linearWorkgroups(size, GROUP),
    wgsl: /* wgsl */ `
${mainWgsl(GROUP)} {
  let i = linearWorkgroup(id, count) * ${GROUP}u + thread;
  if (i >= params.size) { return; }
  average[i] += params.rate * (x[i] - average[i]);
}
`,
  })
})
