import type { Pixels } from '../model/preprocess.ts'
import { KeeplightError } from '../runtime/errors.ts'

/** Pictures larger than this are refused before a canvas of their size is made. */
const MAX_PIXELS = 50_000_000

/**
 * Decodes an image file in a page: upright by its EXIF orientation, sRGB, transparency on white.
 *
 * @throws KeeplightError `input` when the browser can't decode it
 */
export async function decodeImage(file: Blob): Promise<Pixels> {
  const name = file instanceof File ? file.name : 'image'
  const bitmap = await createImageBitmap(file, { imageOrientation: 'from-image' }).catch(
    (cause: unknown) => {
      throw new KeeplightError('input', `${name}: the browser can't decode it (${String(cause)})`, {
        cause,
      })
    },
  )
  const { width, height } = bitmap
  if (width * height > MAX_PIXELS) {
    bitmap.close()
    throw new KeeplightError(
      'input',
      `${name}: ${width}×${height} is more than ${MAX_PIXELS / 1e6} million pixels; make it smaller`,
    )
  }
  const context = new OffscreenCanvas(width, height).getContext('2d', { willReadFrequently: true })!
  context.fillStyle = 'white'
  context.fillRect(0, 0, width, height)
  context.drawImage(bitmap, 0, 0)
  bitmap.close()
  const { data: rgba } = context.getImageData(0, 0, width, height)
  const data = new Uint8Array(width * height * 3)
  for (let i = 0, j = 0; i < rgba.length; i += 4) {
    data[j++] = rgba[i]!
    data[j++] = rgba[i + 1]!
    data[j++] = rgba[i + 2]!
  }
  return { width, height, data }
}
