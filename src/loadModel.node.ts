import { readdir, readFile, stat } from 'node:fs/promises'
import { basename, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { decodeSource } from './data/decodeSource.node.ts'
import {
  findWeights,
  keeplightTinyUrl,
  makeModel,
  type FoundWeights,
  type LoadOptions,
  type ModelSource,
} from './loadModel.ts'
import { downloadModel } from './model/hub.node.ts'
import { findManifest, unknownModel } from './model/manifest.ts'
import type { ModelManifest } from './model/manifestFormat.ts'
import type { VisionModel } from './model/model.ts'
import { createDevice } from './runtime/adapter.node.ts'
import type { Environment } from './runtime/cacheFolder.node.ts'
import { KeeplightError } from './runtime/errors.ts'

export interface NodeLoadOptions extends LoadOptions {
  /** Variables that say where models are kept, such as `HF_HOME`. Default `process.env`. */
  readonly env?: Environment
}

/**
 * Loads an encoder in Node.
 *
 * @param source the name of a model (`keeplight-tiny`, `clip-vit-b-32`, `facebook/dino-vits8`, …; see
 *   `manifests`), which is downloaded to the Hugging Face cache unless it is there; the path of a
 *   safetensors file or of a folder that holds `model.safetensors`; an http address; or the bytes.
 *   A name goes before a path: write `./clip-vit-b-32` for a folder that has a model's name.
 * @throws KeeplightError `input` when it can't be had, `format` when it is no known encoder or not the
 *   one that was named, `usage` for Hugging Face variables that make no sense, `aborted`
 */
export async function loadModel(
  source: ModelSource,
  given: NodeLoadOptions = {},
): Promise<VisionModel> {
  const options = { decode: decodeSource, ...given }
  const local = typeof source === 'string' || (source instanceof URL && source.protocol === 'file:')
  const remote = !local || /^https?:/.test(String(source))
  const weights = remote
    ? await findWeights(source, options)
    : await readWeights(await locateModel(source, options))
  return makeModel(weights, options, () => createDevice())
}

/** A model on disk. */
export interface LocatedModel {
  readonly name: string
  readonly path: string
  readonly manifest?: ModelManifest
}

/** Finds the file that a name or path means, downloading what has a name and is not there. */
export async function locateModel(
  source: string | URL,
  { env = process.env, onProgress, signal }: NodeLoadOptions,
): Promise<LocatedModel> {
  const manifest = typeof source === 'string' ? findManifest(source) : undefined
  if (manifest) return { name: manifest.name, manifest, path: await pathOf(manifest) }
  const text = String(source)
  const path = text.startsWith('file:') ? fileURLToPath(text) : resolve(text)
  const entry = await stat(path).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code !== 'ENOENT') {
      throw new KeeplightError('input', `model ${text}: ${cause.message}`, { cause })
    }
  })
  if (entry) {
    const file = entry.isDirectory() ? await fileIn(text, path) : path
    return { name: basename(path), path: file }
  }
  if (/\.safetensors$|^\.{0,2}[/\\]|^file:/.test(text)) {
    throw new KeeplightError(
      'input',
      `model ${text}: there is no such file; give the path of a safetensors file or a model's name ` +
        '(keeplight models lists them)',
    )
  }
  throw unknownModel(text, 'the path of a safetensors file or of its folder, an address')

  async function pathOf(manifest: ModelManifest): Promise<string> {
    if (manifest.repository === null) return fileURLToPath(keeplightTinyUrl())
    return downloadModel(manifest, {
      env,
      ...(signal && { signal }),
      ...(onProgress && {
        onProgress: (progress) => onProgress({ phase: 'download', ...progress }),
      }),
    })
  }
}

/** The weights in a folder, as Hugging Face's repositories lay them out. */
async function fileIn(name: string, folder: string): Promise<string> {
  const files = await readdir(folder).catch((cause: unknown) => {
    throw new KeeplightError('input', `model ${name}: the folder can't be read: ${String(cause)}`)
  })
  if (files.includes('model.safetensors')) return join(folder, 'model.safetensors')
  const pickled = files.find((file) => /\.(bin|pth?|ckpt)$/.test(file))
  throw new KeeplightError(
    'input',
    `model ${name}: the folder has no model.safetensors` +
      (pickled
        ? `; ${pickled} is a Python pickle, which may run any code when it is read: convert it to safetensors`
        : '; give the path of the file'),
  )
}

async function readWeights({ name, path, manifest }: LocatedModel): Promise<FoundWeights> {
  const bytes = await readFile(path).catch((cause: unknown) => {
    throw new KeeplightError('input', `model ${name}: ${path} can't be read: ${String(cause)}`, {
      cause,
    })
  })
  return { name, bytes: new Uint8Array(bytes), ...(manifest && { manifest }) }
}
