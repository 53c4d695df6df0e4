import { KeeplightError } from '../runtime/errors.ts'
import type { Pixels } from './preprocess.ts'

/**
 * One picture. Everywhere: RGB `Pixels`, the same with a fourth byte of alpha (as `ImageData` has), a
 * Blob or File, a file's bytes, an address. In Node also a path; in a page also whatever a canvas draws.
 */
export type ImageInput =
  | Pixels
  | ImageData
  | Blob
  | ArrayBuffer
  | Uint8Array
  | string
  | URL
  | ImageBitmap
  | OffscreenCanvas
  | HTMLCanvasElement
  | HTMLImageElement
  | HTMLVideoElement
  | VideoFrame

/** One picture or many, of mixed kinds. */
export type Images = ImageInput | Iterable<ImageInput> | AsyncIterable<ImageInput>

/**
 * Makes pixels of a picture; what a canvas or a video shows is read before it returns.
 *
 * @throws KeeplightError `input`, whose message begins with `name`
 */
export type ImageDecoder = (
  image: ImageInput,
  options: { readonly name: string; readonly signal?: AbortSignal | undefined },
) => Promise<Pixels>

/** Strings and bytes are iterable too, but are one picture each. */
export function isMany(images: Images): images is Iterable<ImageInput> | AsyncIterable<ImageInput> {
  if (typeof images !== 'object' || images === null || ArrayBuffer.isView(images)) return false
  return Symbol.asyncIterator in images || Symbol.iterator in images
}

/** What errors call a picture: its place, and its own name if it has one. */
export function nameOf(image: ImageInput, index: number): string {
  const own =
    typeof image === 'string'
      ? image
      : image instanceof URL
        ? image.href
        : typeof File !== 'undefined' && image instanceof File
          ? image.name
          : ''
  const short = own.length > 80 ? `${own.slice(0, 40)}…${own.slice(-39)}` : own
  return `image ${index}${short && ` (${short})`}`
}

/**
 * The pixels of what holds them as bytes, transparency laid over white; undefined for all else.
 *
 * @throws KeeplightError `input` when there are neither three nor four bytes for each pixel
 */
export function pixelsOf(image: ImageInput, name: string): Pixels | undefined {
  if (typeof image !== 'object' || !('width' in image && 'height' in image && 'data' in image)) {
    return undefined
  }
  const { width, height, data } = image
  const area = width * height
  if (area > 0 && data.length === area * 3) return { width, height, data: data as Uint8Array }
  if (area > 0 && data.length === area * 4) {
    return { width, height, data: overWhite(data as Uint8Array, area) }
  }
  throw new KeeplightError(
    'input',
    `${name}: ${width}×${height} pixels with ${data.length} bytes; expected three bytes a pixel ` +
      '(RGB) or four (RGBA, not premultiplied)',
  )
}

function overWhite(rgba: ArrayLike<number>, area: number): Uint8Array {
  const rgb = new Uint8Array(area * 3)
  for (let i = 0; i < area; i++) {
    const alpha = rgba[4 * i + 3]!
    for (let c = 0; c < 3; c++) {
      rgb[3 * i + c] = Math.round((rgba[4 * i + c]! * alpha + 255 * (255 - alpha)) / 255)
    }
  }
  return rgb
}

/** Decodes nothing: for models that were made of bytes alone, where no decoder came with them. */
export const pixelsOnly: ImageDecoder = async (image, { name }) => {
  const pixels = pixelsOf(image, name)
  if (pixels) return pixels
  throw new KeeplightError(
    'usage',
    `${name}: this model was made without a decoder and takes decoded pixels only; ` +
      'make it by loadModel, or give modelFromBytes the option decode',
  )
}
