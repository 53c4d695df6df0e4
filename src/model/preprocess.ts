import { FRACTION_BITS, resampleTaps, roundTaps, type FixedTaps } from '../kernels/resampleTaps.ts'
import { normalizationTable } from '../kernels/normalizeImages.ts'
import { KeeplightError } from '../runtime/errors.ts'

/**
 * From decoded pictures to the pixels that a model takes, bit for bit as Pillow does it.
 *
 * The resampling follows Pillow's `Resample.c` for 8-bit images: bicubic with a = -0.5 whose support
 * grows when shrinking, weights renormalised at the borders and rounded to 22 fractional bits, the
 * horizontal pass first and rounded to bytes, then the vertical one.
 */

/** An RGB picture: row-major, 3 bytes a pixel. */
export interface Pixels {
  readonly width: number
  readonly height: number
  readonly data: Uint8Array | Uint8ClampedArray
}

/** What a model was trained to take. */
export interface PreprocessConfig {
  /** Width and height of the input, in pixels; cut from the centre. */
  readonly size: number
  /** Length of the shortest edge before the cut, at least `size`. */
  readonly resize: number
  /** Per channel, of values from 0 to 1. */
  readonly mean: readonly [number, number, number]
  readonly std: readonly [number, number, number]
}

/** Part of a picture, in pixels. */
export interface Rectangle {
  readonly x: number
  readonly y: number
  readonly width: number
  readonly height: number
}

const HALF = 1 << (FRACTION_BITS - 1)
/** More bytes than this don't fit into one array everywhere. */
const MAX_BYTES = 2 ** 31 - 1

function invalid(problem: string): KeeplightError {
  return new KeeplightError('validation', problem)
}

function checkLength(what: string, value: number): void {
  if (!Number.isSafeInteger(value) || value < 1) {
    throw invalid(`${what} should be a whole number of pixels from 1, got ${value}.`)
  }
}

/** @throws KeeplightError `validation` unless the data hold width × height RGB pixels */
export function checkPixels(pixels: Pixels): void {
  const { width, height, data } = pixels
  checkLength('The width of a picture', width)
  checkLength('The height of a picture', height)
  if (data.length !== width * height * 3) {
    throw invalid(
      `A picture of ${width}×${height} pixels should have ${width * height * 3} bytes of RGB, ` +
        `got ${data.length}. Remove alpha and expand grey before.`,
    )
  }
}

/**
 * One pixel of a pass: the weighted sum of the pixels `step` bytes apart from `from`, stored at `to`.
 * `| 0` lets the engine keep to 32-bit integers; the sums fit, as the weights add up to 1.
 */
function mix(
  data: Uint8Array | Uint8ClampedArray,
  from: number,
  step: number,
  taps: FixedTaps,
  output: number,
  result: Uint8ClampedArray,
  to: number,
): void {
  const { weights, stride } = taps
  const begin = Math.imul(output, stride)
  const end = (begin + taps.count[output]) | 0
  let red = HALF
  let green = HALF
  let blue = HALF
  for (let tap = begin; tap < end; tap = (tap + 1) | 0) {
    const weight = weights[tap]
    red = (red + Math.imul(data[from], weight)) | 0
    green = (green + Math.imul(data[from + 1], weight)) | 0
    blue = (blue + Math.imul(data[from + 2], weight)) | 0
    from = (from + step) | 0
  }
  // The clamped array saturates what the filter overshoots.
  result[to] = red >> FRACTION_BITS
  result[to + 1] = green >> FRACTION_BITS
  result[to + 2] = blue >> FRACTION_BITS
}

/** Horizontal pass: rows `top` to `bottom` (exclusive) of the input, the columns of `taps`. */
function resampleColumns(pixels: Pixels, taps: FixedTaps, top: number, bottom: number): Uint8Array {
  const { width, data } = pixels
  const columns = taps.first.length
  const result = new Uint8ClampedArray((bottom - top) * columns * 3)
  let to = 0
  for (let y = top; y < bottom; y++) {
    for (let x = 0; x < columns; x++, to += 3) {
      mix(data, (y * width + taps.first[x]) * 3, 3, taps, x, result, to)
    }
  }
  return new Uint8Array(result.buffer)
}

