import sharp, { type Sharp } from 'sharp'
import type { Pixels } from '../model/preprocess.ts'
import { blockLoaders } from './loaders.node.ts'

/** Decoding of untrusted image files by sharp (libvips), of six formats alone. */
blockLoaders()
// A decoding thread works on one image at a time; libvips must not keep old ones or add threads.
sharp.cache(false)
sharp.concurrency(1)

/** Largest picture that is decoded, in pixels: beyond it lie decompression bombs. */
export const maximumPixels = 50_000_000
const timeoutSeconds = 10

function open(bytes: Uint8Array): Sharp {
  return sharp(bytes, {
    // Truncated and damaged files must be named, not clustered by their grey remainder.
    failOn: 'warning',
    limitInputPixels: maximumPixels,
    autoOrient: true, // upright by EXIF
    pages: 1, // first frame or page
  }).timeout({ seconds: timeoutSeconds })
}

/** A decoded picture: upright, sRGB, 8 bits, transparency laid over white. */
export interface DecodedPixels extends Pixels {
  /** Size of the picture in the file, upright, before any reduction. */
  readonly originalWidth: number
  readonly originalHeight: number
  /** EXIF orientation 1 to 8; 1 when the file names none. */
  readonly orientation: number
}

/**
 * Decodes JPEG, PNG, WebP, AVIF, GIF or TIFF bytes to upright 8-bit sRGB pixels.
 *
 * Embedded colour profiles are applied; grey, palette, CMYK and 16-bit pictures become RGB; what is
 * transparent shows white, as on a page.
 *
 * @param reduceTo when given, a picture whose shortest edge is longer is reduced to this edge while
 *   decoding (Lanczos, with JPEG's own fast reduction). At 4 times the model's own resize this moves
 *   the final pixels by well under one level on average, and saves most of the time of a large photo.
 * @throws Error with libvips' reason when the bytes are no such picture or are damaged
 */
export async function decodePixels(bytes: Uint8Array, reduceTo?: number): Promise<DecodedPixels> {
  const { orientation = 1, ...size } = await open(bytes).metadata()
  let image = open(bytes).flatten({ background: '#ffffff' }).toColourspace('srgb')
  if (reduceTo !== undefined) {
    image = image.resize({
      width: reduceTo,
      height: reduceTo,
      fit: 'outside',
      withoutEnlargement: true,
    })
  }
  const { data, info } = await image.raw({ depth: 'uchar' }).toBuffer({ resolveWithObject: true })
  const swapped = orientation >= 5
  return {
    width: info.width,
    height: info.height,
    data: info.channels === 3 ? data : greyToRgb(data, info.channels),
    originalWidth: swapped ? size.height : size.width,
    originalHeight: swapped ? size.width : size.height,
    orientation,
  }
}

function greyToRgb(data: Uint8Array, channels: number): Uint8Array {
  const rgb = new Uint8Array((data.length / channels) * 3)
  for (let i = 0; i < rgb.length; i++) rgb[i] = data[Math.floor(i / 3) * channels]
  return rgb
}

/** A small WebP for a contact sheet. */
export interface Thumbnail {
  readonly width: number
  readonly height: number
  /** WebP file bytes. */
  readonly bytes: Uint8Array
}

/** Draws pixels, enlarged by a whole factor where they are few, into a WebP; see `encodeThumbnail`. */
export async function encodePixelThumbnail(
  { width, height: rows, data }: Pixels,
  height: number,
): Promise<Thumbnail> {
  const factor = Math.max(1, Math.min(Math.floor(height / rows), Math.floor((height * 2) / width)))
  const { data: bytes, info } = await sharp(data, { raw: { width, height: rows, channels: 3 } })
    .resize({
      width: Math.min(width * factor, height * 2),
      height: Math.min(rows * factor, height),
      fit: 'inside',
      kernel: factor > 1 ? 'nearest' : 'lanczos3',
    })
    .webp({ quality: 72, effort: 2 })
    .toBuffer({ resolveWithObject: true })
  return { width: info.width, height: info.height, bytes }
}

/** Draws a whole picture, upright, into a WebP at most `height` high and twice as wide. */
export async function encodeThumbnail(bytes: Uint8Array, height: number): Promise<Thumbnail> {
  const { data, info } = await open(bytes)
    .flatten({ background: '#ffffff' })
    .resize({ width: height * 2, height, fit: 'inside', withoutEnlargement: true })
    .toColourspace('srgb')
    .webp({ quality: 72, effort: 2 })
    .toBuffer({ resolveWithObject: true })
  return { width: info.width, height: info.height, bytes: data }
}

/** One line in plain words for why a picture could not be decoded. */
export function decodeErrorMessage(error: unknown): string {
  const text = (error instanceof Error ? error.message : String(error)).replace(/\s+/g, ' ').trim()
  if (/unsupported image format|unsupported feature|bad seek|security/i.test(text)) {
    return `not a JPEG, PNG, WebP, AVIF, GIF or TIFF picture that can be read (${text})`
  }
  return text.replace(/^Input buffer has corrupt header: /, 'damaged: ')
}
