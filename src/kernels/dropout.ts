import { defineKernel, linearWorkgroups, mainWgsl, read, readWrite } from './kernel.ts'
import { philoxWgsl } from './random.ts'

const GROUP = 64

/** Fourth counter word, which tells these draws from those of `sampleBatch.ts`. */
const DROPOUT = 4

/**
 * Factors of dropout for R runs: element i of run r's part of `mask` [R, size] is 0 with probability
 * `rate`, else 1/(1 − rate). It is a function of the run's step and seed, `state` [R, 2], of `stream`
 * and of i alone.
 */
export const dropoutMaskKernel = defineKernel({
  label: 'dropoutMask',
  bindings: { state: read('u32'), mask: readWrite('f32') },
  params: { runs: 'u32', size: 'u32', stream: 'u32', rate: 'f32' },
  workgroups: ({ runs, size }) =>
    linearWorkgroups(runs * Math.ceil(Math.ceil(size / 4) / GROUP), 1),
  wgsl: /* wgsl */ `
${philoxWgsl}
${mainWgsl(GROUP)} {
  let groups = ((params.size + 3u) / 4u + ${GROUP - 1}u) / ${GROUP}u;
  let group = linearWorkgroup(id, count);
  let run = group / groups;
  if (run >= params.runs) { return; }
  let block = group % groups * ${GROUP}u + thread;
  let key = vec2u(state[2u * run + 1u], 0u);
  let words = philox(vec4u(block, params.stream, state[2u * run], ${DROPOUT}u), key);
  for (var j = 0u; j < 4u && block * 4u + j < params.size; j++) {
    let kept = uniformFloat(words[j]) >= params.rate;
    mask[run * params.size + block * 4u + j] = select(0.0, 1.0 / (1.0 - params.rate), kept);
  }
}
`,
})
