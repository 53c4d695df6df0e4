import { readFile } from 'node:fs/promises'
import { basename } from 'node:path'
import { decodeSource } from './data/decodeSource.node.ts'
import { DEFAULT_MODEL, keeplightTinyUrl, loadModel as loadModelInPage } from './loadModel.ts'
import { modelFromBytes, type ModelOptions, type VisionModel } from './model/model.ts'
import { KeeplightError } from './runtime/errors.ts'

/**
 * Loads an encoder in Node.
 *
 * @param source `keeplight-tiny` (part of the package), the path of a safetensors file, an http
 *   address, or the bytes
 * @throws KeeplightError `input` when it can't be read, `format` when it is no known encoder
 */
export async function loadModel(
  source: string | URL | Blob | ArrayBuffer,
  given: ModelOptions,
): Promise<VisionModel> {
  const options = { decode: decodeSource, ...given }
  const remote = /^https?:/.test(String(source))
  if (remote || source instanceof Blob || source instanceof ArrayBuffer) {
    return loadModelInPage(source, options)
  }
  const path = source === DEFAULT_MODEL ? keeplightTinyUrl() : source
  const bytes = await readFile(path).catch((cause: unknown) => {
    const reason =
      (cause as NodeJS.ErrnoException).code === 'ENOENT' ? 'there is no such file' : String(cause)
    throw new KeeplightError(
      'input',
      `model ${String(source)}: ${reason}; give ${DEFAULT_MODEL} or the path of a safetensors file`,
      { cause },
    )
  })
  const name = source === DEFAULT_MODEL ? DEFAULT_MODEL : basename(String(source))
  return modelFromBytes(name, new Uint8Array(bytes), options)
}
