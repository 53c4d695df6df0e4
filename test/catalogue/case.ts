import { randomUniform } from '../../src/kernels/random.ts'
import { floatToHalf } from '../../src/model/half.ts'
import type { TensorArray } from '../../src/runtime/dtype.ts'
import { sizeOf, type Shape } from '../../src/runtime/shape.ts'
import type { Tensor } from '../../src/runtime/tensor.ts'

/**
 * The op catalogue: every public op with named inputs, its call and its f64 reference. The tests of
 * this folder walk it, so an op that has an entry is hashed, poisoned, replayed, measured and fuzzed.
 *
 * Nothing here imports the test runner: the same entries run in Node, in a page and in a script.
 */
export interface OpCase {
  /** Name that `src/runtime/ops/index.ts` exports. */
  readonly op: string
  /** What is special about this case. */
  readonly name: string
  /** Stored types, as the table of docs/numerics.md shows them. Default `f32`. */
  readonly dtype?: string
  readonly inputs: Readonly<Record<string, Value>>
  /** Inputs whose gradients are asked for; none: the op has no gradient. */
  readonly leaves: readonly string[]
  readonly run: (inputs: Tensors) => Tensor
  readonly reference: (inputs: Arrays) => ArrayLike<number>
  /** Largest error over the largest expected value that tests allow. Default 1e-5. */
  readonly tolerance?: number
  /** The same for gradients. Default 1e-4. */
  readonly gradientTolerance?: number
  /** Elementwise with one input: its error is given in ULP too. */
  readonly unary?: boolean
}

export interface Value {
  readonly data: TensorArray
  readonly shape: Shape
}

export type Tensors = Readonly<Record<string, Tensor<'f32'>>>
export type Arrays = Readonly<Record<string, ArrayLike<number>>>

export const TOLERANCE = 1e-5
export const GRADIENT_TOLERANCE = 1e-4

/** Kinds of activations that a vision transformer has: see {@link activations}. */
export type Kind = 'normal' | 'outliers' | 'offset'
export const KINDS: readonly Kind[] = ['normal', 'outliers', 'offset']

/** What the kinds are called in names of cases. */
export const KIND_NAMES: Readonly<Record<Kind, string>> = {
  normal: 'N(0, 1)',
  outliers: 'outliers of ±100',
  offset: 'N(10, 1)',
}

/** The last dimension's outliers lie in every 61st channel, as "massive activations" do. */
const OUTLIER_CHANNELS = 61

/** Normal values by Box and Muller's transform of counter-based uniform ones. */
export function normal(shape: Shape, seed: number, deviation = 1, mean = 0): Value {
  const data = Float32Array.from({ length: sizeOf(shape) }, (_, i) => {
    const radius = Math.sqrt(-2 * Math.log(1 - randomUniform(seed, 31, i)))
    return mean + deviation * radius * Math.cos(2 * Math.PI * randomUniform(seed, 32, i))
  })
  return { data, shape }
}

/** Values of a layer's input: standard normal, with outliers of ±100 among them, or far from 0. */
export function activations(kind: Kind, shape: Shape, seed: number): Value {
  const value = normal(shape, seed, 1, kind === 'offset' ? 10 : 0)
  if (kind !== 'outliers') return value
  const columns = shape.at(-1) ?? 1
  const data = (value.data as Float32Array).map((x, i) => {
    const outlier = (i % columns) % OUTLIER_CHANNELS === 3
    return outlier ? Math.sign(x) * (100 + Math.abs(x)) : x
  })
  return { data, shape }
}

/** The same values rounded to f16. */
export const half = ({ data, shape }: Value): Value => ({
  data: Uint16Array.from(data, floatToHalf),
  shape,
})

/** Half a unit in the last place of an f16 output, and a bit for what is summed into it. */
export const HALF = 5e-4

/** Weights of a layer with `inner` inputs: deviation 1/√inner. */
export const weights = (shape: Shape, seed: number, inner = shape.at(-1) ?? 1): Value =>
  normal(shape, seed, 1 / Math.sqrt(inner))

/** One case for every kind of activations. */
export const ofKinds = (make: (kind: Kind) => Omit<OpCase, 'name'>): OpCase[] =>
  KINDS.map((kind) => ({ name: KIND_NAMES[kind], ...make(kind) }))
