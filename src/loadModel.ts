import { decodeSource } from './data/decodeSource.ts'
import { KeeplightError } from './runtime/errors.ts'
import { modelFromBytes, type ModelOptions, type VisionModel } from './model/model.ts'

/**
 * The encoder that comes with the package. The address is written out so that bundlers find the file;
 * it holds from `src/` and from `dist/` alike.
 */
export const keeplightTinyUrl = (): URL =>
  new URL('../weights/keeplight-tiny/model.safetensors', import.meta.url)

/** Name of the encoder that comes with the package. */
export const DEFAULT_MODEL = 'keeplight-tiny'

/**
 * Loads an encoder in a page.
 *
 * @param source `keeplight-tiny` (the default, part of the package), an address of a safetensors
 *   file, or the file itself
 * @throws KeeplightError `input` when it can't be fetched, `format` when it is no known encoder
 */
export async function loadModel(
  source: string | URL | Blob | ArrayBuffer,
  given: ModelOptions,
): Promise<VisionModel> {
  const options = { decode: decodeSource, ...given }
  if (source instanceof ArrayBuffer) return modelFromBytes('model', new Uint8Array(source), options)
  if (source instanceof Blob) {
    const name = source instanceof File ? source.name : 'model'
    return modelFromBytes(name, new Uint8Array(await source.arrayBuffer()), options)
  }
  const url = source === DEFAULT_MODEL ? keeplightTinyUrl() : source
  const response = await fetch(url).catch((cause: unknown) => {
    throw new KeeplightError(
      'input',
      `the weights at ${String(url)} can't be fetched: ${String(cause)}`,
    )
  })
  if (!response.ok) {
    throw new KeeplightError(
      'input',
      `the weights at ${String(url)} can't be fetched: the server answered ${response.status}`,
    )
  }
  return modelFromBytes(String(source), new Uint8Array(await response.arrayBuffer()), options)
}
