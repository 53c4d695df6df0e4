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

const workgroups = ({
  runs,
  columns,
}: {
  runs: number
  columns: number
}): ReturnType<typeof linearWorkgroups> =>
  linearWorkgroups(runs * Math.ceil(columns / 4 / GROUP), 1)

/**
 * `c`, this thread's vec4 of columns in its `run`, whose weights lie at `own`; `width`, how many there are;
 * `n`, the rows of a batch.
 */
const main = (body: string): string => /* wgsl */ `
${mainWgsl(GROUP)} {
  let width = params.columns / 4u;
  let blocks = (width + ${GROUP - 1}u) / ${GROUP}u;
  let group = linearWorkgroup(id, count);
  let run = group / blocks;
  let c = group % blocks * ${GROUP}u + thread;
  if (run >= params.runs || c >= width) { return; }
  let own = run * width + c;
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
    params: {
      runs: 'u32',
      batches: 'u32',
      rows: 'u32',
      columns: 'u32',
      eps: 'f32',
      momentum: 'f32',
    },
    workgroups,
    wgsl: main(/* wgsl */ `
  let mover = run * 2u * width + c;
  for (var batch = run * params.batches; batch < (run + 1u) * params.batches; batch++) {
    let origin = batch * params.rows * width + c;
    let shift = x[origin];
    var mean = vec4f();
    var squares = vec4f();
    var seen = 0.0;
    var row = 0u;
    for (; row + 4u <= params.rows; row += 4u) {
      let i = origin + row * width;
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
      let step = (x[origin + row * width] - shift) - mean;
      let share = 1.0 / (seen + 1.0);
      mean += step * share;
      squares += step * step * (seen * share);
      seen += 1.0;
    }
    let variance = squares / n;
    let invStd = 1.0 / sqrt(variance + params.eps);
    let whole = shift + mean;
    statistics[batch * 2u * width + c] = whole;
    statistics[(batch * 2u + 1u) * width + c] = invStd;
    let unbiased = variance * n / max(n - 1.0, 1.0);
    running[mover] += params.momentum * (whole - running[mover]);
    running[mover + width] += params.momentum * (unbiased - running[mover + width]);
    let scale = invStd * weight[own];
    let offset = bias[own];
    for (var j = 0u; j < params.rows; j++) {
      let i = origin + j * width;
      let y = ((x[i] - shift) - mean) * scale + offset;
      out[i] = ${relu ? 'select(y, vec4f(), y < vec4f())' : 'y'};
    }
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
    params: { runs: 'u32', batches: 'u32', rows: 'u32', columns: 'u32' },
    workgroups,
    wgsl: /* wgsl */ `
// The gradient that comes through the fused ReLU, given its input y.
fn passed(g: vec4f, y: vec4f) -> vec4f { return ${relu ? 'select(vec4f(), g, y > vec4f())' : 'g'}; }
${main(/* wgsl */ `
  var allB = vec4f();
  var allW = vec4f();
  for (var batch = run * params.batches; batch < (run + 1u) * params.batches; batch++) {
    let origin = batch * params.rows * width + c;
    let mean = statistics[batch * 2u * width + c];
    let invStd = statistics[(batch * 2u + 1u) * width + c];
    let scale = invStd * weight[own];
    let offset = bias[own];
    var dB = vec4f();
    var dW = vec4f();
    for (var row = 0u; row < params.rows; row += 64u) {
      // Sums of 64 rows each, since one running sum would round too coarsely.
      var sumG = vec4f();
      var sumGX = vec4f();
      for (var j = row; j < min(row + 64u, params.rows); j++) {
        let d = x[origin + j * width] - mean;
        let g = passed(dOut[origin + j * width], d * scale + offset);
        sumG += g;
        sumGX += g * d;
      }
      dB += sumG;
      dW += sumGX * invStd;
    }
    allB += dB;
    allW += dW;
    let b = dB / n;
    let w = dW * invStd / n;
    for (var j = 0u; j < params.rows; j++) {
      let d = x[origin + j * width] - mean;
      let g = passed(dOut[origin + j * width], d * scale + offset);
      dX[origin + j * width] = scale * (g - b - d * w);
    }
  }
  dWeight[own] = allW;
  dBias[own] = allB;
`)}`,
  }),
)
