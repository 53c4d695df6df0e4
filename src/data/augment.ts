import { randomUniform } from '../kernels/random.ts'
import { gaussianWeights, reflectedPositions } from '../kernels/resampleTaps.ts'
import {
  checkConfig,
  checkPixels,
  cropPixels,
  preprocess,
  resizeWindow,
  shortestEdgeSize,
} from '../model/preprocess.ts'
import type { Pixels, PreprocessConfig, Rectangle } from '../model/preprocess.ts'
import { KeeplightError } from '../runtime/errors.ts'

/**
 * The weak views that SCP trains on: a random crop and a Gaussian blur, each with probability 0.5,
 * independently. The lengths are those for a 224-pixel input, in proportion: the crop's shortest
 * edge is 256, sigma is uniform in [0.1, 2), the blur kernel has 9 taps.
 */

const REFERENCE_SIZE = 224

export interface ViewOptions {
  /** Augmented views to make of the picture. */
  readonly views: number
  readonly seed: number
  /** Which random stream of the seed: the index of the picture, so that views don't depend on order. */
  readonly stream: number
}

/** What chance decides about one view; `x`, `y` and `sigma` are uniform in [0, 1). */
export interface ViewDraw {
  readonly crop: boolean
  readonly x: number
  readonly y: number
  readonly blur: boolean
  readonly sigma: number
}

/** Random words that each view has to itself, of which five are used. */
const WORDS_PER_VIEW = 8

/** The draws of view `view` (from 0): a pure function of its arguments. */
export function drawView(seed: number, stream: number, view: number): ViewDraw {
  const uniform = (word: number) => randomUniform(seed, stream, view * WORDS_PER_VIEW + word)
  return {
    crop: uniform(0) < 0.5,
    x: uniform(1),
    y: uniform(2),
    blur: uniform(3) < 0.5,
    sigma: uniform(4),
  }
}

/**
 * A picture as the model takes it, and augmented views of it.
 *
 * @returns [1 + views, size, size, 3] bytes: the clean picture first, as {@link preprocess} makes it
 * @throws KeeplightError `validation`: pixels, config or options that make no sense
 */
export function prepareViews(
  pixels: Pixels,
  config: PreprocessConfig,
  { views, seed, stream }: ViewOptions,
): Uint8Array<ArrayBuffer> {
  checkPixels(pixels)
  checkConfig(config)
  if (!Number.isSafeInteger(views) || views < 0) {
    throw new KeeplightError('validation', `views should be a whole number from 0, got ${views}.`)
  }
  const { size } = config
  const clean = preprocess(pixels, config)
  const draws = Array.from({ length: views }, (_, view) => drawView(seed, stream, view))

  const { width, height } = shortestEdgeSize(pixels, cropEdge(size))
  const windows = draws.map((draw) =>
    draw.crop ? cropWindow(width, height, size, draw) : undefined,
  )
  const crops = resizeWindows(pixels, width, height, windows)

  const result = new Uint8Array((1 + views) * size * size * 3)
  result.set(clean.data)
  draws.forEach((draw, view) => {
    const image = crops[view] ?? clean
    const { data } = draw.blur
      ? gaussianBlur(image, blurSigma(draw, size), blurKernelSize(size))
      : image
    result.set(data, (1 + view) * size * size * 3)
  })
  return result
}

/** Shortest edge of the picture that crops are cut from, at this input size. */
export const cropEdge = (size: number): number => Math.round((size * 256) / REFERENCE_SIZE)

/** Standard deviation of a view's blur in pixels, at this input size. */
export const blurSigma = ({ sigma }: ViewDraw, size: number): number =>
  ((0.1 + 1.9 * sigma) * size) / REFERENCE_SIZE

/** Taps of the blur kernel at this input size: the odd number nearest to 9 in proportion, at least 3. */
export function blurKernelSize(size: number): number {
  const taps = (9 * size) / REFERENCE_SIZE
  return Math.max(3, 2 * Math.round((taps - 1) / 2) + 1)
}

