import { defineKernel, linearWorkgroups, mainWgsl, read, readWrite } from './kernel.ts'

const GROUP = 64

/** out [size] = x [size] · factor [columns], rows of `columns`. */
export const scaleColumnsKernel = defineKernel({
  label: 'scaleColumns',
  bindings: { x: read('f32'), factor: read('f32'), out: readWrite('f32') },
  params: { size: 'u32', columns: 'u32' },
  workgroups: ({ size }) => linearWorkgroups(size, GROUP),
  wgsl: /* wgsl */ `
${mainWgsl(GROUP)} {
  let i = linearWorkgroup(id, count) * ${GROUP}u + thread;
  if (i >= params.size) { return; }
  out[i] = x[i] * factor[i % params.columns];
}
`,
})
