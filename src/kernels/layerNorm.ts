import {
  defineKernel,
  kernelFamily,
  mainWgsl,
  linearWorkgroups,
  read,
  readWrite,
  splitRows,
} from './kernel.ts'
import {
  eachInRow,
  rowKernelWgsl,
  rowSuffix,
  rowType,
  rowWorkgroups,
  type RowOptions,
} from './rows.ts'
import { storageFeatures, storedType } from './storage.ts'

/**
 * `shift + mean` is the row's mean and `squares` its Σ (x − mean)².
 *
 * The second pass takes the squares over x − shift, as E[x²] − mean² would cancel when the mean is
 * large, and corrects by what is left of the mean ("corrected two-pass", Chan et al. 1983).
 */
const twoPasses = (options: RowOptions, x: string): string => /* wgsl */ `
  var sum = Element();
  ${eachInRow(options, `sum += Element(${x}[i]);`)}
  let shift = sumOverRow(added(sum), lane) / size;
  var rest = Element();
  var rough = Element();
  ${eachInRow(options, `let d = Element(${x}[i]) - shift; rest += d; rough += d * d;`)}
  let mean = sumOverRow(added(rest), lane) / size;
  let squares = max(sumOverRow(added(rough), lane) - mean * mean * size, 0.0);
`

/**
 * The same while reading only once, which is what costs a thread with a row of its own: two passes
 * over 16 elements in registers, joined to those before them by the pairwise update of Chan et al. All of
 * it is taken from `shift`, a value near the mean, so that a large mean doesn't round the updates.
 */
const onePass = (x: string): string => /* wgsl */ `
  let shift = added(Element(${x}[start])) * 0.25;
  var mean = 0.0;
  var squares = 0.0;
  var seen = 0.0;
  var c = 0u;
  for (; c + 4u <= width; c += 4u) {
    let i = start + c;
    let p = Element(${x}[i]) - shift;
    let q = Element(${x}[i + 1u]) - shift;
    let r = Element(${x}[i + 2u]) - shift;
    let s = Element(${x}[i + 3u]) - shift;
    let own = added((p + q) + (r + s)) * 0.0625;
    let dp = p - own;
    let dq = q - own;
    let dr = r - own;
    let ds = s - own;
    let step = own - mean;
    let share = 16.0 / (seen + 16.0);
    mean += step * share;
    squares += added((dp * dp + dq * dq) + (dr * dr + ds * ds)) + step * step * seen * share;
    seen += 16.0;
  }
  for (; c < width; c++) {
    let p = Element(${x}[start + c]) - shift;
    let own = added(p) * 0.25;
    let dp = p - own;
    let step = own - mean;
    let share = 4.0 / (seen + 4.0);
    mean += step * share;
    squares += added(dp * dp) + step * step * seen * share;
    seen += 4.0;
  }
`

/**
 * WGSL that takes the moments of this thread's row of the array `x`: `shift`, `mean` and `squares`, as above,
 * and `size`, the number of columns.
 */
export const rowMomentsWgsl = (options: RowOptions, x: string): string => /* wgsl */ `
  let size = f32(params.columns);
  ${options.lanes === 1 && options.vector ? onePass(x) : twoPasses(options, x)}`

/**
 * out = (x − mean) · scale · weight + bias for each row of x [rows, columns], where
 * scale = 1/√(variance + eps); `statistics` [rows, 2] keeps mean and scale for the backward pass.
 */
export const layerNormKernel = kernelFamily((options: RowOptions) => {
  const { lanes, vector, from, to } = options
  const type = rowType(vector)
  return defineKernel({
    label: `layerNorm.${rowSuffix(options)}`,
    features: storageFeatures(from, to),
    splits: [splitRows(['x', 'out'], { statistics: 2 })],
    bindings: {
      x: read(storedType(from, vector)),
      weight: read(type),
      bias: read(type),
      out: readWrite(storedType(to, vector)),
      statistics: readWrite('f32'),
    },
    params: { rows: 'u32', columns: 'u32', eps: 'f32' },
    workgroups: rowWorkgroups(lanes),
    wgsl: rowKernelWgsl(
      options,
      /* wgsl */ `${rowMomentsWgsl(options, 'x')}
  let scale = 1.0 / sqrt(squares / size + params.eps);
  ${eachInRow(
    options,
    'out[i] = Stored(((Element(x[i]) - shift) - mean) * scale * weight[c] + bias[c]);',
  )}
  if (lane == 0u) {
    statistics[2u * row] = shift + mean;
    statistics[2u * row + 1u] = scale;
  }`,
    ),
  })
})

/**
 * dX = scale · (g − mean(g) − z · mean(g·z)) with g = dOut · weight and z = (x − mean) · scale, the
 * means taken over the row.
 */
export const layerNormBackwardKernel = kernelFamily((options: RowOptions) => {
  const { lanes, vector } = options
  const type = rowType(vector)
  return defineKernel({
    label: `layerNorm.backward.${rowSuffix(options)}`,
    splits: [splitRows(['x', 'dOut', 'dX'], { statistics: 2 })],
    bindings: {
      x: read(type),
      weight: read(type),
      statistics: read('f32'),
      dOut: read(type),
      dX: readWrite(type),
    },
    params: { rows: 'u32', columns: 'u32' },
    workgroups: rowWorkgroups(lanes),
    wgsl: rowKernelWgsl(
      options,
      /* wgsl */ `
  let size = f32(params.columns);
  let mean = statistics[2u * row];
  let scale = statistics[2u * row + 1u];
  var sum = Element();
  var dot = Element();
  ${eachInRow(options, 'let g = dOut[i] * weight[c]; sum += g; dot += g * (x[i] - mean) * scale;')}
  let meanG = sumOverRow(added(sum), lane) / size;
  let meanGZ = sumOverRow(added(dot), lane) / size;
  ${eachInRow(
    options,
    `let g = dOut[i] * weight[c];
    dX[i] = scale * (g - meanG - (x[i] - mean) * scale * meanGZ);`,
  )}`,
    ),
  })
})

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
