import { defineKernel, linearWorkgroups, mainWgsl, read, readWrite } from './kernel.ts'

/** Threads that share a head's batch in {@link temiLossKernel}. */
const GROUP = 256
/** Columns that it averages at a time. */
const WIDE = 16
/** Threads of a workgroup whose threads have pairs of their own. */
const ALONE = 32

/** ln Σ exp(scale · row) of `matrix` [.., clusters]. */
const logSumExp = (matrix: string): string => /* wgsl */ `
fn logSumExp_${matrix}(row: u32, scale: f32) -> f32 {
  let start = row * params.clusters;
  var top = ${matrix}[start];
  for (var k = 1u; k < params.clusters; k++) { top = max(top, ${matrix}[start + k]); }
  var sum = 0.0;
  for (var k = 0u; k < params.clusters; k++) { sum += exp((${matrix}[start + k] - top) * scale); }
  return top * scale + log(sum);
}
`

/**
 * What TEMI's heads share of a batch: for every head and pair, `overlaps` [H, B] = Σ_k p(x)_k p(x')_k of
 * the teacher's softmax, and `logs` [H, 2B], the log-sum-exp of its rows at their temperature.
 *
 * `teacher` [H, 2B, K] holds the rows of the first view, then those of the second.
 */
export const temiOverlapKernel = defineKernel({
  label: 'temiLoss.overlap',
  bindings: { teacher: read('f32'), logs: readWrite('f32'), overlaps: readWrite('f32') },
  params: { heads: 'u32', batch: 'u32', clusters: 'u32', sharpness: 'f32' },
  workgroups: ({ heads, batch }) => linearWorkgroups(heads * batch, ALONE),
  wgsl: /* wgsl */ `
${logSumExp('teacher')}
${mainWgsl(ALONE)} {
  let pair = linearWorkgroup(id, count) * ${ALONE}u + thread;
  if (pair >= params.heads * params.batch) { return; }
  let first = pair / params.batch * 2u * params.batch + pair % params.batch;
  let second = first + params.batch;
  let logA = logSumExp_teacher(first, params.sharpness);
  let logB = logSumExp_teacher(second, params.sharpness);
  var overlap = 0.0;
  for (var k = 0u; k < params.clusters; k++) {
    let a = teacher[first * params.clusters + k] * params.sharpness - logA;
    let b = teacher[second * params.clusters + k] * params.sharpness - logB;
    overlap += exp(a + b);
  }
  logs[first] = logA;
  logs[second] = logB;
  overlaps[pair] = overlap;
}
`,
})

/**
 * TEMI's loss of every head and its gradient (Adaloglou et al. 2023, equations 7 to 9), a workgroup to a
 * head. With p^s, p^t the softmax of student and teacher at their temperatures τ, for a pair (x, x'):
 *
 *   π    ← m π + (1 − m) · mean of p^t over both views
 *   w    = mean over the heads of a run of Σ_k p^t(x)_k p^t(x')_k
 *   loss = −1/2B Σ_pairs w [ln Σ_k (p^s(x)_k p^t(x')_k)^β / π_k + ln Σ_k (p^s(x')_k p^t(x)_k)^β / π_k]
 *
 * `student` and `teacher` [H, 2B, K], head h belongs to run h / perRun; `logs` and `overlaps` come from
 * {@link temiOverlapKernel}; `marginals` [H, K] is π, brought forward first; `losses` [H];
 * `dStudent` is `scale` times the gradient of each head's loss; `scratch` [H, K] holds ln π.
 *
 * With r_k the share of cluster k in the sum that the logarithm is of, the gradient of one of a pair's
 * two terms by the logits is wβ/τ · (p^s_k − r_k).
 */
