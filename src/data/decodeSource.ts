import { pixelsOf, type ImageDecoder, type ImageInput } from '../model/imageInput.ts'
import type { Pixels } from '../model/preprocess.ts'
import { KeeplightError } from '../runtime/errors.ts'
import { assertDrawable, decodeImage, drawPixels } from './decode.ts'

/** Decodes for `embed` in a page or its worker: files by the browser, and whatever a canvas draws. */
export const decodeSource: ImageDecoder = async (image, { name, signal }) => {
  const pixels = pixelsOf(image, name) ?? (await drawn(image, name))
  if (pixels) return pixels
  if (image instanceof Blob) return decodeImage(image, { name })
  if (image instanceof Uint8Array || image instanceof ArrayBuffer) {
    return decodeImage(new Blob([image as Uint8Array<ArrayBuffer>]), { name })
  }
  if (typeof image === 'string' || image instanceof URL) {
    return decodeImage(await fetchImage(image, name, signal), { name })
  }
  throw unknownKind(image, name)
}

/** The file at an address. */
export async function fetchImage(
  address: string | URL,
  name: string,
  signal: AbortSignal | undefined,
): Promise<Blob> {
  const response = await fetch(address, { signal: signal ?? null }).catch((cause: unknown) => {
    if (signal?.aborted) throw new KeeplightError('aborted', 'embed: stopped')
    throw new KeeplightError('input', `${name}: it can't be fetched (${String(cause)})`, { cause })
  })
  if (!response.ok) {
    throw new KeeplightError('input', `${name}: the server answered ${response.status}`)
  }
  return response.blob()
}

/** The error for what is no picture. */
export function unknownKind(image: unknown, name: string): KeeplightError {
  const kind = (image as object | null)?.constructor?.name ?? String(image)
  return new KeeplightError(
    'input',
    `${name}: a ${kind} is no picture; expected pixels, a Blob, a file's bytes, an address, or what a ` +
      'canvas draws',
  )
}

/** A kind of thing that a canvas draws, and its size; a worker lacks some of them. */
interface Drawable {
  readonly is: (image: ImageInput) => boolean
  readonly size: (image: never) => readonly [number, number]
  /** Why it may have no pixels yet. */
  readonly empty: string
}

const named = (name: string) => (image: ImageInput) => {
  const constructor = (globalThis as Record<string, unknown>)[name]
  return typeof constructor === 'function' && image instanceof constructor
}

const drawables: readonly Drawable[] = [
  {
    is: named('HTMLImageElement'),
    size: (image: HTMLImageElement) => [image.naturalWidth, image.naturalHeight],
    empty: 'the element has no picture of its own size; wait for its load event, or embed the file',
  },
  {
    is: named('HTMLVideoElement'),
    size: (video: HTMLVideoElement) =>
      video.readyState < HTMLMediaElement.HAVE_CURRENT_DATA
        ? [0, 0]
        : [video.videoWidth, video.videoHeight],
    empty: 'the video has no frame yet; wait for its loadeddata event',
  },
  {
    is: named('VideoFrame'),
    size: (frame: VideoFrame) =>
      frame.format === null && frame.codedWidth === 0
        ? [0, 0]
        : [frame.displayWidth, frame.displayHeight],
    empty: 'the frame is closed',
  },
  {
    is: named('HTMLCanvasElement'),
    size: ({ width, height }: HTMLCanvasElement) => [width, height],
    empty: 'the canvas has no pixels',
  },
  {
    is: named('OffscreenCanvas'),
    size: ({ width, height }: OffscreenCanvas) => [width, height],
    empty: 'the canvas has no pixels',
  },
  {
    is: named('ImageBitmap'),
    size: ({ width, height }: ImageBitmap) => [width, height],
    empty: 'the bitmap is closed',
  },
]

/** What a canvas draws of it, at its own size; undefined for all else. Reads before it waits. */
async function drawn(image: ImageInput, name: string): Promise<Pixels | undefined> {
  const kind = drawables.find(({ is }) => is(image))
  if (!kind) return undefined
  if (named('HTMLImageElement')(image) && !(image as HTMLImageElement).complete) {
    await (image as HTMLImageElement).decode().catch(() => {})
  }
  const [width, height] = kind.size(image as never)
  if (width === 0 || height === 0) throw new KeeplightError('input', `${name}: ${kind.empty}`)
  assertDrawable(name, width, height)
  try {
    return drawPixels(image as CanvasImageSource, width, height)
  } catch (cause) {
    const remedy =
      cause instanceof DOMException && cause.name === 'SecurityError'
        ? 'it comes from another origin; give the element crossorigin="anonymous", and its server CORS'
        : String(cause)
    throw new KeeplightError('input', `${name}: its pixels can't be read; ${remedy}`, { cause })
  }
}