/** Vertical pass over `columns` columns of pixels, of which row 0 is the picture's row `top`. */
function resampleRows(data: Uint8Array, columns: number, taps: FixedTaps, top: number): Uint8Array {
  const rows = taps.first.length
  const result = new Uint8ClampedArray(rows * columns * 3)
  let to = 0
  for (let y = 0; y < rows; y++) {
    const from = (taps.first[y] - top) * columns
    for (let x = 0; x < columns; x++, to += 3) {
      mix(data, (from + x) * 3, columns * 3, taps, y, result, to)
    }
  }
  return new Uint8Array(result.buffer)
}

/**
 * The `window` of the picture resized to `width`×`height`, at the cost of the window alone.
 *
 * Pillow's bytes: an axis whose length stays is not resampled.
 */
export function resizeWindow(
  pixels: Pixels,
  width: number,
  height: number,
  window: Rectangle,
): Pixels {
  checkPixels(pixels)
  checkLength('The width to resize to', width)
  checkLength('The height to resize to', height)
  checkWindow(window, width, height)
  if (window.width * window.height * 3 > MAX_BYTES) {
    throw invalid(`A picture of ${window.width}×${window.height} pixels is too large for an array.`)
  }
  const right = window.x + window.width
  const bottom = window.y + window.height
  const rows =
    height === pixels.height
      ? undefined
      : roundTaps(resampleTaps(pixels.height, height, window.y, bottom))
  // Rows of the input that the window's rows are made of.
  const last = window.height - 1
  const from = rows ? rows.first[0] : window.y
  const to = rows ? rows.first[last] + rows.count[last] : bottom
  const strip =
    width === pixels.width
      ? copyWindow(pixels, { x: window.x, y: from, width: window.width, height: to - from })
      : resampleColumns(
          pixels,
          roundTaps(resampleTaps(pixels.width, width, window.x, right)),
          from,
          to,
        )
  const data = rows ? resampleRows(strip, window.width, rows, from) : strip
  return { width: window.width, height: window.height, data }
}

/**
 * Resizes a picture to `width`×`height` with Pillow's antialiased bicubic filter.
 *
 * @throws KeeplightError `validation`: sizes that aren't whole and positive, too little data
 */
export function resizeBicubic(pixels: Pixels, width: number, height: number): Pixels {
  return resizeWindow(pixels, width, height, { x: 0, y: 0, width, height })
}

/** Size of the picture once its shortest edge is `size` long; the longest is rounded down. */
export function shortestEdgeSize(pixels: Pixels, size: number): { width: number; height: number } {
  const { width, height } = pixels
  return width <= height
    ? { width: size, height: Math.floor((size * height) / width) }
    : { width: Math.floor((size * width) / height), height: size }
}

/** Resizes a picture so that its shortest edge is `size` long; the longest is rounded down. */
export function resizeShortestEdge(pixels: Pixels, size: number): Pixels {
  checkPixels(pixels)
  const { width, height } = shortestEdgeSize(pixels, size)
  return resizeBicubic(pixels, width, height)
}

function checkWindow({ x, y, width, height }: Rectangle, outerWidth: number, outerHeight: number) {
  const counts = [x, y, width, height].every((value) => Number.isSafeInteger(value) && value >= 0)
  if (counts && width > 0 && height > 0 && x + width <= outerWidth && y + height <= outerHeight) {
    return
  }
  throw invalid(
    `A part of ${width}×${height} pixels at (${x}, ${y}) does not lie in a picture of ` +
      `${outerWidth}×${outerHeight}.`,
  )
}

/** A copy of the part of the picture that begins at column `x` and row `y`. */
export function cropPixels(
  pixels: Pixels,
  x: number,
  y: number,
  width: number,
  height: number,
): Pixels {
  checkPixels(pixels)
  const window = { x, y, width, height }
  checkWindow(window, pixels.width, pixels.height)
  return { width, height, data: copyWindow(pixels, window) }
}

