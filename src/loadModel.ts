import { decodeSource } from './data/decodeSource.ts'
import { checkAgainstManifest, findManifest, hubAddress, unknownModel } from './model/manifest.ts'
import type { ModelManifest } from './model/manifestFormat.ts'
import { modelFromBytes, type ModelOptions, type VisionModel } from './model/model.ts'
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
 *   `manifests`), the address of a safetensors file, or the file itself. Without `./` or `https://`
 *   before it a name's file is fetched from the Hugging Face hub.
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

/** The weights of a model as they were found. */
export interface FoundWeights {
  readonly name: string
  readonly bytes: Uint8Array<ArrayBuffer>
  /** What is known of a model that was asked for by its name. */
  readonly manifest?: ModelManifest
  /** Whether the bytes are as the manifest says; else they are compared. */
  readonly verified?: boolean
}

/** Fetches or takes over the weights. */
export async function findWeights(
  source: ModelSource,
  { signal }: LoadOptions,
): Promise<FoundWeights> {
  if (source instanceof ArrayBuffer) return { name: 'model', bytes: new Uint8Array(source) }
  if (source instanceof Blob) {
    const name = source instanceof File ? source.name : 'model'
    return { name, bytes: new Uint8Array(await source.arrayBuffer()) }
  }
  const manifest = typeof source === 'string' ? findManifest(source) : undefined
  if (manifest) {
    return {
      name: manifest.name,
      bytes: await fetchBytes(addressOf(manifest), signal),
      manifest,
      verified: manifest.sha256 === null,
    }
  }
  const isAddress = typeof source !== 'string' || /^[a-z]+:|[./]/i.test(source)
  if (!isAddress) throw unknownModel(source, 'the address of a safetensors file, or the file')
  return { name: String(source), bytes: await fetchBytes(source, signal) }
}

/** Where a page fetches a named model from. */
function addressOf({ repository, revision, commit, file }: ModelManifest): URL {
  if (repository === null || revision === null) return keeplightTinyUrl()
  return hubAddress({ repository, revision: commit ?? revision, file })
}

async function fetchBytes(
  url: string | URL,
  signal: AbortSignal | undefined,
): Promise<Uint8Array<ArrayBuffer>> {
  const failed = (reason: string): KeeplightError =>
    signal?.aborted
      ? new KeeplightError('aborted', 'loading the model was stopped')
      : new KeeplightError('input', `the weights at ${String(url)} can't be fetched: ${reason}`)
  const response = await fetch(url, signal ? { signal } : {}).catch((cause: unknown) => {
    throw failed(String(cause))
  })
  if (!response.ok) throw failed(`the server answered ${response.status}`)
  const bytes = await response.arrayBuffer().catch((cause: unknown) => {
    throw failed(String(cause))
  })
  return new Uint8Array(bytes)
}

/**
 * Builds the encoder; the one place where weights become a model.
 *
 * @param create makes a device where the options name none
 */
export async function makeModel(
  { name, bytes, manifest, verified = true }: FoundWeights,
  options: LoadOptions,
  create: () => Promise<Device>,
): Promise<VisionModel> {
  const device = options.device ?? (await create())
  let model: VisionModel | undefined
  try {
    const preprocess = options.preprocess ?? manifest?.preprocess
    const { onProgress, ...others } = options
    model = await modelFromBytes(name, bytes, {
      ...others,
      device,
      ...(preprocess && { preprocess }),
      ...(onProgress && {
        onProgress: (progress: { bytes: number; total: number }) =>
          onProgress({ phase: 'read', ...progress }),
      }),
    })
    if (manifest) checkAgainstManifest(manifest, model)
    if (manifest && !verified && model.hash !== manifest.sha256) {
      throw new KeeplightError(
        'format',
        `model ${name}: what was fetched has SHA-256 ${model.hash}, expected ${manifest.sha256}`,
      )
    }
    if (!options.device) model.onDispose(() => device.close())
    return model
  } catch (error) {
    await model?.dispose()
    if (!options.device) device.close()
    throw error
  }
}
