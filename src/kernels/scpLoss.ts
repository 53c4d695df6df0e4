import {
  defineKernel,
  kernelFamily,
  linearWorkgroups,
  mainWgsl,
  read,
  readWrite,
  type Binding,
} from './kernel.ts'

const GROUP = 256

/**
 * SCP's loss and its gradient for R runs in one dispatch (Li et al. 2025, equations 3 to 6).
 *
 * With p, q the softmax of the two views' logits a, b and p̄, q̄ their means over the batch of B:
 *
 *   cross-entropy     −1/B Σ_i Σ_k (f·p ln q + g·q ln p), f = `forward` and g = `reverse`: ½ each
 *   confidence        −1/B Σ_i ln(p_i·q_i)
 *   negative entropy  s·Σ_k (p̄ ln p̄ + q̄ ln q̄), s = `views`: 1 for the sum, ½ for the mean
 *
 * `logits` [R, 2B, K] holds the rows of a, then those of b. `terms` [4, R] gets total, cross-entropy,
 * confidence and negative entropy, the total weighted by the three weights; `dLogits` its gradient.
 * `scratch` [R, 5B + 2K] keeps per-pair figures between the passes.
 *
 * One workgroup does all of a run: the batch's means tie every row to every other, and B·K is small.
 * With `ring` the dispatch also keeps the books of a training loop without the host: this step's row
 * of `trace` [steps, R, 5] gets the terms and the learning rate, `current` [4] the step's row of the
 * optimiser's `schedule` [steps, 4] (learning rate third), and the run's `step` [R, 2] goes up. A run's
 * workgroup alone touches its own, so nothing can read a number while it changes; all runs are at the
 * same step.
 *
 * Gradients per pair, times 1/B, of a: cross-entropy g(p − q) + f·t·p(−ln q − CE(p, q)), with t =
 * `targets` 0 where no gradient goes through the target; confidence p − r with r = p·q/Σp·q; entropy
 * s·p(ln p̄ − Σ p ln p̄). Those of b by exchanging the views, and f with g.
 */
