import type { Pixels } from '../model/preprocess.ts'
import { KeeplightError } from '../runtime/errors.ts'

/** Pictures larger than this are refused before a canvas of their size is made. */
const MAX_PIXELS = 50_000_000

export interface DecodeOptions {
  /** What errors call the picture; a file's own name by default. */
  readonly name?: string
  /**
   * A picture whose shortest edge is longer is reduced to this edge while decoding. At 4 times the
   * model's own resize it saves most of a large photo's time and hardly moves the model's pixels.
   */
  readonly reduceTo?: number
}

/**
 * Decodes an image file in a page or its worker: upright by its EXIF orientation, sRGB, the first
 * frame of an animation, transparency on white.
 *
 * @throws KeeplightError `input` when the browser can't decode it, or it is too large
 */
export async function decodeImage(
  file: Blob,
  { name = file instanceof File ? file.name : 'image', reduceTo }: DecodeOptions = {},
): Promise<Pixels> {
  if (file.size === 0) throw new KeeplightError('input', `${name}: the file is empty`)
  const bitmap = await createImageBitmap(file, { imageOrientation: 'from-image' }).catch(
    (cause: unknown) => {
      throw new KeeplightError(
        'input',
        `${name}: the browser can't decode it; expected an intact JPEG, PNG, WebP, GIF or AVIF picture`,
        { cause },
      )
    },
  )
  try {
    assertDrawable(name, bitmap.width, bitmap.height)
    return drawPixels(bitmap, bitmap.width, bitmap.height, reduceTo)
  } finally {
    bitmap.close()
  }
}

/** @throws KeeplightError `input` when a canvas of this size would be too large */
export function assertDrawable(name: string, width: number, height: number): void {
  if (width * height <= MAX_PIXELS) return
  throw new KeeplightError(
    'input',
    `${name}: ${width}×${height} is more than ${MAX_PIXELS / 1e6} million pixels; make it smaller`,
  )
}

/**
 * What a canvas draws of this size, over white. Without `reduceTo` it is drawn pixel by pixel, so that
 * opaque pictures keep their bytes: no browser's resampling takes part.
 */
export function drawPixels(
  source: CanvasImageSource,
  fullWidth: number,
  fullHeight: number,
  reduceTo = Infinity,
): Pixels {
  const scale = Math.min(1, reduceTo / Math.min(fullWidth, fullHeight))
  const width = Math.max(1, Math.round(fullWidth * scale))
  const height = Math.max(1, Math.round(fullHeight * scale))
  const context = new OffscreenCanvas(width, height).getContext('2d', { willReadFrequently: true })!
  context.imageSmoothingEnabled = scale < 1
  context.imageSmoothingQuality = 'high'
  context.fillStyle = 'white'
  context.fillRect(0, 0, width, height)
  context.drawImage(source, 0, 0, width, height)
  const { data: rgba } = context.getImageData(0, 0, width, height)
  const data = new Uint8Array(width * height * 3)
  for (let i = 0, j = 0; i < rgba.length; i += 4) {
    data[j++] = rgba[i]!
    data[j++] = rgba[i + 1]!
    data[j++] = rgba[i + 2]!
  }
  return { width, height, data }
}
