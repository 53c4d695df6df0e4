import {
  defineKernel,
  kernelFamily,
  mainWgsl,
  linearWorkgroups,
  read,
  readWrite,
  splitRows,
} from './kernel.ts'
import { eachInRow, rowKernelWgsl, rowWorkgroups, type Lanes } from './rows.ts'

interface LayerNormOptions {
  readonly lanes: Lanes
}

/**
 * out = (x − mean) · scale · weight + bias for each row of x [rows, columns], where
 * scale = 1/√(variance + eps); `statistics` [rows, 2] keeps mean and scale for the backward pass.
 *
 * The second pass takes the variance over x − mean, as E[x²] − mean² would cancel when the mean is
 * large, and corrects the mean by what is left of it ("corrected two-pass", Chan et al. 1983).
 */
export const layerNormKernel = kernelFamily(({ lanes }: LayerNormOptions) =>
  defineKernel({
    label: `layerNorm.${lanes}`,
    splits: [splitRows(['x', 'out'], { statistics: 2 })],
    bindings: {
      x: read('f32'),
      weight: read('f32'),
      bias: read('f32'),
      out: readWrite('f32'),
      statistics: readWrite('f32'),
    },
    params: { rows: 'u32', columns: 'u32', eps: 'f32' },
    workgroups: rowWorkgroups(lanes),
    wgsl: rowKernelWgsl(
      lanes,
      /* wgsl */ `
  let size = f32(params.columns);
  var sum = 0.0;
  ${eachInRow(lanes, 'sum += x[i];')}
  let roughMean = sumOverRow(sum, lane) / size;
  var rest = 0.0;
  var squares = 0.0;
  ${eachInRow(lanes, 'let d = x[i] - roughMean; rest += d; squares += d * d;')}
  let correction = sumOverRow(rest, lane) / size;
  let variance = max(sumOverRow(squares, lane) / size - correction * correction, 0.0);
  let mean = roughMean + correction;
  let scale = 1.0 / sqrt(variance + params.eps);
  ${eachInRow(lanes, 'let c = i - start; out[i] = (x[i] - mean) * scale * weight[c] + bias[c];')}
  if (lane == 0u) {
    statistics[2u * row] = mean;
    statistics[2u * row + 1u] = scale;
  }`,
    ),
  }),
)

/**
 * dX = scale · (g − mean(g) − z · mean(g·z)) with g = dOut · weight and z = (x − mean) · scale, the
 * means taken over the row.
 */
export const layerNormBackwardKernel = kernelFamily(({ lanes }: LayerNormOptions) =>
  defineKernel({
    label: `layerNorm.backward.${lanes}`,
    splits: [splitRows(['x', 'dOut', 'dX'], { statistics: 2 })],
    bindings: {
      x: read('f32'),
      weight: read('f32'),
      statistics: read('f32'),
      dOut: read('f32'),
      dX: readWrite('f32'),
    },
    params: { rows: 'u32', columns: 'u32' },
    workgroups: rowWorkgroups(lanes),
    wgsl: rowKernelWgsl(
      lanes,
      /* wgsl */ `
  let size = f32(params.columns);
  let mean = statistics[2u * row];
  let scale = statistics[2u * row + 1u];
  var sum = 0.0;
  var dot = 0.0;
  ${eachInRow(
    lanes,
    'let g = dOut[i] * weight[i - start]; sum += g; dot += g * (x[i] - mean) * scale;',
  )}
  let meanG = sumOverRow(sum, lane) / size;
  let meanGZ = sumOverRow(dot, lane) / size;
  ${eachInRow(
    lanes,
    `let g = dOut[i] * weight[i - start];
    dX[i] = scale * (g - meanG - (x[i] - mean) * scale * meanGZ);`,
  )}`,
    ),
  }),
)

/**
 * dWeight [columns] = Σ over rows of dOut · (x − mean) · scale. A workgroup owns 8 columns; 8 threads
 * walk each column's rows in strides of 8 and their partial sums are added in order.
 */
export const layerNormWeightBackwardKernel = defineKernel({
  label: 'layerNorm.weightBackward',
  bindings: {
    x: read('f32'),
    statistics: read('f32'),
    dOut: read('f32'),
    dWeight: readWrite('f32'),
  },
  params: { rows: 'u32', columns: 'u32' },
  workgroups: ({ columns }) => linearWorkgroups(columns, 8),
  wgsl: /* wgsl */ `
var<workgroup> partial: array<f32, 64>;
${mainWgsl(64)} {
  let column = linearWorkgroup(id, count) * 8u + thread % 8u;
  var sum = 0.0;
  if (column < params.columns) {
    for (var row = thread / 8u; row < params.rows; row += 8u) {
      let i = row * params.columns + column;
      sum += dOut[i] * (x[i] - statistics[2u * row]) * statistics[2u * row + 1u];
    }
  }
  partial[thread] = sum;
  workgroupBarrier();
  if (thread < 8u && column < params.columns) {
    for (var i = 1u; i < 8u; i++) { sum += partial[i * 8u + thread]; }
    dWeight[column] = sum;
  }
}
`,
})
