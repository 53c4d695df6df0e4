import { defineKernel, linearWorkgroups, mainWgsl, read, readWrite } from './kernel.ts'

const GROUP = 64
/** Threads of the one workgroup that sums over all points; part of the result's rounding, so fixed. */
const ALL = 64

/** The sum of all threads' values, in their order, to each of them: one barrier instead of one a level. */
const sumWgsl = (type: string): string => /* wgsl */ `
var<workgroup> values: array<${type}, ${ALL}>;
fn sumOfAll(value: ${type}, thread: u32) -> ${type} {
  values[thread] = value;
  workgroupBarrier();
  var sum = ${type}();
  for (var i = 0u; i < ${ALL}u; i++) { sum += values[i]; }
  return sum;
}`

/**
 * total [1]: Z = Σᵢ Σ_{j≠i} w, from the third numbers of `partials` [splits, count, 4]; see
 * `tsneRepulsionKernel`. Each point's own w of 1 is taken off before points are added.
 */
export const tsneTotalKernel = defineKernel({
  label: 'tsneTotal',
  bindings: { partials: read('vec4<f32>'), total: readWrite('f32') },
  params: { count: 'u32', splits: 'u32' },
  workgroups: () => [1, 1, 1],
  wgsl: /* wgsl */ `
${sumWgsl('f32')}
@compute @workgroup_size(${ALL})
fn main(@builtin(local_invocation_index) thread: u32) {
  var sum = 0.0;
  for (var i = thread; i < params.count; i += ${ALL}u) {
    var w = 0.0;
    for (var s = 0u; s < params.splits; s++) { w += partials[s * params.count + i].z; }
    sum += w - 1.0;
  }
  let all = sumOfAll(sum, thread);
  if (thread == 0u) { total[0] = all; }
}
`,
})

/**
 * The gradient of t-SNE's divergence by each point: 4·(exaggeration·Σⱼ pᵢⱼ·w·(yᵢ − yⱼ) − Σⱼ w²(yᵢ −
 * yⱼ)/Z) → gradient [count, 2]; and divergence [count], Σⱼ pᵢⱼ·ln(pᵢⱼ/w), whose sum with ln Z is the
 * Kullback-Leibler divergence where the p sum to 1.
 *
 * P is sparse: row i has the columns `columns` and the probabilities `weights` at `starts[i]` …
 * `starts[i + 1]`, ascending, so that sums have one order.
 */
export const tsneGradientKernel = defineKernel({
  label: 'tsneGradient',
  bindings: {
    points: read('vec2<f32>'),
    starts: read('u32'),
    columns: read('u32'),
    weights: read('f32'),
    partials: read('vec4<f32>'),
    total: read('f32'),
    gradient: readWrite('vec2<f32>'),
    divergence: readWrite('f32'),
  },
  params: { count: 'u32', splits: 'u32', exaggeration: 'f32' },
  workgroups: ({ count }) => linearWorkgroups(count, GROUP),
  wgsl: /* wgsl */ `
${mainWgsl(GROUP)} {
  let i = linearWorkgroup(id, count) * ${GROUP}u + thread;
  if (i >= params.count) { return; }
  let own = points[i];
  var attraction = vec2f();
  var entropy = 0.0;
  for (var e = starts[i]; e < starts[i + 1u]; e++) {
    let d = own - points[columns[e]];
    let p = weights[e];
    let inverse = fma(d.x, d.x, fma(d.y, d.y, 1.0));
    attraction += p / inverse * d;
    entropy += p * log(p * inverse);
  }
  var repulsion = vec2f();
  for (var s = 0u; s < params.splits; s++) { repulsion += partials[s * params.count + i].xy; }
  gradient[i] = 4.0 * (params.exaggeration * attraction - repulsion / total[0]);
  divergence[i] = entropy;
}
`,
})

/**
 * One step of t-SNE's descent, in place on `points`, `velocity` and `gains` [count, 2] (Jacobs 1988; as
 * scikit-learn): a gain grows by 0.2 where gradient and velocity differ in sign and shrinks to 0.8 of
 * itself elsewhere, to 0.01 at least; v ← momentum·v − rate·gain·gradient. The layout is then moved to
 * mean 0. kl [1] gets the divergence of the layout before the step.
 */
export const tsneMoveKernel = defineKernel({
  label: 'tsneMove',
  bindings: {
    gradient: read('vec2<f32>'),
    divergence: read('f32'),
    total: read('f32'),
    points: readWrite('vec2<f32>'),
    velocity: readWrite('vec2<f32>'),
    gains: readWrite('vec2<f32>'),
    kl: readWrite('f32'),
  },
  params: { count: 'u32', rate: 'f32', momentum: 'f32' },
  workgroups: () => [1, 1, 1],
  wgsl: /* wgsl */ `
${sumWgsl('vec3f')}
@compute @workgroup_size(${ALL})
fn main(@builtin(local_invocation_index) thread: u32) {
  var sum = vec3f();
  for (var i = thread; i < params.count; i += ${ALL}u) {
    let g = gradient[i];
    let v = velocity[i];
    let gain = max(select(0.8 * gains[i], gains[i] + 0.2, g * v < vec2f()), vec2f(0.01));
    let moved = params.momentum * v - params.rate * gain * g;
    let y = points[i] + moved;
    gains[i] = gain;
    velocity[i] = moved;
    points[i] = y;
    sum += vec3f(y, divergence[i]);
  }
  let all = sumOfAll(sum, thread);
  let mean = all.xy / f32(params.count);
  for (var i = thread; i < params.count; i += ${ALL}u) { points[i] -= mean; }
  if (thread == 0u) { kl[0] = all.z + log(total[0]); }
}
`,
})
