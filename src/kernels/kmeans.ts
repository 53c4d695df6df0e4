import {
  BLOCK,
  distanceFeatures,
  distanceWgsl,
  distanceWorkgroups,
  layoutOf,
  rowOf,
} from './distance.ts'
import {
  defineKernel,
  kernelFamily,
  linearWorkgroups,
  mainWgsl,
  read,
  readWrite,
  type KernelVariant,
} from './kernel.ts'
import { philoxWgsl } from './random.ts'
import { range } from './template.ts'

/**
 * Greedy k-means++ (Arthur & Vassilvitskii 2007, section 5; scikit-learn's seeding), all restarts at
 * once: each next centre is the best of `trials` rows drawn with probability in proportion to their
 * squared distance to the nearest centre so far, best meaning the smallest sum of them afterwards.
 *
 * A round is: {@link seedWeightsKernel}, {@link seedDrawKernel}, {@link seedRowKernel},
 * {@link seedPotentialKernel}, {@link seedChooseKernel}. The rows may lie in several chunks.
 */

const GROUP = 64

/** Rows whose squared distances are added up before a draw; a chunk holds whole blocks but the last. */
export const SEED_BLOCK = 256

/** `weights` [restarts, blocks]: sums of `squared` [rows, restarts] over the blocks of a chunk. */
export const seedWeightsKernel = defineKernel({
  label: 'kmeansSeed.weights',
  bindings: { squared: read('f32'), weights: readWrite('f32') },
  params: { rows: 'u32', restarts: 'u32', firstBlock: 'u32', blocks: 'u32' },
  workgroups: ({ rows, restarts }) => {
    return linearWorkgroups(Math.ceil(rows / SEED_BLOCK) * restarts, GROUP)
  },
  wgsl: /* wgsl */ `
${mainWgsl(GROUP)} {
  let item = linearWorkgroup(id, count) * ${GROUP}u + thread;
  let run = item % params.restarts;
  let block = item / params.restarts;
  let first = block * ${SEED_BLOCK}u;
  if (first >= params.rows) { return; }
  var sum = 0.0;
  for (var row = first; row < min(first + ${SEED_BLOCK}u, params.rows); row++) {
    sum += squared[row * params.restarts + run];
  }
  weights[run * params.blocks + params.firstBlock + block] = sum;
}
`,
})

/**
 * Draws the block of every candidate: `block` and what is left of the draw in it, `rest`
 * [restarts·trials]. Word `drawn` + trial of the stream (seed, run) decides, see `randomUniform`.
 */
export const seedDrawKernel = defineKernel({
  label: 'kmeansSeed.draw',
  bindings: { weights: read('f32'), block: readWrite('u32'), rest: readWrite('f32') },
  params: { restarts: 'u32', trials: 'u32', blocks: 'u32', seed: 'u32', drawn: 'u32' },
  workgroups: ({ restarts, trials }) => linearWorkgroups(restarts * trials, GROUP),
  wgsl: /* wgsl */ `
${philoxWgsl}
${mainWgsl(GROUP)} {
  let item = linearWorkgroup(id, count) * ${GROUP}u + thread;
  if (item >= params.restarts * params.trials) { return; }
  let run = item / params.trials;
  let word = params.drawn + item % params.trials;
  let bits = philox(vec4u(word / 4u, 0u, 0u, 0u), vec2u(params.seed, run));
  let start = run * params.blocks;
  var total = 0.0;
  for (var b = 0u; b < params.blocks; b++) { total += weights[start + b]; }
  var left = uniformFloat(bits[word % 4u]) * total;
  // Rounding can leave something over at the end: the last row that has a weight takes it.
  var chosen = 0u;
  var within = 3.4e38;
  for (var b = 0u; b < params.blocks; b++) {
    let weight = weights[start + b];
    if (weight > 0.0) { chosen = b; }
    if (left < weight) {
      within = left;
      break;
    }
    left -= weight;
  }
  block[item] = chosen;
  rest[item] = within;
}
`,
})

/** Finds the drawn row within its block and copies it to `candidates` [restarts·trials, dimension]. */
export const seedRowKernel = defineKernel({
  label: 'kmeansSeed.row',
  bindings: {
    x: read('f32'),
    squared: read('f32'),
    block: read('u32'),
    rest: read('f32'),
    candidates: readWrite('f32'),
  },
  params: {
    rows: 'u32',
    dimension: 'u32',
    restarts: 'u32',
    trials: 'u32',
    firstBlock: 'u32',
  },
  workgroups: ({ restarts, trials }) => linearWorkgroups(restarts * trials, 1),
  wgsl: /* wgsl */ `
var<workgroup> found: u32;
${mainWgsl(GROUP)} {
  let item = linearWorkgroup(id, count);
  if (item >= params.restarts * params.trials) { return; }
  let first = (block[item] - params.firstBlock) * ${SEED_BLOCK}u;
  // Another chunk's; before this one, the difference wraps around.
  if (block[item] < params.firstBlock || first >= params.rows) { return; }
  if (thread == 0u) {
    let run = item / params.trials;
    var left = rest[item];
    var chosen = first;
    for (var row = first; row < min(first + ${SEED_BLOCK}u, params.rows); row++) {
      let weight = squared[row * params.restarts + run];
      if (weight > 0.0) { chosen = row; }
      if (left < weight) { break; }
      left -= weight;
    }
    found = chosen;
  }
  workgroupBarrier();
  for (var d = thread; d < params.dimension; d += ${GROUP}u) {
    candidates[item * params.dimension + d] = x[found * params.dimension + d];
  }
}
`,
})

