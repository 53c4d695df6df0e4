import { defineKernel, linearWorkgroups, mainWgsl, read, readWrite } from './kernel.ts'

const GROUP = 64

/** out[i] = labels[index[i]]: whole numbers, where `gatherRows` takes floats. */
export const gatherLabelsKernel = defineKernel({
  label: 'gatherLabels',
  bindings: { labels: read('u32'), index: read('u32'), out: readWrite('u32') },
  params: { size: 'u32', count: 'u32' },
  splits: [{ along: 'size', per: { index: 1, out: 1 } }],
  workgroups: ({ size }) => linearWorkgroups(size, GROUP),
  wgsl: /* wgsl */ `
${mainWgsl(GROUP)} {
  let i = linearWorkgroup(id, count) * ${GROUP}u + thread;
  if (i >= params.size) { return; }
  out[i] = labels[min(index[i], params.count - 1u)];
}
`,
})
