import { defineKernel, kernelFamily, read, readWrite, splitRows } from './kernel.ts'
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
