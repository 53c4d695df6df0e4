import { resizeBicubic, type Pixels } from '../model/preprocess.ts'
import { lumaAt, printBytes, printEdge, printOf } from './imagePrint.ts'

/** What a picture looks like, as far as no model is needed to tell. */
export interface Appearance {
  /** Upright size of the picture in the file, in pixels. */
  readonly width: number
  readonly height: number
  /** Size of the file in bytes; of the pixels where there is no file. */
  readonly bytes: number
  /**
   * Deviation of the Laplacian of the luma in the sharpest of 4×4 parts, over the picture's own contrast,
   * measured at a shortest edge of at most 256 pixels, times √(that edge / 256): of a smaller picture,
   * edges are a larger share.
   */
  readonly sharpness: number
  /** Luma that 5 % of the pixels are darker than, and that 5 % are lighter than; 0 to 1. */
  readonly low: number
  readonly high: number
  /** See `imagePrint.ts`. */
  readonly print: Uint8Array
}

/** Raise when the figures are computed otherwise. */
export const appearanceVersion = 1
const figureBytes = 24
/** Bytes of an appearance in the cache. */
export const appearanceBytes = figureBytes + printBytes

/** Shortest edge at which sharpness is measured. */
const EDGE = 256
const PARTS = 4
/** Pixels of a part's edge at least: a small picture is cut into fewer. */
const PART_EDGE = 8
/** Contrast below which sharpness says nothing. */
const LEAST_CONTRAST = 0.02

/**
 * Looks at a decoded picture.
 *
 * @param file upright size of the picture in the file, which may have been reduced since, and the file's bytes
 */
export function appearanceOf(
  pixels: Pixels,
  file: { readonly width: number; readonly height: number; readonly bytes: number },
): Appearance {
  const small = reduced(pixels)
  const luma = new Float32Array(small.width * small.height)
  for (let i = 0; i < luma.length; i++) luma[i] = lumaAt(small.data, i * 3)
  const { low, high } = percentiles(luma)
  const { width, height, bytes } = file
  const contrast = Math.max(high - low, LEAST_CONTRAST)
  const size = Math.sqrt(Math.min(small.width, small.height) / EDGE)
  return {
    ...{ width, height, bytes, low, high },
    sharpness: (laplacianDeviation(luma, small.width, small.height) / (255 * contrast)) * size,
    print: printOf(resizeBicubic(small, printEdge, printEdge)),
  }
}

/** The picture at a shortest edge of 256 pixels: whole blocks averaged first, which takes a fraction of the time. */
function reduced(pixels: Pixels): Pixels {
  const blocks = averaged(pixels, Math.floor(Math.min(pixels.width, pixels.height) / EDGE))
  const scale = EDGE / Math.min(blocks.width, blocks.height)
  if (scale >= 1) return blocks
  const edge = (length: number): number => Math.round(length * scale)
  return resizeBicubic(blocks, edge(blocks.width), edge(blocks.height))
}

/** Means of blocks of `factor`² pixels; what is left over is cut evenly, so that mirrored pictures stay mirrored. */
function averaged(pixels: Pixels, factor: number): Pixels {
  if (factor < 2) return pixels
  const width = Math.floor(pixels.width / factor)
  const height = Math.floor(pixels.height / factor)
  const left = (pixels.width - width * factor) >> 1
  const top = (pixels.height - height * factor) >> 1
  const data = new Uint8Array(width * height * 3)
  const sums = new Uint32Array(width * 3)
  for (let y = 0; y < height; y++) {
    sums.fill(0)
    for (let row = 0; row < factor; row++) {
      let at = ((top + y * factor + row) * pixels.width + left) * 3
      for (let x = 0; x < sums.length; x += 3) {
        for (let i = 0; i < factor; i++, at += 3) {
          sums[x] += pixels.data[at]!
          sums[x + 1] += pixels.data[at + 1]!
          sums[x + 2] += pixels.data[at + 2]!
        }
      }
    }
    for (let i = 0; i < sums.length; i++) {
      data[y * sums.length + i] = Math.round(sums[i] / factor ** 2)
    }
  }
  return { width, height, data }
}

function percentiles(luma: Float32Array): { low: number; high: number } {
  const counts = new Uint32Array(256)
  for (const value of luma) counts[Math.round(value)]++
  const beyond = (share: number): number => {
    let seen = 0
    for (let level = 0; level < 256; level++) {
      seen += counts[level]
      if (seen > share * luma.length) return level / 255
    }
    return 1
  }
  return { low: beyond(0.05), high: beyond(0.95) }
}

/** The largest deviation, over the picture's parts, of the difference of a pixel and its four neighbours. */
function laplacianDeviation(luma: Float32Array, width: number, height: number): number {
  const columns = partsOf(width)
  const rows = partsOf(height)
  const sums = new Float64Array(columns * rows)
  const squares = new Float64Array(columns * rows)
  const counts = new Uint32Array(columns * rows)
  for (let y = 1; y < height - 1; y++) {
    const row = Math.floor((y * rows) / height) * columns
    for (let x = 1; x < width - 1; x++) {
      const i = y * width + x
      const value = luma[i - 1] + luma[i + 1] + luma[i - width] + luma[i + width] - 4 * luma[i]
      const part = row + Math.floor((x * columns) / width)
      sums[part] += value
      squares[part] += value * value
      counts[part]++
    }
  }
  let largest = 0
  for (let part = 0; part < sums.length; part++) {
    if (counts[part] === 0) continue
    largest = Math.max(largest, squares[part] / counts[part] - (sums[part] / counts[part]) ** 2)
  }
  return Math.sqrt(largest)
}

function partsOf(length: number): number {
  return Math.max(1, Math.min(PARTS, Math.floor(length / PART_EDGE)))
}

/** An appearance as it stands in the cache. */
export function packAppearance(appearance: Appearance): Uint8Array {
  const packed = new Uint8Array(appearanceBytes)
  const { width, height, bytes, sharpness, low, high, print } = appearance
  const view = new DataView(packed.buffer)
  ;[width, height, Math.min(bytes, 2 ** 32 - 1)].forEach((v, i) => view.setUint32(i * 4, v, true))
  ;[sharpness, low, high].forEach((v, i) => view.setFloat32(12 + i * 4, v, true))
  packed.set(print, figureBytes)
  return packed
}

export function unpackAppearance(packed: Uint8Array): Appearance {
  const view = new DataView(packed.buffer, packed.byteOffset, packed.byteLength)
  return {
    width: view.getUint32(0, true),
    height: view.getUint32(4, true),
    bytes: view.getUint32(8, true),
    sharpness: view.getFloat32(12, true),
    low: view.getFloat32(16, true),
    high: view.getFloat32(20, true),
    print: packed.subarray(figureBytes, appearanceBytes),
  }
}