/**
 * `potentials` [restarts·trials, groups]: what the squared distances of a group of rows add up to, were
 * the candidate y one more centre. {@link seedGroups} tells the groups of a chunk.
 */
export const seedPotentialKernel = kernelFamily(
  ({ variant }: { readonly variant: KernelVariant }) => {
    const { lanes, strips, height } = layoutOf(variant)
    const all = range(strips)
    return defineKernel({
      label: `kmeansSeed.potential.${variant}`,
      bindings: {
        x: read('f32'),
        y: read('f32'),
        squared: read('f32'),
        potentials: readWrite('f32'),
      },
      params: {
        rows: 'u32',
        dimension: 'u32',
        restarts: 'u32',
        trials: 'u32',
        firstGroup: 'u32',
        groups: 'u32',
        splits: 'u32',
      },
      features: distanceFeatures(variant),
      workgroups: ({ rows, splits }) => distanceWorkgroups(variant, rows, splits),
      wgsl: distanceWgsl(variant, {
        module: /* wgsl */ `
fn nearer(row: u32, run: u32, distance: f32) -> f32 {
  if (row >= params.rows) { return 0.0; }
  return min(distance, squared[row * params.restarts + run]);
}`,
        start: /* wgsl */ `
  let candidates = params.restarts * params.trials;
  let share = (candidates + params.splits - 1u) / params.splits;
  let begin = min(split * share, candidates);
  let end = min(begin + share, candidates);`,
        each: (distance) => /* wgsl */ `
      let run = c / params.trials;
      distances[j * ${height}u + thread] = ${all
        .map((s) => `nearer(${rowOf(s)}, run, ${distance(s)})`)
        .join(' + ')};`,
        block: /* wgsl */ `
    // The rest is zeros; and a bound that drivers don't know keeps them from unrolling.
    let filled = min(${lanes}u, params.rows - rowBase);
    for (var j = thread; j < min(${BLOCK}u, end - base); j += ${lanes}u) {
      var sum = 0.0;
      for (var i = 0u; i < filled; i++) { sum += distances[j * ${height}u + i]; }
      potentials[(base + j) * params.groups + params.firstGroup + part] = sum;
    }`,
      }),
    })
  },
)

/** Groups of rows in a chunk, for {@link seedPotentialKernel}. */
export const seedGroups = (variant: KernelVariant, rows: number): number =>
  Math.ceil(rows / layoutOf(variant).height)

/**
 * Takes the best candidate of every restart, ties to the first: copies it to row run·k + `centre` of
 * `centres` [restarts·k, dimension] and to `chosen` [restarts, dimension].
 */
export const seedChooseKernel = defineKernel({
  label: 'kmeansSeed.choose',
  bindings: {
    potentials: read('f32'),
    candidates: read('f32'),
    centres: readWrite('f32'),
    chosen: readWrite('f32'),
  },
  params: {
    restarts: 'u32',
    trials: 'u32',
    groups: 'u32',
    dimension: 'u32',
    k: 'u32',
    centre: 'u32',
  },
  workgroups: ({ restarts }) => linearWorkgroups(restarts, 1),
  wgsl: /* wgsl */ `
var<workgroup> partial: array<f32, ${GROUP}>;
${mainWgsl(GROUP)} {
  let run = linearWorkgroup(id, count);
  if (run >= params.restarts) { return; }
  var least = 3.4e38;
  var best = 0u;
  for (var trial = 0u; trial < params.trials; trial++) {
    let start = (run * params.trials + trial) * params.groups;
    var sum = 0.0;
    for (var i = thread; i < params.groups; i += ${GROUP}u) { sum += potentials[start + i]; }
    partial[thread] = sum;
    for (var half = ${GROUP / 2}u; half > 0u; half /= 2u) {
      workgroupBarrier();
      if (thread < half) { partial[thread] += partial[thread + half]; }
    }
    workgroupBarrier();
    if (partial[0] < least) {
      least = partial[0];
      best = trial;
    }
    workgroupBarrier();
  }
  for (var d = thread; d < params.dimension; d += ${GROUP}u) {
    let value = candidates[(run * params.trials + best) * params.dimension + d];
    centres[(run * params.k + params.centre) * params.dimension + d] = value;
    chosen[run * params.dimension + d] = value;
  }
}
`,
})
