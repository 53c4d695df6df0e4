import {
  defineKernel,
  kernelFamily,
  linearWorkgroups,
  mainWgsl,
  read,
  readWrite,
  splitRows,
} from './kernel.ts'
import { lines, range } from './template.ts'
import {
  eachInRow,
  rowKernelWgsl,
  rowSuffix,
  rowType,
  rowWorkgroups,
  type RowOptions,
} from './rows.ts'
import { storageFeatures, storedType } from './storage.ts'

export interface SoftmaxOptions extends RowOptions {
  /** Whether the result is log(softmax(x)). */
  readonly log: boolean
  /** Whether a row has at most {@link SHORT} columns, which a thread of its own keeps in registers. */
  readonly short?: boolean
}

export const SHORT = 16

/** Threads of a workgroup of {@link softmaxPackedKernel}. */
const PACKED_GROUP = 64

const name = (options: SoftmaxOptions): string =>
  `${options.log ? 'logSoftmax' : 'softmax'}.${rowSuffix(options)}${options.short ? '.short' : ''}`

/** The lowest finite f32: a row of −∞, all of it masked, then sums to 0 and not to NaN. */
const LOWEST = '-3.40282e38'

/** `top` and `total`, the row's maximum and Σ exp(x − top), in two passes. */
const twoPasses = (options: SoftmaxOptions): string => /* wgsl */ `
  var largest = ${LOWEST};
  ${eachInRow(options, 'largest = max(largest, largestOf(Element(x[i])));')}
  let top = maxOverRow(largest, lane);
  var sum = Element();
  ${eachInRow(options, 'sum += exp(Element(x[i]) - top);')}
  let total = sumOverRow(added(sum), lane);
`

/**
 * The same in one pass of a thread with a row of its own: four elements or vec4s at a time, the sum
 * so far taken to the new maximum (Milakov and Gimelshein 2018). Reading is what costs there.
 */
const onePass = /* wgsl */ `
  var top = ${LOWEST};
  var total = 0.0;
  var c = 0u;
  for (; c + 4u <= width; c += 4u) {
    let i = start + c;
    let p = Element(x[i]);
    let q = Element(x[i + 1u]);
    let r = Element(x[i + 2u]);
    let s = Element(x[i + 3u]);
    let largest = max(top, largestOf(max(max(p, q), max(r, s))));
    total = total * exp(top - largest)
      + added((exp(p - largest) + exp(q - largest)) + (exp(r - largest) + exp(s - largest)));
    top = largest;
  }
  for (; c < width; c++) {
    let p = Element(x[start + c]);
    let largest = max(top, largestOf(p));
    total = total * exp(top - largest) + added(exp(p - largest));
    top = largest;
  }
`

const each = (body: (k: number) => string): string => lines(range(SHORT).map(body))

/** Reads, exponentiates and writes every element once; `width` is the same for all threads. */
const inRegisters = (log: boolean): string => /* wgsl */ `
  ${each((k) => `var x${k} = ${LOWEST}; if (${k}u < width) { x${k} = Element(x[start + ${k}u]); }`)}
  let top = max(${LOWEST}, ${range(SHORT - 1).reduceRight((rest, k) => `max(x${k}, ${rest})`, `x${SHORT - 1}`)});
  var total = 0.0;
  ${each((k) => `let e${k} = exp(x${k} - top); if (${k}u < width) { total += e${k}; }`)}
  let masked = total == 0.0;
  let shift = ${log ? 'select(log(total), 0.0, masked)' : 'select(1.0 / total, 0.0, masked)'};
  ${each((k) => {
    const value = log ? `(x${k} - top) - shift` : `e${k} * shift`
    return `if (${k}u < width) { out[start + ${k}u] = Stored(${value}); }`
  })}
`

/**
 * softmax or log-softmax of each row of x [rows, columns] → out, with the row's maximum taken off
 * first, so that no exponential overflows. A row of −∞ alone gives 0.
 */
export const softmaxKernel = kernelFamily((options: SoftmaxOptions) => {
  const { log, lanes, vector, short, from, to } = options
  return defineKernel({
    label: name(options),
    features: storageFeatures(from, to),
    splits: [splitRows(['x', 'out'])],
    bindings: { x: read(storedType(from, vector)), out: readWrite(storedType(to, vector)) },
    params: { rows: 'u32', columns: 'u32' },
    workgroups: rowWorkgroups(lanes),
    wgsl: rowKernelWgsl(
      options,
      short
        ? inRegisters(log)
        : /* wgsl */ `${lanes === 1 ? onePass : twoPasses(options)}
  let masked = total == 0.0;
  ${
    log
      ? `let shift = select(log(total), 0.0, masked);
  ${eachInRow(options, 'out[i] = Stored((Element(x[i]) - top) - shift);')}`
      : `let factor = select(1.0 / total, 0.0, masked);
  ${eachInRow(options, 'out[i] = Stored(exp(Element(x[i]) - top) * factor);')}`
  }`,
    ),
  })
})

