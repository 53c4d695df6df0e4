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

/**
 * One step of Adam (Kingma & Ba 2015) or AdamW (Loshchilov & Hutter 2019) over all parameters of a
 * model, laid out in one flat buffer.
 *
 * What depends on the step number comes from row `step[0]` of `schedule` [steps, 4], computed on the
 * host in f64: lr/(1 − β₁ᵗ), 1/√(1 − β₂ᵗ), lr, unused. WGSL's bounds for `pow` and `cos` are too wide.
 *
 * With `groups`, every `block` vec4s have a row of `groups` [blocks, 2]: a factor on the learning rate
 * and a weight decay, decoupled from the gradient: w ← w − lr·factor·(decay·w + m̂/(√v̂ + ε)).
 */
export const adamKernel = kernelFamily(({ groups }: { readonly groups: boolean }) =>
  defineKernel<AdamBinding, AdamParam>({
    label: groups ? 'adamW' : 'adam',
    splits: [splitQuads<AdamBinding>(groups, ['gradients', 'values', 'moments', 'squares'])],
    bindings: {
      gradients: read('vec4<f32>'),
      schedule: read('f32'),
      step: read('u32'),
      ...(groups ? { groups: read('f32') } : {}),
      values: readWrite('vec4<f32>'),
      moments: readWrite('vec4<f32>'),
      squares: readWrite('vec4<f32>'),
    } as Record<AdamBinding, Binding>,
    // The complements come from f64: 1 − 0.999 in f32 is off by 5e-5.
    params: {
      quads: 'u32',
      block: 'u32',
      steps: 'u32',
      beta2: 'f32',
      complement1: 'f32',
      complement2: 'f32',
      eps: 'f32',
    },
    workgroups: ({ quads }) => linearWorkgroups(quads, GROUP),
    wgsl: /* wgsl */ `
${mainWgsl(GROUP)} {
  let i = linearWorkgroup(id, count) * ${GROUP}u + thread;
  if (i >= params.quads) { return; }
  let row = min(step[0], params.steps - 1u) * 4u;
  let g = gradients[i];
  let m = moments[i] + (g - moments[i]) * params.complement1;
  let v = squares[i] * params.beta2 + g * g * params.complement2;
  moments[i] = m;
  squares[i] = v;
  let direction = m / (sqrt(v) * schedule[row + 1u] + params.eps);
  ${
    groups
      ? /* wgsl */ `
  let group = i / params.block * 2u;
  let w = values[i];
  let decay = schedule[row + 2u] * groups[group + 1u];
  values[i] = w - groups[group] * (decay * w + schedule[row] * direction);`
      : 'values[i] -= schedule[row] * direction;'
  }
}
`,
  }),
)

type AdamBinding = 'gradients' | 'schedule' | 'step' | 'groups' | 'values' | 'moments' | 'squares'
type AdamParam = 'quads' | 'block' | 'steps' | 'beta2' | 'complement1' | 'complement2' | 'eps'

/**
 * Keeps the books of a training step of R runs: row `step` of `trace` [steps, R, terms + 1] gets the
 * run's `terms` [terms, R] and the learning rate, `current` [4] the step's row of the `schedule`
 * [steps, 4], and the run's `step` [R, 2] goes up, all without the host.
 */
export const advanceKernel = defineKernel({
  label: 'advance',
  bindings: {
    terms: read('f32'),
    schedule: read('f32'),
    step: readWrite('u32'),
    trace: readWrite('f32'),
    current: readWrite('f32'),
  },
  params: { steps: 'u32', runs: 'u32', terms: 'u32' },
  workgroups: () => [1, 1, 1],
  wgsl: /* wgsl */ `
@compute @workgroup_size(${GROUP})
fn main(@builtin(local_invocation_index) thread: u32) {
  for (var run = thread; run < params.runs; run += ${GROUP}u) {
    let row = min(step[run * 2u], params.steps - 1u);
    let line = (row * params.runs + run) * (params.terms + 1u);
    for (var i = 0u; i < params.terms; i++) { trace[line + i] = terms[i * params.runs + run]; }
    trace[line + params.terms] = schedule[row * 4u + 2u];
    if (run == 0u) {
      for (var i = 0u; i < 4u; i++) { current[i] = schedule[row * 4u + i]; }
    }
    step[run * 2u] += 1u;
  }
}
`,
})
