import { normalizationTable, normalizeImagesKernel } from '../../kernels/normalizeImages.ts'
import { resampleKernel, type ResampleMode } from '../../kernels/resample.ts'
import {
  blurTaps,
  cropTaps,
  packTaps,
  resampleTaps,
  roundTaps,
  type Taps,
} from '../../kernels/resampleTaps.ts'
import type { Device } from '../device.ts'
import { expect, expectShape, formatShape } from '../shape.ts'
import { scope, type Tensor } from '../tensor.ts'

/**
 * Preparing pictures on the GPU, outside the tape. Pictures are bytes as decoders give them, u8
 * [B, H, W, C], or floats as models take them, f32 [B, C, H, W]; an op gives what it gets. Filters
 * work along one axis after the other, horizontally first.
 */
export type ImageType = 'u8' | 'f32'

/** Part of a picture, in pixels. */
export interface ImageWindow {
  readonly x: number
  readonly y: number
  readonly width: number
  readonly height: number
}

interface Layout {
  readonly batch: number
  readonly channels: number
  readonly height: number
  readonly width: number
}

function layoutOf(op: string, { shape, dtype }: Tensor): Layout {
  expect(shape.length === 4 && (dtype === 'u8' || dtype === 'f32'), op, () => {
    return `pictures are ${dtype}${formatShape(shape)}, expected u8[B, H, W, C] or f32[B, C, H, W]`
  })
  const [batch, a, b, c] = shape as [number, number, number, number]
  return dtype === 'u8'
    ? { batch, height: a, width: b, channels: c }
    : { batch, channels: a, height: b, width: c }
}

type Axis = 'x' | 'y'

/** A table for all pictures, or one for each; on the host, or where it can change between replays. */
type Tables = readonly Taps[] | TapTensors

/** Tables of a filter along one axis, one for each picture, on the GPU, as `packTaps` makes them. */
export interface TapTensors {
  /** [B, outputs, 2]: first input and number of inputs of every output. */
  readonly spans: Tensor<'u32'>
  /** [B, outputs, stride]: what they count for. */
  readonly weights: Tensor<'f32'>
}

/** One filter along one axis. Bytes between two passes are kept as floats unless `mode` is `fixed`. */
function pass<D extends ImageType>(
  x: Tensor,
  { batch, channels, height, width }: Layout,
  axis: Axis,
  tables: Tables,
  mode: ResampleMode,
  dtype: D,
  interleaved: boolean,
): Tensor<D> {
  const { device } = x
  const { spans, weights } = 'spans' in tables ? tables : upload(device, tables, mode)
  const [each = 0, outputs = 0, stride = 0] = weights.shape
  const [h, w] = axis === 'x' ? [height, outputs] : [outputs, width]
  const shape = interleaved ? [batch, h, w, channels] : [batch, channels, h, w]
  const out = device.empty(shape, dtype)
  const lines = interleaved ? 1 : channels
  const elements = interleaved ? channels : 1
  device.dispatch(
    resampleKernel({ mode }),
    { x, spans, weights, out },
    {
      size: out.size,
      outer: axis === 'x' ? lines * height : lines,
      inputs: axis === 'x' ? width : height,
      outputs,
      inner: axis === 'x' ? elements : width * elements,
      stride,
      perImage: each > 1 ? 1 : 0,
    },
  )
  return out
}

function upload(
  device: Device,
  tables: readonly Taps[],
  mode: ResampleMode,
): { spans: Tensor; weights: Tensor } {
  const { stride, first } = tables[0]!
  const { spans, weights } =
    mode === 'fixed'
      ? packTaps(tables.map(roundTaps), (length) => new Int32Array(length))
      : packTaps(tables, (length) => new Float32Array(length))
  return {
    spans: device.tensor(spans, [tables.length, first.length, 2]),
    weights: device.tensor(weights, [tables.length, first.length, stride]),
  }
}

