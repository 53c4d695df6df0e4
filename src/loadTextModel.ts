import { findManifest, hubAddress } from './model/manifest.ts'
import type { ModelManifest } from './model/manifestFormat.ts'
import { blobSource, bufferSource, httpSource, type ByteSource } from './model/byteSource.ts'
import {
  textModelFromSource,
  type TextModel,
  type TextModelOptions,
} from './model/text/textModel.ts'
import type { ModelSource } from './loadModel.ts'
import { createDevice, type Device } from './runtime/device.ts'
import { KeeplightError } from './runtime/errors.ts'

export interface LoadTextOptions extends Omit<TextModelOptions, 'device' | 'merges'> {
  /** Default: one of the model's own, which `dispose()` closes. Give that of the image encoder. */
  readonly device?: Device
  /**
   * The merges that come with the model; see {@link TextModelOptions}. Default: those of a named model
   * from the hub, and in Node those that lie beside the file.
   */
  readonly merges?: TextModelOptions['merges']
}

/** A text tower's file, and what is known of its merges. */
export interface FoundText {
  readonly name: string
  readonly source: ByteSource
  readonly merges?: Uint8Array<ArrayBuffer> | undefined
}

/**
 * Loads CLIP's text tower with its tokenizer in a page; of the file its vision half is not fetched.
 *
 * @param source the name of a CLIP model, the address of a safetensors file, or the file itself
 * @throws KeeplightError `input` when it can't be fetched, `format` when it has no text tower or another
 *   vocabulary than the merges, `usage` without merges, `aborted`
 */
export async function loadTextModel(
  source: ModelSource,
  options: LoadTextOptions = {},
): Promise<TextModel> {
  return makeTextModel(await findText(source, options), options, () => createDevice())
}

/** Opens what a page can: bytes, and what has an address. */
export async function findText(
  source: ModelSource,
  { signal, merges }: LoadTextOptions,
): Promise<FoundText> {
  const given = signal ? { signal } : {}
  if (source instanceof ArrayBuffer) return { name: 'model', source: bufferSource('model', source) }
  if (source instanceof Blob) {
    const name = source instanceof File ? source.name : 'model'
    return { name, source: blobSource(source, name) }
  }
  const manifest = typeof source === 'string' ? findManifest(source) : undefined
  if (!manifest) return { name: String(source), source: await httpSource(source, given) }
  const place = placeOf(manifest)
  return {
    name: manifest.name,
    merges: merges ? undefined : await fetchMerges(manifest, signal),
    source: await httpSource(hubAddress({ ...place, file: manifest.file }), given),
  }
}

function placeOf(manifest: ModelManifest): { repository: string; revision: string } {
  const { name, family, repository, revision, commit } = manifest
  if (family === 'clip' && repository !== null && revision !== null) {
    return { repository, revision: commit ?? revision }
  }
  throw new KeeplightError('input', `model ${name}: it has no text tower; only CLIP models do`)
}

/** The merges of a named model, from its repository on the hub. */
export async function fetchMerges(
  manifest: ModelManifest,
  signal: AbortSignal | undefined,
  endpoint?: string,
): Promise<Uint8Array<ArrayBuffer>> {
  const address = hubAddress({ ...placeOf(manifest), file: 'merges.txt' }, endpoint)
  const failed = (reason: string): KeeplightError =>
    signal?.aborted
      ? new KeeplightError('aborted', 'loading the model was stopped')
      : new KeeplightError('input', `the merges at ${String(address)} can't be fetched: ${reason}`)
  const response = await fetch(address, { signal: signal ?? null }).catch((cause: unknown) => {
    throw failed(String(cause))
  })
  if (!response.ok) throw failed(`the server answered ${response.status}`)
  return new Uint8Array(await response.arrayBuffer())
}

/**
 * Builds the text tower.
 *
 * @param create makes a device where the options name none
 */
export async function makeTextModel(
  found: FoundText,
  options: LoadTextOptions,
  create: () => Promise<Device>,
): Promise<TextModel> {
  const merges = options.merges ?? found.merges
  if (merges === undefined) {
    await found.source.close?.()
    throw new KeeplightError(
      'usage',
      `model ${found.name}: its merges are unknown; give the option merges: the bytes or the text of the ` +
        "model's tokenizer.json or merges.txt, or of OpenAI's bpe_simple_vocab_16e6.txt.gz",
    )
  }
  const device = options.device ?? (await create())
  try {
    const model = await textModelFromSource(found.name, found.source, {
      ...options,
      device,
      merges,
    })
    if (!options.device) model.onDispose(() => device.close())
    return model
  } catch (error) {
    if (!options.device) device.close()
    throw error
  }
}
