import { activationWgsl, type Activation } from './activations.ts'
import {
  defineKernel,
  kernelFamily,
  mainWgsl,
  linearWorkgroups,
  read,
  readWrite,
  splitElements,
} from './kernel.ts'

const GROUP = 64

/** `i` is this invocation's element; invocations past `params.size` do nothing. */
const main = (body: string): string => /* wgsl */ `
${mainWgsl(GROUP)} {
  let i = linearWorkgroup(id, count) * ${GROUP}u + thread;
  if (i >= params.size) { return; }
  ${body}
}
`

const workgroups = ({ size }: { size: number }): ReturnType<typeof linearWorkgroups> =>
  linearWorkgroups(size, GROUP)

/** out = value */
export const fillKernel = defineKernel({
  label: 'fill',
  bindings: { out: readWrite('f32') },
  params: { size: 'u32', value: 'f32' },
  splits: [splitElements('size', 'out')],
  workgroups,
  wgsl: main('out[i] = params.value;'),
})

/** out = scale · x */
export const scaleKernel = defineKernel({
  label: 'scale',
  bindings: { x: read('f32'), out: readWrite('f32') },
  params: { size: 'u32', scale: 'f32' },
  splits: [splitElements('size', 'x', 'out')],
  workgroups,
  wgsl: main('out[i] = params.scale * x[i];'),
})

/** out = factor[0] · x */
export const scaleByKernel = defineKernel({
  label: 'scaleBy',
  bindings: { x: read('f32'), factor: read('f32'), out: readWrite('f32') },
  splits: [splitElements('size', 'x', 'out')],
  params: { size: 'u32' },
  workgroups,
  wgsl: main('out[i] = factor[0] * x[i];'),
})

/** out = a + b, where b repeats every `period` elements (period = size: plain addition) */
export const addKernel = defineKernel({
  label: 'add',
  bindings: { a: read('f32'), b: read('f32'), out: readWrite('f32') },
  params: { size: 'u32', period: 'u32' },
  splits: [
    {
      along: 'size',
      per: { a: 1, b: ({ size, period }) => (period === size ? 1 : 0), out: 1 },
      step: ({ size, period }) => (period === size ? 1 : period),
    },
  ],
  workgroups,
  wgsl: main('out[i] = a[i] + b[i % params.period];'),
})

/** out = a · b */
export const multiplyKernel = defineKernel({
  label: 'multiply',
  splits: [splitElements('size', 'a', 'b', 'out')],
  bindings: { a: read('f32'), b: read('f32'), out: readWrite('f32') },
  params: { size: 'u32' },
  workgroups,
  wgsl: main('out[i] = a[i] * b[i];'),
})

/** out = activation(x) */
export const activationKernel = kernelFamily((activation: Activation) =>
  defineKernel({
    label: `activation.${activation}`,
    splits: [splitElements('size', 'x', 'out')],
    bindings: { x: read('f32'), out: readWrite('f32') },
    params: { size: 'u32' },
    workgroups,
    wgsl: `${activationWgsl(activation)}${main('out[i] = activate(x[i]);')}`,
  }),
)

/** dX = dOut · activation'(x) */
export const activationBackwardKernel = kernelFamily((activation: Activation) =>
  defineKernel({
    label: `activationBackward.${activation}`,
    splits: [splitElements('size', 'x', 'dOut', 'dX')],
    bindings: { x: read('f32'), dOut: read('f32'), dX: readWrite('f32') },
    params: { size: 'u32' },
    workgroups,
    wgsl: `${activationWgsl(activation)}${main('dX[i] = dOut[i] * activateGradient(x[i]);')}`,
  }),
)
