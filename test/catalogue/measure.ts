import { randomBits } from '../../src/kernels/random.ts'
import type { TensorArray } from '../../src/runtime/dtype.ts'
import { halfToFloat } from '../../src/model/half.ts'
import type { Arrays, OpCase } from './case.ts'
import { cotangent, type Results } from './run.ts'

/** Errors over the largest expected magnitude; ULP of the expected value's own binade. */
export interface Errors {
  readonly max: number
  readonly mean: number
}

export interface Measured {
  readonly out: Errors
  /** Units in the last place of the output's dtype; only for unary elementwise ops. */
  readonly ulp: number | undefined
  /** Over all leaves; none without gradients. */
  readonly gradient: Errors | undefined
}

/** Elements of each leaf whose derivative is formed by differences. */
const SAMPLES = 24
const STEP = 1e-5

/** Values as numbers: f16 crosses the host as its bits. */
export const numbersOf = (data: TensorArray): ArrayLike<number> =>
  data instanceof Uint16Array ? Float64Array.from(data, halfToFloat) : data

/** The inputs of a case as its reference takes them. */
export const arraysOf = ({ inputs }: OpCase): Arrays =>
  Object.fromEntries(Object.entries(inputs).map(([name, { data }]) => [name, numbersOf(data)]))

export function measure(opCase: OpCase, results: Results): Measured {
  const inputs = arraysOf(opCase)
  const expected = opCase.reference(inputs)
  const actual = numbersOf(results.out)
  if (actual.length !== expected.length) {
    throw new Error(`${opCase.op}: ${actual.length} values, its reference has ${expected.length}`)
  }
  const gradients = opCase.leaves.map((leaf) =>
    gradientErrors(opCase, inputs, leaf, results.gradients[leaf]!),
  )
  return {
    out: errorsOf(actual, expected, largest(expected)),
    ulp: opCase.unary ? worstUlp(actual, expected, results.out) : undefined,
    gradient: gradients.length === 0 ? undefined : joined(gradients),
  }
}

const joined = (errors: readonly Errors[]): Errors => ({
  max: errors.reduce((worst, { max }) => worse(worst, max), 0),
  mean: errors.reduce((total, { mean }) => total + mean, 0) / errors.length,
})

/** NaN is worst of all. */
const worse = (a: number, b: number): number => (Number.isNaN(b) || b > a ? b : a)

const largest = (values: ArrayLike<number>): number =>
  Array.from(values).reduce((top, value) => Math.max(top, Math.abs(value)), 0)

function errorsOf(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  magnitude: number,
): Errors {
  let max = 0
  let total = 0
  for (let i = 0; i < expected.length; i++) {
    const error = Math.abs(actual[i]! - expected[i]!) / (magnitude || 1)
    max = worse(max, error)
    total += error
  }
  return { max, mean: total / expected.length }
}

/**
 * The derivatives of Σ reference · cotangent at some elements of a leaf, by central differences in
 * f64: their own error is near 1e-10, far below that of f32.
 */
function gradientErrors(
  { reference }: OpCase,
  inputs: Arrays,
  leaf: string,
  actual: Float32Array,
): Errors {
  const values = Float64Array.from(inputs[leaf]!)
  const weights = cotangent(reference(inputs).length)
  // A copy, because a reference may return its input.
  const evaluate = (): Float64Array => Float64Array.from(reference({ ...inputs, [leaf]: values }))
  const sampled: number[] = []
  const expected: number[] = []
  for (let sample = 0; sample < Math.min(SAMPLES, values.length); sample++) {
    const at = values.length <= SAMPLES ? sample : randomBits(3, 41, sample) % values.length
    const value = values[at]!
    values[at] = value + STEP
    const above = evaluate()
    values[at] = value - STEP
    const below = evaluate()
    values[at] = value
    let slope = 0
    // Differences before the sum: a large output that does not change must not drown the others.
    for (let i = 0; i < weights.length; i++) slope += weights[i]! * (above[i]! - below[i]!)
    expected.push(slope / (2 * STEP))
    sampled.push(actual[at]!)
  }
  return errorsOf(sampled, expected, Math.max(largest(expected), largest(actual)))
}

/** Results below this are as good as 0, and clamps within an op decide their digits. */
const VANISHING = 1e-30

/** Mantissa bits and the lowest exponent of a normal value. */
const F32 = { bits: 23, lowest: -126 }
const F16 = { bits: 10, lowest: -14 }

/** Largest error in units of the last place of the expected value, as `stored` has it. */
function worstUlp(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  stored: TensorArray,
): number {
  const { bits, lowest } = stored instanceof Uint16Array ? F16 : F32
  let worst = 0
  for (let i = 0; i < expected.length; i++) {
    if (Math.abs(expected[i]!) < VANISHING) continue
    const exponent = Math.max(lowest, Math.floor(Math.log2(Math.abs(expected[i]!))))
    worst = worse(worst, Math.abs(actual[i]! - expected[i]!) / 2 ** (exponent - bits))
  }
  return worst
}
