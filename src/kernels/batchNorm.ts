import { rowType } from './rows.ts'
import {
  defineKernel,
  kernelFamily,
  mainWgsl,
  linearWorkgroups,
  read,
  readWrite,
  splitRows,
} from './kernel.ts'

/**
 * Batch normalisation over the rows of x [R, rows, columns], with an optional ReLU fused after it; each
 * of R runs has weights and statistics of its own. Rows may be of several `batches` of equal size, one
 * after the other (two views): each is normalised by itself, and moves the running statistics in turn.
 *
 * A workgroup owns 8 columns of a run; 8 threads walk each column's rows in strides of 8, and their
 * partial sums are added in a fixed order. Statistics take two passes: E[x²] − mean² would cancel.
 */
export interface BatchNormOptions {
  readonly relu: boolean
}

const GROUP = 64
const COLUMNS = 8

const workgroups = ({
  runs,
  columns,
}: {
  runs: number
  columns: number
}): ReturnType<typeof linearWorkgroups> => linearWorkgroups(runs * Math.ceil(columns / COLUMNS), 1)

/**
 * `total(partial)`: the column's sum, for all threads. Of the entry point: the column `c` of its `run`, whose
 * weights lie at `own`; `lane` (first row, stride 8) and `n`, rows of a batch.
 */
const header = /* wgsl */ `
var<workgroup> partials: array<f32, ${GROUP}>;
fn total(thread: u32, partial: f32) -> f32 {
  partials[thread] = partial;
  workgroupBarrier();
  var sum = 0.0;
  for (var i = 0u; i < 8u; i++) { sum += partials[i * ${COLUMNS}u + thread % ${COLUMNS}u]; }
  workgroupBarrier();
  return sum;
}
`

const main = (body: string): string => /* wgsl */ `
${mainWgsl(GROUP)} {
  let blocks = (params.columns + ${COLUMNS - 1}u) / ${COLUMNS}u;
  let group = linearWorkgroup(id, count);
  let run = group / blocks;
  let column = group % blocks * ${COLUMNS}u + thread % ${COLUMNS}u;
  let lane = thread / ${COLUMNS}u;
  if (run >= params.runs) { return; }
  // Threads past the last column work along with it, for the barriers, and store nothing.
  let inside = column < params.columns;
  let c = min(column, params.columns - 1u);
  let own = run * params.columns + c;
  let n = f32(params.rows);
${body}
}
`

/**
 * out = relu?((x − mean)·invStd·weight + bias) with a batch's own statistics.
 *
 * `statistics` [R, batches, 2, columns] gets mean and 1/√(variance + eps), the variance biased. `running`
 * [R, 2, columns] (mean, variance) moves by `momentum` towards a batch's mean and unbiased variance.
 */
export const batchNormTrainKernel = kernelFamily(({ relu }: BatchNormOptions) =>
  defineKernel({
    label: relu ? 'batchNormTrain.relu' : 'batchNormTrain',
    bindings: {
      x: read('f32'),
      weight: read('f32'),
      bias: read('f32'),
      running: readWrite('f32'),
      statistics: readWrite('f32'),
      out: readWrite('f32'),
    },
    params: {
      runs: 'u32',
      batches: 'u32',
      rows: 'u32',
      columns: 'u32',
      eps: 'f32',
      momentum: 'f32',
    },
    workgroups,
    wgsl: `${header}${main(/* wgsl */ `
  let mover = run * 2u * params.columns + c;
  for (var batch = run * params.batches; batch < (run + 1u) * params.batches; batch++) {
    let first = batch * params.rows + lane;
    let end = (batch + 1u) * params.rows;
    var sum = 0.0;
    for (var row = first; row < end; row += 8u) { sum += x[row * params.columns + c]; }
    let mean = total(thread, sum) / n;
    var squares = 0.0;
    for (var row = first; row < end; row += 8u) {
      let d = x[row * params.columns + c] - mean;
      squares += d * d;
    }
    let variance = total(thread, squares) / n;
    let invStd = 1.0 / sqrt(variance + params.eps);
    if (inside && lane == 0u) {
      let at = batch * 2u * params.columns + c;
      statistics[at] = mean;
      statistics[at + params.columns] = invStd;
      let unbiased = variance * n / max(n - 1.0, 1.0);
      running[mover] += params.momentum * (mean - running[mover]);
      let spread = mover + params.columns;
      running[spread] += params.momentum * (unbiased - running[spread]);
    }
    let scale = invStd * weight[own];
    let shift = bias[own];
    if (inside) {
      for (var row = first; row < end; row += 8u) {
        let i = row * params.columns + c;
        let y = (x[i] - mean) * scale + shift;
        out[i] = ${rectified(relu)};
      }
    }
  }
`)}`,
  }),
)

