import { defineKernel, linearWorkgroups, mainWgsl, read, readWrite } from './kernel.ts'
import { normalWgsl, philoxWgsl } from './random.ts'
import { noisyRowWgsl, SAMPLE_GROUP } from './sampleBatch.ts'

/**
 * The batches of a training step of R runs, whose rows the host has drawn and uploaded: what
 * `sampleBatchKernel` gives, bit for bit. `ring` [S, R, 2B, D] holds the rows of steps `base[0]`, …, and
 * `drawn` [S, R, 2B] their images; noise is added here, from the counters of the step and the run.
 */
export const ringBatchKernel = defineKernel({
  label: 'ringBatch',
  bindings: {
    ring: read('f32'),
    drawn: read('u32'),
    base: read('u32'),
    state: read('u32'),
    out: readWrite('f32'),
    images: readWrite('u32'),
  },
  params: {
    runs: 'u32',
    batch: 'u32',
    dimension: 'u32',
    /** Standard deviation of the noise, absolute. */
    noise: 'f32',
  },
  workgroups: ({ runs, batch }) => linearWorkgroups(2 * batch * runs, 1),
  cost: ({ runs, batch, dimension }) => ({ bytes: 2 * (2 * dimension + 1) * batch * runs * 4 }),
  wgsl: /* wgsl */ `
${philoxWgsl}
${normalWgsl}
${mainWgsl(SAMPLE_GROUP)} {
  let at = linearWorkgroup(id, count);
  let run = at / (2u * params.batch);
  if (run >= params.runs) { return; }
  let row = at % (2u * params.batch);
  let step = state[2u * run];
  let key = vec2u(state[2u * run + 1u], 0u);
  let source = (step - base[0]) * params.runs * 2u * params.batch + at;
  if (thread == 0u) { images[at] = drawn[source]; }
  ${noisyRowWgsl('ring[source * params.dimension + d]')}
}
`,
})