function copyWindow(pixels: Pixels, { x, y, width, height }: Rectangle): Uint8Array {
  const data = new Uint8Array(width * height * 3)
  for (let row = 0; row < height; row++) {
    const from = ((y + row) * pixels.width + x) * 3
    data.set(pixels.data.subarray(from, from + width * 3), row * width * 3)
  }
  return data
}

/** The centred square of this size in a picture; an odd remainder goes right and below. */
export function centreWindow(width: number, height: number, size: number): Rectangle {
  const x = Math.floor((width - size) / 2)
  const y = Math.floor((height - size) / 2)
  return { x, y, width: size, height: size }
}

/** Cuts the centred square of `size`×`size` pixels out of a picture. */
export function centerCrop(pixels: Pixels, size: number): Pixels {
  const { x, y, width, height } = centreWindow(pixels.width, pixels.height, size)
  return cropPixels(pixels, x, y, width, height)
}

/** @throws KeeplightError `validation` if the crop is larger than what it is cut from */
export function checkConfig({ size, resize }: PreprocessConfig): void {
  checkLength('The size of a model input', size)
  checkLength('The shortest edge to resize to', resize)
  if (size > resize) {
    throw invalid(`A crop of ${size} pixels needs a shortest edge of at least that, got ${resize}.`)
  }
}

/**
 * A picture as the model takes it, before normalising: the shortest edge resized to
 * `config.resize`, then the centred square of `config.size`.
 */
export function preprocess(pixels: Pixels, config: PreprocessConfig): Pixels {
  checkPixels(pixels)
  checkConfig(config)
  const { width, height } = shortestEdgeSize(pixels, config.resize)
  return resizeWindow(pixels, width, height, centreWindow(width, height, config.size))
}

/**
 * Bytes to what the first layer takes: (byte / 255 - mean) / std.
 *
 * @param batch preprocessed pictures, or their bytes one after another, [B, size, size, 3]
 * @param count B, when only the first pictures of the bytes are meant; all of them by default
 * @returns [B, 3, size, size]
 */
export function normalizePixels(
  batch: readonly Pixels[] | Uint8Array,
  config: PreprocessConfig,
  count?: number,
): Float32Array<ArrayBuffer> {
  checkConfig(config)
  const { size, mean, std } = config
  const area = size * size
  const images = batch instanceof Uint8Array ? splitBytes(batch, area * 3, count) : batch
  const number = count ?? images.length
  if (number > images.length) {
    throw invalid(`${number} pictures should be normalised, the batch has ${images.length}.`)
  }

  const table = normalizationTable(mean, std)
  const result = new Float32Array(number * 3 * area)
  for (let b = 0; b < number; b++) {
    const image = images[b]
    if (!(image instanceof Uint8Array)) checkSize(image, size)
    const data = image instanceof Uint8Array ? image : image.data
    const plane = b * 3 * area
    for (let i = 0; i < area; i++) {
      result[plane + i] = table[data[3 * i]]
      result[plane + area + i] = table[256 + data[3 * i + 1]]
      result[plane + 2 * area + i] = table[512 + data[3 * i + 2]]
    }
  }
  return result
}

function splitBytes(bytes: Uint8Array, imageBytes: number, count?: number): Uint8Array[] {
  const whole = Math.floor(bytes.length / imageBytes)
  if (count === undefined ? whole * imageBytes !== bytes.length : count > whole) {
    throw invalid(
      `${count ?? 'Whole'} pictures of ${imageBytes} bytes should be normalised, got ` +
        `${bytes.length} bytes.`,
    )
  }
  return Array.from({ length: count ?? whole }, (_, i) =>
    bytes.subarray(i * imageBytes, (i + 1) * imageBytes),
  )
}

function checkSize(image: Pixels, size: number): void {
  checkPixels(image)
  if (image.width !== size || image.height !== size) {
    throw invalid(
      `The model takes ${size}×${size} pixels, got ${image.width}×${image.height}. ` +
        'Call preprocess() first.',
    )
  }
}