/** A square of `size` pixels, every position equally likely as `x` and `y` go over [0, 1). */
export function cropWindow(
  width: number,
  height: number,
  size: number,
  { x, y }: ViewDraw,
): Rectangle {
  return {
    x: Math.floor(x * (width - size + 1)),
    y: Math.floor(y * (height - size + 1)),
    width: size,
    height: size,
  }
}

/** Cuts from one resized picture; large sources are read once when the cuts lie close together. */
function resizeWindows(
  pixels: Pixels,
  width: number,
  height: number,
  windows: readonly (Rectangle | undefined)[],
): (Pixels | undefined)[] {
  const wanted = windows.filter((window) => window !== undefined)
  if (wanted.length === 0) return [...windows] as undefined[]
  const x = Math.min(...wanted.map((window) => window.x))
  const y = Math.min(...wanted.map((window) => window.y))
  const right = Math.max(...wanted.map((window) => window.x + window.width))
  const bottom = Math.max(...wanted.map((window) => window.y + window.height))
  const union: Rectangle = { x, y, width: right - x, height: bottom - y }
  const separate = wanted.reduce((sum, window) => sum + window.width * window.height, 0)
  // On a long panorama the cuts can lie far apart.
  if (union.width * union.height > separate) {
    return windows.map((window) => window && resizeWindow(pixels, width, height, window))
  }
  const shared = resizeWindow(pixels, width, height, union)
  return windows.map(
    (window) =>
      window && cropPixels(shared, window.x - x, window.y - y, window.width, window.height),
  )
}

/**
 * Gaussian blur as torchvision's `gaussian_blur`: a `kernelSize`×`kernelSize` kernel, reflected
 * borders, rounded to the nearest byte. Sums are in floating point, one axis after the other.
 *
 * @param sigma standard deviation in pixels, greater than 0
 * @param kernelSize odd
 * @throws KeeplightError `validation`
 */
export function gaussianBlur(pixels: Pixels, sigma: number, kernelSize: number): Pixels {
  checkPixels(pixels)
  if (!(sigma > 0) || !Number.isFinite(sigma)) {
    throw new KeeplightError(
      'validation',
      `sigma of a blur should be greater than 0, got ${sigma}.`,
    )
  }
  if (!Number.isSafeInteger(kernelSize) || kernelSize < 1 || kernelSize % 2 !== 1) {
    throw new KeeplightError('validation', `A blur kernel has an odd size, got ${kernelSize}.`)
  }
  const { width, height, data } = pixels
  const radius = (kernelSize - 1) / 2
  const weights = gaussianWeights(sigma, kernelSize)
  const columns = reflectedPositions(width, radius)
  const rows = reflectedPositions(height, radius)

  const horizontal = new Float32Array(data.length)
  for (let y = 0, to = 0; y < height; y++) {
    for (let x = 0; x < width; x++, to += 3) {
      let red = 0
      let green = 0
      let blue = 0
      for (let tap = 0; tap < kernelSize; tap++) {
        const weight = weights[tap]
        const from = (y * width + columns[x + tap]) * 3
        red += weight * data[from]
        green += weight * data[from + 1]
        blue += weight * data[from + 2]
      }
      horizontal[to] = red
      horizontal[to + 1] = green
      horizontal[to + 2] = blue
    }
  }
  // A clamped array rounds to nearest, ties to even, as torch.round does.
  const result = new Uint8ClampedArray(data.length)
  const rowLength = width * 3
  for (let y = 0; y < height; y++) {
    for (let i = 0; i < rowLength; i++) {
      let sum = 0
      for (let tap = 0; tap < kernelSize; tap++) {
        sum += weights[tap] * horizontal[rows[y + tap] * rowLength + i]
      }
      result[y * rowLength + i] = sum
    }
  }
  return { width, height, data: new Uint8Array(result.buffer) }
}
