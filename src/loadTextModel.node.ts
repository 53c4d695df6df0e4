import { readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import {
  fetchMerges,
  findText,
  makeTextModel,
  type FoundText,
  type LoadTextOptions,
} from './loadTextModel.ts'
import type { ModelSource } from './loadModel.ts'
import { locateModel, type NodeLoadOptions } from './loadModel.node.ts'
import { fileSource } from './model/byteSource.node.ts'
import { hubEnvironment } from './model/hubEnvironment.node.ts'
import type { TextModel } from './model/text/textModel.ts'
import { createDevice } from './runtime/adapter.node.ts'

/** Files with merges, as they lie beside a model's weights. */
const MERGES = ['tokenizer.json', 'merges.txt', 'bpe_simple_vocab_16e6.txt.gz']

/**
 * Loads CLIP's text tower with its tokenizer in Node; of the file its vision half is not read.
 *
 * @param source the name of a CLIP model, the path of a safetensors file or of its folder, an address, or
 *   the bytes
 * @throws KeeplightError `input` when it can't be had, `format` when it has no text tower or another
 *   vocabulary than the merges, `usage` without merges, `aborted`
 */
export async function loadTextModel(
  source: ModelSource,
  options: LoadTextOptions & Pick<NodeLoadOptions, 'env'> = {},
): Promise<TextModel> {
  const { env, ...rest } = options
  const address =
    source instanceof URL ? source.protocol !== 'file:' : /^https?:/.test(String(source))
  const found =
    address || source instanceof Blob || source instanceof ArrayBuffer
      ? await findText(source, rest)
      : await findLocal(source, rest, env)
  return makeTextModel(found, rest, () => createDevice())
}

async function findLocal(
  source: string | URL,
  { signal, merges }: LoadTextOptions,
  env: NodeLoadOptions['env'],
): Promise<FoundText> {
  const located = await locateModel(source, { ...(env && { env }), ...(signal && { signal }) })
  const { name, path, manifest } = located
  const beside = merges ? undefined : await mergesBeside(path)
  if (beside || merges || !manifest) return { name, source: await fileSource(path), merges: beside }
  // The cache holds the weights alone; merges are small, and come with each start.
  const { endpoint, offline } = hubEnvironment(env ?? process.env)
  if (offline) return { name, source: await fileSource(path) }
  const fetched = await fetchMerges(manifest, signal, endpoint)
  return { name, source: await fileSource(path), merges: fetched }
}

async function mergesBeside(path: string): Promise<Uint8Array<ArrayBuffer> | undefined> {
  for (const file of MERGES) {
    const bytes = await readFile(join(dirname(path), file)).catch(() => undefined)
    if (bytes) return new Uint8Array(bytes)
  }
  return undefined
}