/**
 * Gradients of {@link batchNormTrainKernel}, with x̂ = (x − mean)·invStd and g = dOut where the ReLU let
 * through: dWeight = Σ g·x̂, dBias = Σ g, dX = weight·invStd·(g − (dBias + x̂·dWeight)/rows).
 */
export const batchNormTrainBackwardKernel = kernelFamily(({ relu }: BatchNormOptions) =>
  defineKernel({
    label: relu ? 'batchNormTrainBackward.relu' : 'batchNormTrainBackward',
    bindings: {
      x: read('f32'),
      weight: read('f32'),
      bias: read('f32'),
      statistics: read('f32'),
      dOut: read('f32'),
      dX: readWrite('f32'),
      dWeight: readWrite('f32'),
      dBias: readWrite('f32'),
    },
    params: { runs: 'u32', batches: 'u32', rows: 'u32', columns: 'u32' },
    workgroups,
    wgsl: `${header}${passed(relu)}${main(/* wgsl */ `
  let w = weight[own];
  let b = bias[own];
  var allB = 0.0;
  var allW = 0.0;
  for (var batch = run * params.batches; batch < (run + 1u) * params.batches; batch++) {
    let first = batch * params.rows + lane;
    let end = (batch + 1u) * params.rows;
    let mean = statistics[batch * 2u * params.columns + c];
    let invStd = statistics[(batch * 2u + 1u) * params.columns + c];
    var sumG = 0.0;
    var sumGX = 0.0;
    for (var row = first; row < end; row += 8u) {
      let i = row * params.columns + c;
      let normalized = (x[i] - mean) * invStd;
      let g = passed(dOut[i], (x[i] - mean) * (invStd * w) + b);
      sumG += g;
      sumGX += g * normalized;
    }
    let dB = total(thread, sumG);
    let dW = total(thread, sumGX);
    allB += dB;
    allW += dW;
    if (inside) {
      for (var row = first; row < end; row += 8u) {
        let i = row * params.columns + c;
        let normalized = (x[i] - mean) * invStd;
        let g = passed(dOut[i], (x[i] - mean) * (invStd * w) + b);
        dX[i] = w * invStd * (g - (dB + normalized * dW) / n);
      }
    }
  }
  if (inside && lane == 0u) {
    dWeight[own] = allW;
    dBias[own] = allB;
  }
`)}`,
  }),
)

/** y, or ReLU of it; not max(y, 0), which would turn NaN into 0 and hide it. */
const rectified = (relu: boolean): string => (relu ? 'select(y, 0.0, y < 0.0)' : 'y')

/** The gradient that comes through the fused ReLU, given its input y. */
function passed(relu: boolean): string {
  return `fn passed(g: f32, y: f32) -> f32 { return ${relu ? 'select(0.0, g, y > 0.0)' : 'g'}; }`
}
/** What the second row of the statistics holds: variances, or already 1/√(variance + eps). */
interface Inverse {
  readonly inverse?: boolean
}

const inverseStd = (array: string, at: string, inverse: boolean | undefined): string =>
  inverse ? `${array}[${at}]` : `1.0 / sqrt(${array}[${at}] + params.eps)`

export interface BatchNormEvalOptions extends BatchNormOptions, Inverse {
  /** Whether the columns are a whole number of vec4s, and are read as such. */
  readonly vector: boolean
}

/** Rows that a thread takes of its columns in evaluation, with what they share in registers. */
const EVAL_ROWS = 16