export const temiLossKernel = defineKernel({
  label: 'temiLoss',
  bindings: {
    student: read('f32'),
    teacher: read('f32'),
    logs: read('f32'),
    overlaps: read('f32'),
    marginals: readWrite('f32'),
    losses: readWrite('f32'),
    dStudent: readWrite('f32'),
    scratch: readWrite('f32'),
  },
  params: {
    heads: 'u32',
    perRun: 'u32',
    batch: 'u32',
    clusters: 'u32',
    /** 1/τ of the student and of the teacher. */
    sharpness: 'f32',
    teacherSharpness: 'f32',
    beta: 'f32',
    momentum: 'f32',
    scale: 'f32',
  },
  workgroups: ({ heads }) => linearWorkgroups(heads, 1),
  wgsl: /* wgsl */ `
var<workgroup> partials: array<f32, ${GROUP}>;
${logSumExp('student')}
${mainWgsl(GROUP)} {
  let head = linearWorkgroup(id, count);
  if (head >= params.heads) { return; }
  let B = params.batch;
  let K = params.clusters;
  let rows = head * 2u * B;

  // Marginals: ${WIDE} columns at a time, ${GROUP / WIDE} threads down the rows of each.
  let lane = thread / ${WIDE}u;
  for (var base = 0u; base < K; base += ${WIDE}u) {
    let k = base + thread % ${WIDE}u;
    var sum = 0.0;
    if (k < K) {
      for (var i = lane; i < 2u * B; i += ${GROUP / WIDE}u) {
        sum += exp(teacher[(rows + i) * K + k] * params.teacherSharpness - logs[rows + i]);
      }
    }
    partials[thread] = sum;
    workgroupBarrier();
    if (thread < ${WIDE}u && k < K) {
      for (var j = 1u; j < ${GROUP / WIDE}u; j++) { sum += partials[j * ${WIDE}u + thread]; }
      let place = head * K + k;
      let before = marginals[place];
      let marginal = before + (1.0 - params.momentum) * (sum / f32(2u * B) - before);
      marginals[place] = marginal;
      scratch[place] = log(max(marginal, 1e-37));
    }
    workgroupBarrier();
  }
  storageBarrier();

  var loss = 0.0;
  for (var i = thread; i < B; i += ${GROUP}u) {
    var weight = 0.0;
    let run = head / params.perRun * params.perRun;
    for (var h = 0u; h < params.perRun; h++) { weight += overlaps[(run + h) * B + i]; }
    weight /= f32(params.perRun);
    for (var view = 0u; view < 2u; view++) {
      let own = rows + view * B + i;
      let other = rows + (1u - view) * B + i;
      let logOwn = logSumExp_student(own, params.sharpness);
      var top = -3e38;
      for (var k = 0u; k < K; k++) { top = max(top, joint(own, other, k, logOwn, head)); }
      var sum = 0.0;
      for (var k = 0u; k < K; k++) { sum += exp(joint(own, other, k, logOwn, head) - top); }
      let logSum = top + log(sum);
      loss -= weight * logSum;
      let factor = params.scale * weight * params.beta * params.sharpness / f32(2u * B);
      for (var k = 0u; k < K; k++) {
        let p = exp(student[own * K + k] * params.sharpness - logOwn);
        let r = exp(joint(own, other, k, logOwn, head) - logSum);
        dStudent[own * K + k] = factor * (p - r);
      }
    }
  }
  partials[thread] = loss;
  for (var half = ${GROUP / 2}u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (thread < half) { partials[thread] += partials[thread + half]; }
  }
  workgroupBarrier();
  if (thread == 0u) { losses[head] = partials[0] / f32(2u * B); }
}

// ln of (p^s p^t)^β / π for one cluster.
fn joint(own: u32, other: u32, k: u32, logOwn: f32, head: u32) -> f32 {
  let student = student[own * params.clusters + k] * params.sharpness - logOwn;
  let teacher = teacher[other * params.clusters + k] * params.teacherSharpness - logs[other];
  return params.beta * (student + teacher) - scratch[head * params.clusters + k];
}
`,
})
