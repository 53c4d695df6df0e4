import type { BatchNormOptions } from './batchNorm.ts'
import {
  defineKernel,
  kernelFamily,
  linearWorkgroups,
  mainWgsl,
  read,
  readWrite,
} from './kernel.ts'

/**
 * Batch normalisation with a vec4 of columns to a thread and no barriers, for software adapters: they
 * run a barrier as a switch between coroutines. A workgroup is one subgroup of 8 lanes, so that a few
 * hundred columns still keep several cores busy. Same bindings and params as in `batchNorm.ts`;
 * columns must be a whole number of vec4s.
 */

const GROUP = 8

const workgroups = ({ columns }: { columns: number }): ReturnType<typeof linearWorkgroups> =>
  linearWorkgroups(columns / 4, GROUP)

/** `c`, this thread's vec4 of columns; `width`, how many there are; `n`, the rows. */
const main = (body: string): string => /* wgsl */ `
${mainWgsl(GROUP)} {
  let c = linearWorkgroup(id, count) * ${GROUP}u + thread;
  let width = params.columns / 4u;
  if (c >= width) { return; }
  let n = f32(params.rows);
${body}
}
`

const vector = 'vec4<f32>' as const

/**
 * As `batchNormTrainKernel`. The statistics read x once: two passes over four rows in registers,
 * joined to those before them by the pairwise update of Chan et al., all of it relative to the
 * first row, so that a large mean doesn't round the updates.
 */
export const batchNormTrainAloneKernel = kernelFamily(({ relu }: BatchNormOptions) =>
  defineKernel({
    label: `batchNormTrain.alone${relu ? '.relu' : ''}`,
    bindings: {
      x: read(vector),
      weight: read(vector),
      bias: read(vector),
      running: readWrite(vector),
      statistics: readWrite(vector),
      out: readWrite(vector),
    },
    params: { rows: 'u32', columns: 'u32', eps: 'f32', momentum: 'f32' },
    workgroups,
    wgsl: main(/* wgsl */ `
  let shift = x[c];
  var mean = vec4f();
  var squares = vec4f();
  var seen = 0.0;
  var row = 0u;
  for (; row + 4u <= params.rows; row += 4u) {
    let i = row * width + c;
    let p = x[i] - shift;
    let q = x[i + width] - shift;
    let r = x[i + 2u * width] - shift;
    let s = x[i + 3u * width] - shift;
    let own = ((p + q) + (r + s)) * 0.25;
    let dp = p - own;
    let dq = q - own;
    let dr = r - own;
    let ds = s - own;
    let step = own - mean;
    let share = 4.0 / (seen + 4.0);
    mean += step * share;
    squares += ((dp * dp + dq * dq) + (dr * dr + ds * ds)) + step * step * (seen * share);
    seen += 4.0;
  }
  for (; row < params.rows; row++) {
    let step = (x[row * width + c] - shift) - mean;
    let share = 1.0 / (seen + 1.0);
    mean += step * share;
    squares += step * step * (seen * share);
    seen += 1.0;
  }
  let variance = squares / n;
  let invStd = 1.0 / sqrt(variance + params.eps);
  let whole = shift + mean;
  statistics[c] = whole;
  statistics[width + c] = invStd;
  let unbiased = variance * n / max(n - 1.0, 1.0);
  running[c] += params.momentum * (whole - running[c]);
  running[width + c] += params.momentum * (unbiased - running[width + c]);
  let scale = invStd * weight[c];
  let offset = bias[c];
  for (var j = 0u; j < params.rows; j++) {
    let i = j * width + c;
    let y = ((x[i] - shift) - mean) * scale + offset;
    out[i] = ${relu ? 'select(y, vec4f(), y < vec4f())' : 'y'};
  }
`),
  }),
)

/** As `batchNormTrainBackwardKernel`. */
export const batchNormTrainBackwardAloneKernel = kernelFamily(({ relu }: BatchNormOptions) =>
  defineKernel({
    label: `batchNormTrainBackward.alone${relu ? '.relu' : ''}`,
    bindings: {
      x: read(vector),
      weight: read(vector),
      bias: read(vector),
      statistics: read(vector),
      dOut: read(vector),
      dX: readWrite(vector),
      dWeight: readWrite(vector),
      dBias: readWrite(vector),
    },
    params: { rows: 'u32', columns: 'u32' },
    workgroups,
    wgsl: /* wgsl */ `
// The gradient that comes through the fused ReLU, given its input y.
fn passed(g: vec4f, y: vec4f) -> vec4f { return ${relu ? 'select(vec4f(), g, y > vec4f())' : 'g'}; }
${main(/* wgsl */ `
  let mean = statistics[c];
  let invStd = statistics[width + c];
  let scale = invStd * weight[c];
  let offset = bias[c];
  var dB = vec4f();
  var dW = vec4f();
  for (var row = 0u; row < params.rows; row += 64u) {
    // Sums of 64 rows each, since one running sum would round too coarsely.
    var sumG = vec4f();
    var sumGX = vec4f();
    for (var j = row; j < min(row + 64u, params.rows); j++) {
      let d = x[j * width + c] - mean;
      let g = passed(dOut[j * width + c], d * scale + offset);
      sumG += g;
      sumGX += g * d;
    }
    dB += sumG;
    dW += sumGX * invStd;
  }
  dWeight[c] = dW;
  dBias[c] = dB;
  let b = dB / n;
  let w = dW * invStd / n;
  for (var j = 0u; j < params.rows; j++) {
    let d = x[j * width + c] - mean;
    let g = passed(dOut[j * width + c], d * scale + offset);
    dX[j * width + c] = scale * (g - b - d * w);
  }
`)}`,
  }),
)
