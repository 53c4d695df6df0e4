import { open } from 'node:fs/promises'
import type { ImageDecoder, ImageInput } from '../model/imageInput.ts'
import { pixelsOf } from '../model/imageInput.ts'
import { KeeplightError } from '../runtime/errors.ts'
import { fetchImage, unknownKind } from './decodeSource.ts'
import { maximumFileBytes } from './limits.ts'

/** Decodes for `embed` in Node: files by sharp, at their full size, since only Keeplight may resample. */
export const decodeSource: ImageDecoder = async (image, { name, signal }) => {
  const pixels = pixelsOf(image, name)
  if (pixels) return pixels
  // Loaded with the first file: importing it blocks image loaders for the whole process.
  const { decodeErrorMessage, decodePixels } = await import('./decodeImage.node.ts')
  const bytes = await bytesOf(image, name, maximumFileBytes, signal)
  if (bytes.length === 0) throw new KeeplightError('input', `${name}: the file is empty`)
  if (bytes.length > maximumFileBytes) throw tooLarge(name, bytes.length, maximumFileBytes)
  try {
    return await decodePixels(bytes)
  } catch (cause) {
    throw new KeeplightError('input', `${name}: ${decodeErrorMessage(cause)}`, { cause })
  }
}

async function bytesOf(
  image: ImageInput,
  name: string,
  most: number,
  signal: AbortSignal | undefined,
): Promise<Uint8Array> {
  if (image instanceof Uint8Array) return image
  if (image instanceof ArrayBuffer) return new Uint8Array(image)
  if (typeof image === 'string' || image instanceof URL) {
    if (!/^(https?|data|blob):/.test(String(image))) return readFile(image, name, most, signal)
    image = await fetchImage(image, name, signal)
  }
  if (!(image instanceof Blob)) throw unknownKind(image, name)
  if (image.size > most) throw tooLarge(name, image.size, most)
  return new Uint8Array(await image.arrayBuffer())
}

async function readFile(
  path: string | URL,
  name: string,
  most: number,
  signal: AbortSignal | undefined,
): Promise<Uint8Array> {
  try {
    const file = await open(path)
    try {
      const { size } = await file.stat()
      if (size > most) throw tooLarge(name, size, most)
      return await file.readFile({ signal })
    } finally {
      await file.close()
    }
  } catch (cause) {
    if (cause instanceof KeeplightError) throw cause
    if (signal?.aborted) throw new KeeplightError('aborted', 'embed: stopped')
    const { code } = cause as NodeJS.ErrnoException
    const reason = code === 'ENOENT' ? 'there is no such file' : String(cause)
    throw new KeeplightError('input', `${name}: ${reason}`, { cause })
  }
}

const tooLarge = (name: string, size: number, most: number): KeeplightError =>
  new KeeplightError('input', `${name}: the file has ${size} bytes; at most ${most} are read`)