/** Rows that fill whole vec4s together. */
const rowsTogether = (columns: number): number =>
  columns % 4 === 0 ? 1 : columns % 2 === 0 ? 2 : 4

/** Elements that a thread of {@link softmaxPackedKernel} keeps in registers at most. */
const PACKED = 28

/** Whether {@link softmaxPackedKernel} takes a matrix. */
export const packs = (rows: number, columns: number): boolean =>
  columns * rowsTogether(columns) <= PACKED && rows % rowsTogether(columns) === 0

/**
 * The same for few columns, as many rows to a thread as fill whole vec4s, all of them in registers: a
 * load or a store of a vec4 costs little more than one of a scalar. Columns are part of the text.
 */
export const softmaxPackedKernel = kernelFamily(
  ({ log, columns }: { readonly log: boolean; readonly columns: number }) => {
    const together = rowsTogether(columns)
    const quads = range((columns * together) / 4)
    const component = (i: number): string => `.${'xyzw'[i % 4]}`
    const element = (row: number, c: number): string => {
      const i = row * columns + c
      return `q${Math.floor(i / 4)}${component(i)}`
    }
    const all = range(columns)
    const ofRow = (row: number): string => /* wgsl */ `
  let top${row} = ${all.reduce((largest, c) => `max(${largest}, ${element(row, c)})`, LOWEST)};
  ${lines(all.map((c) => `let e${row * columns + c} = exp(${element(row, c)} - top${row});`))}
  let total${row} = ${all.map((c) => `e${row * columns + c}`).join(' + ')};
  let masked${row} = total${row} == 0.0;
  let shift${row} = ${log ? `select(log(total${row}), 0.0, masked${row})` : `select(1.0 / total${row}, 0.0, masked${row})`};`
    const result = (i: number): string => {
      const row = Math.floor(i / columns)
      return log
        ? `(${element(row, i % columns)} - top${row}) - shift${row}`
        : `e${i} * shift${row}`
    }
    return defineKernel({
      label: `${log ? 'logSoftmax' : 'softmax'}.packed.${columns}`,
      splits: [{ ...splitRows(['x', 'out']), step: together }],
      bindings: { x: read('vec4<f32>'), out: readWrite('vec4<f32>') },
      params: { rows: 'u32', columns: 'u32' },
      workgroups: ({ rows }) => linearWorkgroups(rows / together, PACKED_GROUP),
      wgsl: /* wgsl */ `
${mainWgsl(PACKED_GROUP)} {
  let t = linearWorkgroup(id, count) * ${PACKED_GROUP}u + thread;
  if (t * ${together}u >= params.rows) { return; }
  let start = t * ${quads.length}u;
  ${lines(quads.map((k) => `let q${k} = x[start + ${k}u];`))}
  ${lines(range(together).map(ofRow))}
  ${lines(
    quads.map((k) => {
      const values = [0, 1, 2, 3].map((c) => result(4 * k + c))
      return `out[start + ${k}u] = vec4f(${values.join(', ')});`
    }),
  )}
}
`,
    })
  },
)

/**
 * Gradient from the saved output.
 * softmax: dX = out · (dOut − Σ dOut·out). log-softmax: dX = dOut − exp(out) · Σ dOut.
 */
export const softmaxBackwardKernel = kernelFamily((options: SoftmaxOptions) => {
  const { log, lanes, vector } = options
  const type = rowType(vector)
  return defineKernel({
    label: `${name(options)}.backward`,
    splits: [splitRows(['out', 'dOut', 'dX'])],
    bindings: { out: read(type), dOut: read(type), dX: readWrite(type) },
    params: { rows: 'u32', columns: 'u32' },
    workgroups: rowWorkgroups(lanes),
    wgsl: rowKernelWgsl(
      options,
      /* wgsl */ `
  var sum = Element();
  ${eachInRow(options, log ? 'sum += dOut[i];' : 'sum += dOut[i] * out[i];')}
  let total = sumOverRow(added(sum), lane);
  ${eachInRow(
    options,
    log ? 'dX[i] = dOut[i] - exp(out[i]) * total;' : 'dX[i] = out[i] * (dOut[i] - total);',
  )}`,
    ),
  })
})
