/** Weights of separable filters along one axis of a picture, computed on the host in f64. */

/** For each output position: the first input position and the weights from there. */
interface Span {
  readonly first: Int32Array
  readonly count: Int32Array
  /** Weights that every output has room for, of which `count` are used. */
  readonly stride: number
}

export interface Taps extends Span {
  /** [outputs, stride] */
  readonly weights: Float64Array
}

/** Taps with weights times 2²², for bytes. */
export interface FixedTaps extends Span {
  readonly weights: Int32Array
}

/** Pillow's precision for 8-bit pictures. */
export const FRACTION_BITS = 22

/** The bicubic kernel with a = -0.5 (Keys, 1981). */
function bicubic(distance: number): number {
  const a = -0.5
  const x = Math.abs(distance)
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * a
  return 0
}

/**
 * Weights of the outputs `begin` to `end` (exclusive) of an axis resized from `input` to `output` by
 * bicubic interpolation whose support grows when shrinking, renormalised at the borders: those of
 * Pillow's `Resample.c`, and of PyTorch's antialiased bicubic interpolation.
 */
export function resampleTaps(input: number, output: number, begin: number, end: number): Taps {
  const scale = input / output
  const stretch = Math.max(scale, 1)
  const support = 2 * stretch
  const inverse = 1 / stretch
  const stride = Math.min(Math.ceil(support) * 2 + 1, input)
  const first = new Int32Array(end - begin)
  const count = new Int32Array(end - begin)
  const weights = new Float64Array((end - begin) * stride)
  for (let i = 0; i < end - begin; i++) {
    const centre = (begin + i + 0.5) * scale
    const low = Math.max(Math.trunc(centre - support + 0.5), 0)
    const taps = Math.min(Math.trunc(centre + support + 0.5), input) - low
    let sum = 0
    for (let t = 0; t < taps; t++) {
      const weight = bicubic((t + low - centre + 0.5) * inverse)
      weights[i * stride + t] = weight
      sum += weight
    }
    if (sum !== 0) {
      for (let t = 0; t < taps; t++) weights[i * stride + t]! /= sum
    }
    first[i] = low
    count[i] = taps
  }
  return { first, count, weights, stride }
}

/** The taps in fixed point, rounded half away from zero, as Pillow does. */
export function roundTaps({ first, count, weights, stride }: Taps): FixedTaps {
  const rounded = Int32Array.from(weights, (exact) => {
    const weight = exact * (1 << FRACTION_BITS)
    return Math.trunc(weight < 0 ? weight - 0.5 : weight + 0.5)
  })
  return { first, count, weights: rounded, stride }
}

/** Tables of one shape as the resampling kernel binds them: spans [B, outputs, 2], weights [B, outputs, stride]. */
export function packTaps<W extends Float32Array | Int32Array>(
  tables: readonly (Span & { readonly weights: ArrayLike<number> })[],
  make: (length: number) => W,
): { readonly spans: Uint32Array<ArrayBuffer>; readonly weights: W } {
  const { first, stride } = tables[0]!
  const outputs = first.length
  const spans = new Uint32Array(tables.length * outputs * 2)
  const weights = make(tables.length * outputs * stride)
  tables.forEach((taps, table) => {
    for (let i = 0; i < outputs; i++) {
      spans.set([taps.first[i]!, taps.count[i]!], (table * outputs + i) * 2)
    }
    weights.set(taps.weights, table * outputs * stride)
  })
  return { spans, weights }
}

/** Positions `begin` to `end` (exclusive) of an axis as they are: a cut. */
export function cropTaps(begin: number, end: number): Taps {
  const length = end - begin
  return {
    first: Int32Array.from({ length }, (_, i) => begin + i),
    count: new Int32Array(length).fill(1),
    weights: new Float64Array(length).fill(1),
    stride: 1,
  }
}

/** `taps` weights of a Gaussian sampled at whole pixels around its centre; they add up to 1. */
export function gaussianWeights(sigma: number, taps: number): Float64Array {
  const weights = Float64Array.from({ length: taps }, (_, i) => {
    const distance = (i - (taps - 1) / 2) / sigma
    return Math.exp(-0.5 * distance * distance)
  })
  const sum = weights.reduce((total, weight) => total + weight, 0)
  return weights.map((weight) => weight / sum)
}

/**
 * Positions along an axis of `length` pixels, padded by `radius` on both sides: mirrored without
 * repeating the border pixel, back and forth where the padding is longer than the axis.
 */
export function reflectedPositions(length: number, radius: number): Int32Array {
  const period = Math.max(2 * (length - 1), 1)
  return Int32Array.from({ length: length + 2 * radius }, (_, i) => {
    const position = (((i - radius) % period) + period) % period
    return position < length ? position : period - position
  })
}

/**
 * A Gaussian blur of an axis with reflected borders, as torchvision's: weights that the reflection puts
 * on one pixel are added up.
 */
export function blurTaps(length: number, sigma: number, kernelSize: number): Taps {
  const radius = (kernelSize - 1) / 2
  const gaussian = gaussianWeights(sigma, kernelSize)
  const positions = reflectedPositions(length, radius)
  const stride = Math.min(kernelSize, length)
  const first = new Int32Array(length)
  const count = new Int32Array(length)
  const weights = new Float64Array(length * stride)
  for (let i = 0; i < length; i++) {
    const touched = positions.subarray(i, i + kernelSize)
    const low = touched.reduce((least, position) => Math.min(least, position))
    const high = touched.reduce((most, position) => Math.max(most, position))
    first[i] = low
    count[i] = high - low + 1
    touched.forEach((position, tap) => (weights[i * stride + position - low]! += gaussian[tap]!))
  }
  return { first, count, weights, stride }
}