export const scpLossKernel = kernelFamily(({ ring }: { readonly ring: boolean }) =>
  defineKernel<ScpLossBinding, ScpLossParam>({
    label: ring ? 'scpLoss.ring' : 'scpLoss',
    bindings: {
      logits: read('f32'),
      terms: readWrite('f32'),
      dLogits: readWrite('f32'),
      scratch: readWrite('f32'),
      ...(ring
        ? {
            schedule: read('f32'),
            step: readWrite('u32'),
            trace: readWrite('f32'),
            current: readWrite('f32'),
          }
        : {}),
    } as Record<ScpLossBinding, Binding>,
    params: {
      batch: 'u32',
      clusters: 'u32',
      crossEntropy: 'f32',
      confidence: 'f32',
      entropy: 'f32',
      forward: 'f32',
      reverse: 'f32',
      targets: 'f32',
      views: 'f32',
      runs: 'u32',
      /** Rows of the schedule and the trace; unused without a ring. */
      steps: 'u32',
    },
    workgroups: ({ runs }) => linearWorkgroups(runs, 1),
    wgsl: /* wgsl */ `
var<workgroup> partials: array<f32, ${GROUP}>;

fn total(thread: u32, partial: f32) -> f32 {
  partials[thread] = partial;
  for (var half = ${GROUP / 2}u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (thread < half) { partials[thread] += partials[thread + half]; }
  }
  workgroupBarrier();
  let sum = partials[0];
  workgroupBarrier();
  return sum;
}

fn logSumExp(row: u32) -> f32 {
  let start = row * params.clusters;
  var top = logits[start];
  for (var k = 1u; k < params.clusters; k++) { top = max(top, logits[start + k]); }
  var sum = 0.0;
  for (var k = 0u; k < params.clusters; k++) { sum += exp(logits[start + k] - top); }
  return top + log(sum);
}

// Layout of a run's scratch: log-sum-exp of a and of b, CE(p, q), CE(q, p), ln(p·q), each [B]; then ln p̄, ln q̄, each [K].
fn slot(run: u32, field: u32, pair: u32) -> u32 {
  return run * (5u * params.batch + 2u * params.clusters) + field * params.batch + pair;
}
fn logMean(run: u32, view: u32, k: u32) -> u32 { return slot(run, 5u, 0u) + view * params.clusters + k; }

${mainWgsl(GROUP)} {
  let run = linearWorkgroup(id, count);
  if (run >= params.runs) { return; }
  let B = params.batch;
  let K = params.clusters;
  let first = run * 2u * B;
  var crossEntropy = 0.0;
  var confidence = 0.0;
  for (var i = thread; i < B; i += ${GROUP}u) {
    let lseA = logSumExp(first + i);
    let lseB = logSumExp(first + B + i);
    var cePQ = 0.0;
    var ceQP = 0.0;
    var top = -3e38;
    for (var k = 0u; k < K; k++) {
      let lp = logits[(first + i) * K + k] - lseA;
      let lq = logits[(first + B + i) * K + k] - lseB;
      cePQ -= exp(lp) * lq;
      ceQP -= exp(lq) * lp;
      top = max(top, lp + lq);
    }
    var overlap = 0.0;
    for (var k = 0u; k < K; k++) {
      overlap += exp(logits[(first + i) * K + k] - lseA + logits[(first + B + i) * K + k] - lseB - top);
    }
    let logOverlap = top + log(overlap);
    scratch[slot(run, 0u, i)] = lseA;
    scratch[slot(run, 1u, i)] = lseB;
    scratch[slot(run, 2u, i)] = cePQ;
    scratch[slot(run, 3u, i)] = ceQP;
    scratch[slot(run, 4u, i)] = logOverlap;
    crossEntropy += params.forward * cePQ + params.reverse * ceQP;
    confidence -= logOverlap;
  }
  storageBarrier();

  // Means of the clusters: 16 columns at a time, 16 threads down the rows of each.
  var negativeEntropy = 0.0;
  let lane = thread / 16u;
  for (var view = 0u; view < 2u; view++) {
    for (var base = 0u; base < K; base += 16u) {
      let k = base + thread % 16u;
      var sum = 0.0;
      if (k < K) {
        for (var i = lane; i < B; i += 16u) {
          sum += exp(logits[(first + view * B + i) * K + k] - scratch[slot(run, view, i)]);
        }
      }
      partials[thread] = sum;
      workgroupBarrier();
      if (thread < 16u && k < K) {
        for (var j = 1u; j < 16u; j++) { sum += partials[j * 16u + thread]; }
        let mean = sum / f32(B);
        // A cluster that nothing is in: the limit of p̄ ln p̄ is 0.
        let logarithm = log(max(mean, 1e-37));
        scratch[logMean(run, view, k)] = logarithm;
        negativeEntropy += mean * logarithm;
      }
      workgroupBarrier();
    }
  }
  storageBarrier();

  crossEntropy = total(thread, crossEntropy) / f32(B);
  confidence = total(thread, confidence) / f32(B);
  negativeEntropy = params.views * total(thread, negativeEntropy);
  if (thread == 0u) {
    let weighted = params.crossEntropy * crossEntropy + params.confidence * confidence + params.entropy * negativeEntropy;
    terms[run] = weighted;
    terms[params.runs + run] = crossEntropy;
    terms[2u * params.runs + run] = confidence;
    terms[3u * params.runs + run] = negativeEntropy;
${
  ring
    ? /* wgsl */ `
    let row = min(step[run * 2u], params.steps - 1u);
    let line = (row * params.runs + run) * 5u;
    trace[line] = weighted;
    trace[line + 1u] = crossEntropy;
    trace[line + 2u] = confidence;
    trace[line + 3u] = negativeEntropy;
    trace[line + 4u] = schedule[row * 4u + 2u];
    if (run == 0u) {
      for (var i = 0u; i < 4u; i++) { current[i] = schedule[row * 4u + i]; }
    }
    step[run * 2u] += 1u;`
    : ''
}
  }

  let across = params.forward * params.targets;
  let back = params.reverse * params.targets;
  let weight = params.entropy * params.views;
  for (var i = thread; i < B; i += ${GROUP}u) {
    let lseA = scratch[slot(run, 0u, i)];
    let lseB = scratch[slot(run, 1u, i)];
    let cePQ = scratch[slot(run, 2u, i)];
    let ceQP = scratch[slot(run, 3u, i)];
    let logOverlap = scratch[slot(run, 4u, i)];
    var meanA = 0.0;
    var meanB = 0.0;
    for (var k = 0u; k < K; k++) {
      meanA += exp(logits[(first + i) * K + k] - lseA) * scratch[logMean(run, 0u, k)];
      meanB += exp(logits[(first + B + i) * K + k] - lseB) * scratch[logMean(run, 1u, k)];
    }
    for (var k = 0u; k < K; k++) {
      let lp = logits[(first + i) * K + k] - lseA;
      let lq = logits[(first + B + i) * K + k] - lseB;
      let p = exp(lp);
      let q = exp(lq);
      let r = exp(lp + lq - logOverlap);
      dLogits[(first + i) * K + k] = (
        params.crossEntropy * (params.reverse * (p - q) - across * p * (lq + cePQ)) +
        params.confidence * (p - r) +
        weight * p * (scratch[logMean(run, 0u, k)] - meanA)) / f32(B);
      dLogits[(first + B + i) * K + k] = (
        params.crossEntropy * (params.forward * (q - p) - back * q * (lp + ceQP)) +
        params.confidence * (q - r) +
        weight * q * (scratch[logMean(run, 1u, k)] - meanB)) / f32(B);
    }
  }
}
`,
  }),
)

/** `schedule`, `step`, `trace` and `current` are bound with a ring. */
export type ScpLossBinding =
  'logits' | 'terms' | 'dLogits' | 'scratch' | 'schedule' | 'step' | 'trace' | 'current'
export type ScpLossParam =
  | 'batch'
  | 'clusters'
  | 'crossEntropy'
  | 'confidence'
  | 'entropy'
  | 'forward'
  | 'reverse'
  | 'targets'
  | 'views'
  | 'runs'
  | 'steps'
