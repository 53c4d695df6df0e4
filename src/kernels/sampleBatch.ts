import { defineKernel, mainWgsl, linearWorkgroups, read, readWrite } from './kernel.ts'
import { permute, permuteWgsl } from './permutation.ts'
import { normalWgsl, philox, philoxWgsl } from './random.ts'

const GROUP = 64

/** Fourth counter word of each use of the generator, so that no two draws share a block. */
const ORDER = 1
const CHOICE = 2
const NOISE = 3

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
${mainWgsl(GROUP)} {
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
  let source = view * params.count + image;
  if (source < params.firstRow || source >= params.firstRow + params.rows) { return; }
  let start = (source - params.firstRow) * params.dimension;
  if (thread == 0u) { images[at] = image; }
  for (var quad = thread; quad * 4u < params.dimension; quad += ${GROUP}u) {
    let bits = philox(vec4u(row, quad, step, ${NOISE}u), key);
    for (var j = 0u; j < min(4u, params.dimension - quad * 4u); j++) {
      let d = quad * 4u + j;
      out[at * params.dimension + d] = store[start + d] + params.noise * normalFloat(bits[j]);
    }
  }
}
`,
})

export interface Draw {
  readonly image: number
  readonly view: number
}

/** TypeScript twin of the draws of {@link sampleBatchKernel}: image and view of one row of a step. */
export function drawRow(
  row: number,
  step: number,
  seed: number,
  settings: {
    readonly batch: number
    readonly count: number
    readonly views: number
    readonly stepsPerEpoch: number
    /** [N, pairs], empty when both sides show the same image. */
    readonly neighbours: Uint32Array
  },
): Draw {
  const { batch, count, views, stepsPerEpoch, neighbours } = settings
  const key = [seed >>> 0, 0] as const
  const place = row % batch
  const [k0, k1] = philox([Math.floor(step / stepsPerEpoch), 0, 0, ORDER], key)
  const image = permute(((step % stepsPerEpoch) * batch + place) % count, count, [k0, k1])
  const choice = philox([place, step, 0, CHOICE], key)
  const pick = (bits: number, n: number): number => Math.floor((bits * n) / 2 ** 32)
  if (row < batch) return { image, view: pick(choice[0], views) }
  const pairs = neighbours.length / count
  return {
    image: pairs > 0 ? neighbours[image * pairs + pick(choice[2], pairs)]! : image,
    view: pick(choice[1], views),
  }
}
