import { defineKernel, linearWorkgroups, mainWgsl, read, readWrite } from './kernel.ts'

const GROUP = 64

/** average ← average + rate · (x − average), elementwise over `quads` vec4s. */
export const movingAverageKernel = defineKernel({
  label: 'movingAverage',
  bindings: { x: read('vec4<f32>'), average: readWrite('vec4<f32>') },
  params: { quads: 'u32', rate: 'f32' },
  splits: [{ along: 'quads', per: { x: 4, average: 4 } }],
  workgroups: ({ quads }) => linearWorkgroups(quads, GROUP),
  wgsl: /* wgsl */ `
${mainWgsl(GROUP)} {
  let i = linearWorkgroup(id, count) * ${GROUP}u + thread;
  if (i >= params.quads) { return; }
  average[i] += params.rate * (x[i] - average[i]);
}
`,
})