function checkLength(op: string, what: string, value: number): void {
  expect(Number.isSafeInteger(value) && value > 0, op, () => {
    return `${what} is ${value}, expected a whole number of pixels from 1`
  })
}

function checkWindow(op: string, window: ImageWindow, width: number, height: number): void {
  const { x, y } = window
  const whole = [x, y, window.width, window.height].every((n) => Number.isSafeInteger(n) && n >= 0)
  const inside = x + window.width <= width && y + window.height <= height
  expect(whole && inside && window.width > 0 && window.height > 0, op, () => {
    return (
      `a window of ${window.width}×${window.height} pixels at (${x}, ${y}) does not lie in ` +
      `pictures of ${width}×${height}`
    )
  })
}

/**
 * Pictures resized to `width`×`height` by antialiased bicubic interpolation. Bytes come out as Pillow
 * makes them, bit for bit; floats as PyTorch's antialiased interpolation, up to rounding.
 *
 * @param x u8 [B, H, W, C] or f32 [B, C, H, W]
 * @param window the part of the result that is wanted, at its cost alone; all by default
 * @returns pictures of the window's size, bytes or floats as x is
 */
export function resizeImages<D extends ImageType>(
  x: Tensor<D>,
  width: number,
  height: number,
  window: ImageWindow = { x: 0, y: 0, width, height },
): Tensor<D> {
  const op = 'resizeImages'
  const layout = layoutOf(op, x)
  checkLength(op, 'width', width)
  checkLength(op, 'height', height)
  checkWindow(op, window, width, height)
  // An axis whose length stays is not resampled.
  const taps = (from: number, to: number, begin: number, length: number): Taps =>
    from === to ? cropTaps(begin, begin + length) : resampleTaps(from, to, begin, begin + length)
  const horizontal = taps(layout.width, width, window.x, window.width)
  const vertical = taps(layout.height, height, window.y, window.height)
  const bytes = x.dtype === 'u8'
  const mode = bytes ? 'fixed' : 'floats'
  return scope(() => {
    const wide = pass(x, layout, 'x', [horizontal], mode, x.dtype, bytes)
    return pass(
      wide,
      { ...layout, width: window.width },
      'y',
      [vertical],
      mode,
      x.dtype,
      bytes,
    ) as Tensor<D>
  })
}

/**
 * Parts of pictures.
 *
 * @param x u8 [B, H, W, C] or f32 [B, C, H, W]
 * @param windows one for all pictures, or one for each, of equal sizes
 */
export function cropImages<D extends ImageType>(
  x: Tensor<D>,
  windows: ImageWindow | readonly ImageWindow[],
): Tensor<D> {
  const op = 'cropImages'
  const layout = layoutOf(op, x)
  const list = perImage(op, 'windows', windows, layout.batch)
  const { width, height } = list[0]!
  for (const window of list) {
    checkWindow(op, window, layout.width, layout.height)
    expect(window.width === width && window.height === height, op, () => {
      return `windows are ${width}×${height} and ${window.width}×${window.height}, expected one size`
    })
  }
  const bytes = x.dtype === 'u8'
  const mode = bytes ? 'fixed' : 'floats'
  return scope(() => {
    const rows = list.map((window) => cropTaps(window.y, window.y + height))
    const columns = list.map((window) => cropTaps(window.x, window.x + width))
    const strip = pass(x, layout, 'y', rows, mode, x.dtype, bytes)
    return pass(strip, { ...layout, height }, 'x', columns, mode, x.dtype, bytes) as Tensor<D>
  })
}

/**
 * Gaussian blur as torchvision's `gaussian_blur`: a kernel of `kernelSize`² pixels, reflected borders;
 * bytes are rounded to nearest at the end.
 *
 * @param x u8 [B, H, W, C] or f32 [B, C, H, W]
 * @param sigma standard deviation in pixels, greater than 0: one for all pictures, or one for each
 * @param kernelSize odd
 */
