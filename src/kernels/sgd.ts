import {
  defineKernel,
  kernelFamily,
  linearWorkgroups,
  mainWgsl,
  read,
  readWrite,
  type Binding,
  splitQuads,
} from './kernel.ts'

const GROUP = 64

type SgdBinding = 'gradients' | 'schedule' | 'step' | 'groups' | 'values' | 'velocity'
type SgdParam = 'quads' | 'block' | 'steps' | 'momentum'

/**
 * One step of SGD with momentum over all parameters of a model, laid out in one flat buffer, as
 * PyTorch has it without dampening: u ← μ·u + g, w ← w − lr·u; with `nesterov` w ← w − lr·(g + μ·u).
 * A velocity of zeros makes the first step's u the gradient.
 *
 * `schedule` [steps, 4] holds lr in column 2 of row `step[0]`. With `groups`, every `block` vec4s have
 * a row of `groups` [blocks, 2]: a factor on the learning rate and a weight decay, which SGD adds to
 * the gradient: g ← g + decay·w.
 */
export const sgdKernel = kernelFamily(
  ({ groups, nesterov }: { readonly groups: boolean; readonly nesterov: boolean }) =>
    defineKernel<SgdBinding, SgdParam>({
      label: ['sgd', nesterov ? 'nesterov' : '', groups ? 'groups' : ''].filter(Boolean).join('.'),
      splits: [splitQuads<SgdBinding>(groups, ['gradients', 'values', 'velocity'])],
      bindings: {
        gradients: read('vec4<f32>'),
        schedule: read('f32'),
        step: read('u32'),
        ...(groups ? { groups: read('f32') } : {}),
        values: readWrite('vec4<f32>'),
        velocity: readWrite('vec4<f32>'),
      } as Record<SgdBinding, Binding>,
      params: { quads: 'u32', block: 'u32', steps: 'u32', momentum: 'f32' },
      workgroups: ({ quads }) => linearWorkgroups(quads, GROUP),
      wgsl: /* wgsl */ `
${mainWgsl(GROUP)} {
  let i = linearWorkgroup(id, count) * ${GROUP}u + thread;
  if (i >= params.quads) { return; }
  let rate = schedule[min(step[0], params.steps - 1u) * 4u + 2u]${
    groups ? ' * groups[i / params.block * 2u]' : ''
  };
  let w = values[i];
  let g = gradients[i]${groups ? ' + groups[i / params.block * 2u + 1u] * w' : ''};
  let u = params.momentum * velocity[i] + g;
  velocity[i] = u;
  values[i] = w - rate * ${nesterov ? '(g + params.momentum * u)' : 'u'};
}
`,
    }),
)
