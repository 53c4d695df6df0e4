import { blobSource, bufferSource, httpSource, type ByteSource } from './model/byteSource.ts'
import { decodeSource } from './data/decodeSource.ts'
import { checkAgainstManifest, findManifest, hubAddress, unknownModel } from './model/manifest.ts'
import type { ModelManifest } from './model/manifestFormat.ts'
import { modelFromSource, type ModelOptions, type VisionModel } from './model/model.ts'
import type { ShardedSource } from './model/safetensorsSource.ts'
import { createDevice, type Device } from './runtime/device.ts'
import { KeeplightError } from './runtime/errors.ts'

/**
 * The encoder that comes with the package. The address is written out so that bundlers find the file;
 * it holds from `src/` and from `dist/` alike.
 */
export const keeplightTinyUrl = (): URL =>
  new URL('../weights/keeplight-tiny/model.safetensors', import.meta.url)

/** Name of the encoder that comes with the package. */
export const DEFAULT_MODEL = 'keeplight-tiny'

/** A model's name, the address of its file, or the file itself; in Node also a path. */
export type ModelSource = string | URL | Blob | ArrayBuffer

export interface LoadProgress {
  /** `download`: into the cache, in Node; `read`: from where the model is. */
  readonly phase: 'download' | 'read'
  readonly bytes: number
  readonly total: number
}

export interface LoadOptions extends Omit<ModelOptions, 'device' | 'onProgress' | 'signal'> {
  /** Default: one of the model's own, which `model.dispose()` closes. */
  readonly device?: Device
  readonly onProgress?: (progress: LoadProgress) => void
  readonly signal?: AbortSignal
}

/**
 * Loads an encoder in a page.
 *
 * @param source the name of a model (`keeplight-tiny`, `clip-vit-b-32`, `facebook/dino-vits8`, …; see
 *   `manifests`), which is read from the Hugging Face hub; the address of a safetensors file or of a
 *   `model.safetensors.index.json`; or the file itself. Only the tensors of the image tower are fetched.
 * @throws KeeplightError `input` when it can't be fetched, `format` when it is no known encoder or
 *   not the one that was named
 */
export async function loadModel(
  source: ModelSource,
  given: LoadOptions = {},
): Promise<VisionModel> {
  const options = { decode: decodeSource, ...given }
  return makeModel(await findWeights(source, options), options, () => createDevice())
}

/** The weights of a model as they were found; nothing but their beginning is read yet. */
export interface FoundWeights {
  readonly name: string
  readonly source: ByteSource | ShardedSource
  /** What is known of a model that was asked for by its name. */
  readonly manifest?: ModelManifest
}

/** Opens the weights where a page can: an address, a file of the visitor's, memory. */
export async function findWeights(
  source: ModelSource,
  { signal }: LoadOptions,
): Promise<FoundWeights> {
  if (source instanceof ArrayBuffer) {
    return { name: 'model', source: bufferSource('model', source) }
  }
  if (source instanceof Blob) {
    const name = source instanceof File ? source.name : 'model'
    return { name, source: blobSource(source, name) }
  }
  const manifest = typeof source === 'string' ? findManifest(source) : undefined
  if (manifest) {
    return {
      name: manifest.name,
      source: await openAddress(addressOf(manifest), signal),
      manifest,
    }
  }
  const isAddress = typeof source !== 'string' || /^[a-z]+:|[./]/i.test(source)
  if (!isAddress) throw unknownModel(source, 'the address of a safetensors file, or the file')
  return { name: String(source), source: await openAddress(source, signal) }
}

/** Where a page fetches a named model from. */
function addressOf({ repository, revision, commit, file }: ModelManifest): URL {
  if (repository === null || revision === null) return keeplightTinyUrl()
  return hubAddress({ repository, revision: commit ?? revision, file })
}

/** A safetensors file, or the files of a `model.safetensors.index.json`, behind an address. */
async function openAddress(
  address: string | URL,
  signal: AbortSignal | undefined,
): Promise<ByteSource | ShardedSource> {
  const options = signal ? { signal } : {}
  const text = String(address)
  // A page made these itself: their bytes are in its memory.
  if (/^(blob|data):/.test(text)) return blobSource(await (await fetch(text)).blob(), 'model')
  const file = await httpSource(address, options)
  if (!/\.index\.json$/.test(text.replace(/[?#].*$/, ''))) return file
  const index = await readIndex(file, signal)
  const base = typeof location === 'undefined' ? undefined : location.href
  const place = new URL(text, base)
  return { name: file.name, index, open: (part) => httpSource(new URL(part, place), options) }
}

/** Far more than an index has, and little enough for memory. */
const MAX_INDEX_BYTES = 64e6

/** The text of an index of shards. */
export async function readIndex(file: ByteSource, signal?: AbortSignal): Promise<string> {
  try {
    if (file.size > MAX_INDEX_BYTES) {
      throw new KeeplightError(
        'format',
        `${file.name}: ${file.size} bytes are too many for an index of weights`,
      )
    }
    return new TextDecoder().decode(await file.read(0, file.size, signal))
  } finally {
    await file.close?.()
  }
}

/**
 * Builds the encoder; the one place where weights become a model.
 *
 * @param create makes a device where the options name none
 */
export async function makeModel(
  { name, source, manifest }: FoundWeights,
  options: LoadOptions,
  create: () => Promise<Device>,
): Promise<VisionModel> {
  const device = options.device ?? (await create())
  let model: VisionModel | undefined
  try {
    const preprocess = options.preprocess ?? manifest?.preprocess
    const { onProgress, ...others } = options
    model = await modelFromSource(name, source, {
      ...others,
      device,
      ...(preprocess && { preprocess }),
      ...(onProgress && {
        onProgress: (progress: { bytes: number; total: number }) =>
          onProgress({ phase: 'read', ...progress }),
      }),
    })
    if (manifest) checkAgainstManifest(manifest, model)
    if (!options.device) model.onDispose(() => device.close())
    return model
  } catch (error) {
    await model?.dispose()
    if (!options.device) device.close()
    throw error
  }
}
