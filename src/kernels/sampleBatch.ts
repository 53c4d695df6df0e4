import { defineKernel, mainWgsl, linearWorkgroups, read, readWrite } from './kernel.ts'
import { permute, permuteWgsl } from './permutation.ts'
import { normalWgsl, philox, philoxWgsl } from './random.ts'

/** Threads of a workgroup, which writes one row. */
export const SAMPLE_GROUP = 64

/** Fourth counter word of each use of the generator, so that no two draws share a block. */
const ORDER = 1
const CHOICE = 2
const NOISE = 3

/**
 * Writes row `at` of `out`: the value that `source` says for entry `d`, and noise from the counters of
 * `row`, `step` and the run's `key`. All threads of a workgroup share in it.
 */
export const noisyRowWgsl = (source: string): string => /* wgsl */ `
  for (var quad = thread; quad * 4u < params.dimension; quad += ${SAMPLE_GROUP}u) {
    let bits = philox(vec4u(at % (2u * params.batch), quad, step, ${NOISE}u), key);
    for (var j = 0u; j < min(4u, params.dimension - quad * 4u); j++) {
      let d = quad * 4u + j;
      out[at * params.dimension + d] = ${source} + params.noise * normalFloat(bits[j]);
    }
  }`

/**
 * Draws the batches of a training step of R runs on the GPU: row i < B of a run's `out` [R, 2B, D] is a
 * random view of the image that its epoch's permutation puts at this place, row B + i a random view of
 * one of that image's `neighbours`; Gaussian noise is added to both. `images` [R, 2B] gets the image of
 * each row. Where an epoch's last batch is not full, it goes on with the epoch's first images.
 *
 * `store` holds rows `firstRow` … `firstRow + rows` of the views, row v·N + i being view v of image
 * i; a collection larger than one binding is drawn by one dispatch per chunk, each writing the rows
 * it holds. `state` [R, 2] is step and seed of each run, and all that its draws depend on.
 */
export const sampleBatchKernel = defineKernel({
  label: 'sampleBatch',
  bindings: {
    store: read('f32'),
    neighbours: read('u32'),
    state: read('u32'),
    out: readWrite('f32'),
    images: readWrite('u32'),
  },
  params: {
    runs: 'u32',
    batch: 'u32',
    count: 'u32',
    views: 'u32',
    /** 1: the first row of a pair shows view 0, the second view 1; 0: both a random one. */
    sides: 'u32',
    /** Neighbours of every image; 0: the image itself is on both sides. */
    pairs: 'u32',
    dimension: 'u32',
    stepsPerEpoch: 'u32',
    firstRow: 'u32',
    rows: 'u32',
    /** Standard deviation of the noise, absolute. */
    noise: 'f32',
  },
  workgroups: ({ runs, batch }) => linearWorkgroups(2 * batch * runs, 1),
  cost: ({ runs, batch, dimension }) => ({ bytes: 2 * (2 * dimension + 1) * batch * runs * 4 }),
  wgsl: /* wgsl */ `
${philoxWgsl}
${permuteWgsl}
${normalWgsl}
${mainWgsl(SAMPLE_GROUP)} {
  let at = linearWorkgroup(id, count);
  let run = at / (2u * params.batch);
  if (run >= params.runs) { return; }
  let row = at % (2u * params.batch);
  let step = state[2u * run];
  let key = vec2u(state[2u * run + 1u], 0u);
  let place = row % params.batch;
  let epoch = step / params.stepsPerEpoch;
  let order = philox(vec4u(epoch, 0u, 0u, ${ORDER}u), key).xy;
  let turn = (step % params.stepsPerEpoch * params.batch + place) % params.count;
  var image = permute(turn, params.count, order);
  let choice = philox(vec4u(place, step, 0u, ${CHOICE}u), key);
  var view = mulHigh(choice.x, params.views);
  if (row >= params.batch) {
    view = mulHigh(choice.y, params.views);
    if (params.pairs > 0u) { image = neighbours[image * params.pairs + mulHigh(choice.z, params.pairs)]; }
  }
  if (params.sides == 1u) { view = row / params.batch; }
  let source = view * params.count + image;
  if (source < params.firstRow || source >= params.firstRow + params.rows) { return; }
  let start = (source - params.firstRow) * params.dimension;
  if (thread == 0u) { images[at] = image; }
  ${noisyRowWgsl('store[start + d]')}
}
`,
})

export interface Draw {
  readonly image: number
  readonly view: number
}

export interface DrawSettings {
  readonly batch: number
  readonly count: number
  readonly views: number
  readonly stepsPerEpoch: number
  /** [N, pairs], empty when both sides show the same image. */
  readonly neighbours: Uint32Array
}

/** TypeScript twin of the draws of {@link sampleBatchKernel}: image and view of the 2B rows of a step. */
export function drawBatch(step: number, seed: number, settings: DrawSettings): Draw[] {
  const { batch, count, views, stepsPerEpoch, neighbours } = settings
  const key = [seed >>> 0, 0] as const
  const [k0, k1] = philox([Math.floor(step / stepsPerEpoch), 0, 0, ORDER], key)
  const pairs = neighbours.length / count
  const pick = (bits: number, n: number): number => Math.floor((bits * n) / 2 ** 32)
  const draws = new Array<Draw>(2 * batch)
  for (let place = 0; place < batch; place++) {
    const turn = ((step % stepsPerEpoch) * batch + place) % count
    const image = permute(turn, count, [k0, k1])
    const choice = philox([place, step, 0, CHOICE], key)
    draws[place] = { image, view: pick(choice[0], views) }
    const other = pairs > 0 ? neighbours[image * pairs + pick(choice[2], pairs)]! : image
    draws[batch + place] = { image: other, view: pick(choice[1], views) }
  }
  return draws
}
