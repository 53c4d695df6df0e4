import { defineKernel, kernelFamily, read, readWrite, type Binding } from './kernel.ts'

const GROUP = 256

/**
 * SCP's loss and its gradient in one dispatch (Li et al. 2025, equations 3 to 6).
 *
 * With p, q the softmax of the two views' logits a, b and p̄, q̄ their means over the batch of B:
 *
 *   cross-entropy     −1/2B Σ_i Σ_k (p ln q + q ln p)
 *   confidence        −1/B Σ_i ln(p_i·q_i)
 *   negative entropy  Σ_k p̄ ln p̄ + q̄ ln q̄
 *
 * `logits` [2B, K] holds the rows of a, then those of b. `terms` gets [total, cross-entropy,
 * confidence, negative entropy], the total weighted by the three weights; `dLogits` its gradient.
 * `scratch` [5B + 2K] keeps per-pair figures between the passes.
 *
 * One workgroup does it all: the batch's means tie every row to every other, and B·K is small.
 * With `ring` the dispatch also keeps the books of a training loop without the host: the row of
 * `trace` [steps, 5] for this step gets the terms and the learning rate, `current` [4] the step's row
 * of the optimiser's `schedule` [steps, 4] (learning rate third), and `step[0]` goes up. One workgroup
 * alone touches them, so nothing can read the number while it changes.
 *
 * Gradients per pair, times 1/B: cross-entropy ½[p − q + p(−ln q − CE(p, q))], confidence p − r with
 * r = p·q/Σp·q, entropy p(ln p̄ − Σ p ln p̄); those of b by exchanging the views.
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
      /** Rows of the schedule and the trace; unused without a ring. */
      steps: 'u32',
    },
    workgroups: () => [1, 1, 1],
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

// Layout of scratch: log-sum-exp of a and of b, CE(p, q), CE(q, p), ln(p·q), each [B]; then ln p̄, ln q̄, each [K].
fn slot(field: u32, pair: u32) -> u32 { return field * params.batch + pair; }
fn logMean(view: u32, k: u32) -> u32 { return 5u * params.batch + view * params.clusters + k; }

@compute @workgroup_size(${GROUP})
fn main(@builtin(local_invocation_index) thread: u32) {
  let B = params.batch;
  let K = params.clusters;
  var crossEntropy = 0.0;
  var confidence = 0.0;
  for (var i = thread; i < B; i += ${GROUP}u) {
    let lseA = logSumExp(i);
    let lseB = logSumExp(B + i);
    var cePQ = 0.0;
    var ceQP = 0.0;
    var top = -3e38;
    for (var k = 0u; k < K; k++) {
      let lp = logits[i * K + k] - lseA;
      let lq = logits[(B + i) * K + k] - lseB;
      cePQ -= exp(lp) * lq;
      ceQP -= exp(lq) * lp;
      top = max(top, lp + lq);
    }
    var overlap = 0.0;
    for (var k = 0u; k < K; k++) {
      overlap += exp(logits[i * K + k] - lseA + logits[(B + i) * K + k] - lseB - top);
    }
    let logOverlap = top + log(overlap);
    scratch[slot(0u, i)] = lseA;
    scratch[slot(1u, i)] = lseB;
    scratch[slot(2u, i)] = cePQ;
    scratch[slot(3u, i)] = ceQP;
    scratch[slot(4u, i)] = logOverlap;
    crossEntropy += 0.5 * (cePQ + ceQP);
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
          sum += exp(logits[(view * B + i) * K + k] - scratch[slot(view, i)]);
        }
      }
      partials[thread] = sum;
      workgroupBarrier();
      if (thread < 16u && k < K) {
        for (var j = 1u; j < 16u; j++) { sum += partials[j * 16u + thread]; }
        let mean = sum / f32(B);
        // A cluster that nothing is in: the limit of p̄ ln p̄ is 0.
        let logarithm = log(max(mean, 1e-37));
        scratch[logMean(view, k)] = logarithm;
        negativeEntropy += mean * logarithm;
      }
      workgroupBarrier();
    }
  }
  storageBarrier();

  crossEntropy = total(thread, crossEntropy) / f32(B);
  confidence = total(thread, confidence) / f32(B);
  negativeEntropy = total(thread, negativeEntropy);
  if (thread == 0u) {
    let weighted = params.crossEntropy * crossEntropy + params.confidence * confidence + params.entropy * negativeEntropy;
    terms[0] = weighted;
    terms[1] = crossEntropy;
    terms[2] = confidence;
    terms[3] = negativeEntropy;
${
  ring
    ? /* wgsl */ `
    let row = min(step[0], params.steps - 1u);
    trace[row * 5u] = weighted;
    trace[row * 5u + 1u] = crossEntropy;
    trace[row * 5u + 2u] = confidence;
    trace[row * 5u + 3u] = negativeEntropy;
    trace[row * 5u + 4u] = schedule[row * 4u + 2u];
    for (var i = 0u; i < 4u; i++) { current[i] = schedule[row * 4u + i]; }
    step[0] += 1u;`
    : ''
}
  }

  for (var i = thread; i < B; i += ${GROUP}u) {
    let lseA = scratch[slot(0u, i)];
    let lseB = scratch[slot(1u, i)];
    let cePQ = scratch[slot(2u, i)];
    let ceQP = scratch[slot(3u, i)];
    let logOverlap = scratch[slot(4u, i)];
    var meanA = 0.0;
    var meanB = 0.0;
    for (var k = 0u; k < K; k++) {
      meanA += exp(logits[i * K + k] - lseA) * scratch[logMean(0u, k)];
      meanB += exp(logits[(B + i) * K + k] - lseB) * scratch[logMean(1u, k)];
    }
    for (var k = 0u; k < K; k++) {
      let lp = logits[i * K + k] - lseA;
      let lq = logits[(B + i) * K + k] - lseB;
      let p = exp(lp);
      let q = exp(lq);
      let r = exp(lp + lq - logOverlap);
      dLogits[i * K + k] = (
        params.crossEntropy * 0.5 * (p - q - p * (lq + cePQ)) +
        params.confidence * (p - r) +
        params.entropy * p * (scratch[logMean(0u, k)] - meanA)) / f32(B);
      dLogits[(B + i) * K + k] = (
        params.crossEntropy * 0.5 * (q - p - q * (lp + ceQP)) +
        params.confidence * (q - r) +
        params.entropy * q * (scratch[logMean(1u, k)] - meanB)) / f32(B);
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
  'batch' | 'clusters' | 'crossEntropy' | 'confidence' | 'entropy' | 'steps'
