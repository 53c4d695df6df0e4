import { activationWgsl, type Activation } from './activations.ts'
import {
  defineKernel,
  kernelFamily,
  mainWgsl,
  linearWorkgroups,
  read,
  readWrite,
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
  workgroups,
  wgsl: main('out[i] = params.value;'),
})

/** out = scale · x */
export const scaleKernel = defineKernel({
  label: 'scale',
  bindings: { x: read('f32'), out: readWrite('f32') },
  params: { size: 'u32', scale: 'f32' },
  workgroups,
  wgsl: main('out[i] = params.scale * x[i];'),
})

/** out = factor[0] · x */
export const scaleByKernel = defineKernel({
  label: 'scaleBy',
  bindings: { x: read('f32'), factor: read('f32'), out: readWrite('f32') },
  params: { size: 'u32' },
  workgroups,
  wgsl: main('out[i] = factor[0] * x[i];'),
})

/** out = a + b, where b repeats every `period` elements (period = size: plain addition) */
export const addKernel = defineKernel({
  label: 'add',
  bindings: { a: read('f32'), b: read('f32'), out: readWrite('f32') },
  params: { size: 'u32', period: 'u32' },
  workgroups,
  wgsl: main('out[i] = a[i] + b[i % params.period];'),
})

/** out = a · b */
export const multiplyKernel = defineKernel({
  label: 'multiply',
  bindings: { a: read('f32'), b: read('f32'), out: readWrite('f32') },
  params: { size: 'u32' },
  workgroups,
  wgsl: main('out[i] = a[i] * b[i];'),
})

/** out = activation(x) */
export const activationKernel = kernelFamily((activation: Activation) =>
  defineKernel({
    label: `activation.${activation}`,
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
    bindings: { x: read('f32'), dOut: read('f32'), dX: readWrite('f32') },
    params: { size: 'u32' },
    workgroups,
    wgsl: `${activationWgsl(activation)}${main('dX[i] = dOut[i] * activateGradient(x[i]);')}`,
  }),
)