/** out = relu?((x − running mean)/√(running variance + eps)·weight + bias) of R runs, for inference. */
export const batchNormEvalKernel = kernelFamily((options: BatchNormEvalOptions) => {
  const { relu, vector, inverse } = options
  const type = rowType(vector)
  return defineKernel({
    label: `batchNormEval${inverse ? '.inverse' : ''}${relu ? '.relu' : ''}${vector ? '.vec4' : ''}`,
    splits: [splitRows(['x', 'out'])],
    bindings: {
      x: read(type),
      weight: read(type),
      bias: read(type),
      running: read(type),
      out: readWrite(type),
    },
    params: { runs: 'u32', rows: 'u32', columns: 'u32', eps: 'f32' },
    workgroups: ({ runs, rows, columns }) =>
      linearWorkgroups((runs * Math.ceil(rows / EVAL_ROWS) * columns) / (vector ? 4 : 1), GROUP),
    wgsl: /* wgsl */ `
${mainWgsl(GROUP)} {
  let t = linearWorkgroup(id, count) * ${GROUP}u + thread;
  let width = params.columns${vector ? ' / 4u' : ''};
  let stretches = (params.rows + ${EVAL_ROWS - 1}u) / ${EVAL_ROWS}u;
  let c = t % width;
  let run = t / width / stretches;
  if (run >= params.runs) { return; }
  let start = (t / width) % stretches * ${EVAL_ROWS}u;
  let first = run * params.rows + start;
  let end = first + min(${EVAL_ROWS}u, params.rows - start);
  let own = run * width + c;
  let mean = running[own + run * width];
  let spread = running[own + (run + 1u) * width];
  let scale = ${inverse ? 'weight[own] * spread' : 'weight[own] / sqrt(spread + params.eps)'};
  let shift = bias[own];
  for (var row = first; row < end; row++) {
    let y = (x[row * width + c] - mean) * scale + shift;
    out[row * width + c] = ${relu ? `select(y, ${type}(), y < ${type}())` : 'y'};
  }
}
`,
  })
})

/** Gradients of {@link batchNormEvalKernel}, whose statistics are constants. */
export const batchNormEvalBackwardKernel = kernelFamily(
  ({ relu, inverse }: BatchNormOptions & Inverse) =>
    defineKernel({
      label: `batchNormEvalBackward${inverse ? '.inverse' : ''}${relu ? '.relu' : ''}`,
      bindings: {
        x: read('f32'),
        weight: read('f32'),
        bias: read('f32'),
        running: read('f32'),
        dOut: read('f32'),
        dX: readWrite('f32'),
        dWeight: readWrite('f32'),
        dBias: readWrite('f32'),
      },
      params: { runs: 'u32', rows: 'u32', columns: 'u32', eps: 'f32' },
      workgroups,
      wgsl: `${header}${passed(relu)}${main(/* wgsl */ `
  let mean = running[own + run * params.columns];
  let invStd = ${inverseStd('running', 'own + (run + 1u) * params.columns', inverse)};
  let w = weight[own];
  let b = bias[own];
  var sumG = 0.0;
  var sumGX = 0.0;
  for (var row = run * params.rows + lane; row < (run + 1u) * params.rows; row += 8u) {
    let i = row * params.columns + c;
    let normalized = (x[i] - mean) * invStd;
    let g = passed(dOut[i], normalized * w + b);
    sumG += g;
    sumGX += g * normalized;
    if (inside) { dX[i] = g * w * invStd; }
  }
  let dB = total(thread, sumG);
  let dW = total(thread, sumGX);
  if (inside && lane == 0u) {
    dWeight[own] = dW;
    dBias[own] = dB;
  }
`)}`,
    }),
)

/**
 * dX of {@link batchNormTrainBackwardKernel} from sums that are already made, over `all` rows, of which
 * these are some: for inputs larger than a binding. A thread takes {@link EVAL_ROWS} rows of a column.
 */
export const batchNormInputGradientKernel = kernelFamily(({ relu }: BatchNormOptions) =>
  defineKernel({
    label: relu ? 'batchNormInputGradient.relu' : 'batchNormInputGradient',
    splits: [splitRows(['x', 'dOut', 'dX'])],
    bindings: {
      x: read('f32'),
      weight: read('f32'),
      bias: read('f32'),
      statistics: read('f32'),
      dOut: read('f32'),
      dWeight: read('f32'),
      dBias: read('f32'),
      dX: readWrite('f32'),
    },
    params: { rows: 'u32', columns: 'u32', all: 'u32' },
    workgroups: ({ rows, columns }) =>
      linearWorkgroups(Math.ceil(rows / EVAL_ROWS) * columns, GROUP),
    wgsl: /* wgsl */ `${passed(relu)}
${mainWgsl(GROUP)} {
  let t = linearWorkgroup(id, count) * ${GROUP}u + thread;
  let c = t % params.columns;
  let first = (t / params.columns) * ${EVAL_ROWS}u;
  if (first >= params.rows) { return; }
  let end = min(first + ${EVAL_ROWS}u, params.rows);
  let n = f32(params.all);
  let mean = statistics[c];
  let inverse = statistics[params.columns + c];
  let w = weight[c];
  let b = bias[c];
  let dB = dBias[c];
  let dW = dWeight[c];
  for (var row = first; row < end; row++) {
    let i = row * params.columns + c;
    let normalized = (x[i] - mean) * inverse;
    let g = passed(dOut[i], normalized * w + b);
    dX[i] = w * inverse * (g - (normalized * dW + dB) / n);
  }
}
`,
  }),
)