export function blurImages<D extends ImageType>(
  x: Tensor<D>,
  sigma: number | readonly number[],
  kernelSize: number,
): Tensor<D> {
  const op = 'blurImages'
  const layout = layoutOf(op, x)
  const sigmas = perImage(op, 'sigma', sigma, layout.batch)
  for (const value of sigmas) {
    expect(value > 0 && Number.isFinite(value), op, () => {
      return `sigma is ${value}, expected a number of pixels greater than 0`
    })
  }
  expect(Number.isSafeInteger(kernelSize) && kernelSize > 0 && kernelSize % 2 === 1, op, () => {
    return `kernelSize is ${kernelSize}, expected an odd number`
  })
  const tables = (length: number): Taps[] =>
    sigmas.map((value) => blurTaps(length, value, kernelSize))
  return blurAlong(x, layout, tables(layout.width), tables(layout.height))
}

function blurAlong<D extends ImageType>(
  x: Tensor<D>,
  layout: Layout,
  columns: Tables,
  rows: Tables,
): Tensor<D> {
  const bytes = x.dtype === 'u8'
  return scope(() => {
    const [first, second]: ResampleMode[] = bytes
      ? ['bytesToFloats', 'floatsToBytes']
      : ['floats', 'floats']
    const wide = pass(x, layout, 'x', columns, first!, 'f32', bytes)
    return pass(wide, layout, 'y', rows, second!, x.dtype, bytes) as Tensor<D>
  })
}

/**
 * {@link blurImages} for square pictures by tables on the GPU, the same along both axes: a recorded
 * plan gets other ones with each replay.
 *
 * @param x [B, S, S, C] or [B, C, S, S]
 */
export function blurSquares<D extends ImageType>(x: Tensor<D>, taps: TapTensors): Tensor<D> {
  const op = 'blurSquares'
  const layout = layoutOf(op, x)
  const { batch, width, height } = layout
  const [tables = 0, outputs = 0, stride = 0] = taps.weights.shape
  expect(width === height && tables === batch && outputs === width, op, () => {
    return `tables ${taps.weights.toString()} for ${x.toString()}, expected one of ${width} outputs for each square`
  })
  expectShape(op, 'spans', taps.spans.shape, [batch, width, 2])
  expectShape(op, 'weights', taps.weights.shape, [batch, width, stride])
  return blurAlong(x, layout, taps, taps)
}

function perImage<T>(
  op: string,
  name: string,
  given: T | readonly T[],
  batch: number,
): readonly T[] {
  if (!Array.isArray(given)) return [given as T]
  const list = given as readonly T[]
  expect(list.length === batch, op, () => {
    return `${list.length} ${name} for ${batch} pictures, expected one for each, or one for all`
  })
  return list
}

/**
 * Bytes to what the first layer of a model takes: (byte / 255 − mean) / std, every step rounded to f32
 * as on the host, so that both give the same bits.
 *
 * @param x u8 [B, H, W, C]
 * @param config mean and std of values from 0 to 1, for each of the C channels
 * @returns f32 [B, C, H, W]
 */
export function normalizeImages(
  x: Tensor<'u8'>,
  { mean, std }: { readonly mean: readonly number[]; readonly std: readonly number[] },
): Tensor<'f32'> {
  const op = 'normalizeImages'
  expect(x.dtype === 'u8', op, () => `pictures are ${x.toString()}, expected u8[B, H, W, C]`)
  const { batch, channels, height, width } = layoutOf(op, x)
  expect(mean.length === channels && std.length === channels, op, () => {
    return `mean and std have ${mean.length} and ${std.length} values for ${channels} channels`
  })
  const { device } = x
  return scope(() => {
    const out = device.empty([batch, channels, height, width])
    const table = device.tensor(normalizationTable(mean, std), [channels, 256])
    const sizes = { size: x.size, area: height * width, channels }
    device.dispatch(normalizeImagesKernel, { x, table, out }, sizes)
    return out
  })
}
