import type { HeadWeights } from '../model/mlpHead.ts'
import {
  parseSafetensors,
  serializeSafetensors,
  type SafetensorsFile,
} from '../model/safetensors.ts'
import { KeeplightError } from '../runtime/errors.ts'
import { headKinds, type HeadKind, type HeadSizes } from './headKinds.ts'

/**
 * A trained head as a safetensors file: its weights by PyTorch's names, and in the metadata what it
 * belongs to:
 *
 * - `format`: `keeplight-head`
 * - `method`: what trained it, and so how its logits are computed; `scp` where it is absent
 * - `model`, `model_hash`: the encoder whose features it takes
 * - `k`: number of clusters
 * - `settings`: JSON, how it was trained
 */

const FORMAT = 'keeplight-head'

/** What a head belongs to and comes from. */
export interface HeadAbout {
  /** Name of the encoder whose features it takes. */
  readonly model: string
  /** The encoder's `hash`. */
  readonly modelHash: string
  /** `scp`, or another name of `headKinds`. */
  readonly method: string
  /** How it was trained; plain JSON values. */
  readonly settings: Readonly<Record<string, unknown>>
}

/** A trained head that was read from its file. */
export interface SavedHead extends HeadAbout, HeadSizes {
  readonly weights: HeadWeights
}

/**
 * The bytes of a head's file.
 *
 * @param more further entries of the metadata
 * @throws KeeplightError `validation` when the weights are no head of this method
 */
export function serializeHead(
  weights: HeadWeights,
  about: HeadAbout,
  more: Readonly<Record<string, string>> = {},
): Uint8Array<ArrayBuffer> {
  const kind = headKinds[about.method]
  const sizes = kind ? kind.sizesOf(shapesOf(weights)) : 'is of an unknown method'
  if (typeof sizes === 'string') {
    throw new KeeplightError('validation', `head by ${about.method}: it ${sizes}`)
  }
  const tensors = Array.from(
    weights,
    ([name, { shape, data }]) => [name, { dtype: 'F32', shape, data }] as const,
  )
  return serializeSafetensors(Object.fromEntries(tensors), {
    ...more,
    format: FORMAT,
    model: about.model,
    model_hash: about.modelHash,
    k: String(sizes.k),
    method: about.method,
    settings: JSON.stringify(about.settings),
  })
}

/**
 * Reads a head's file, checked whole: names, shapes, and that all weights are finite.
 *
 * @param name what errors call the file
 * @throws KeeplightError `format` when it is damaged, another kind of file, or of a method that this
 *   version doesn't know
 */
export function loadHead(bytes: ArrayBuffer | Uint8Array, name = 'head.safetensors'): SavedHead {
  const bad = (problem: string): KeeplightError =>
    new KeeplightError('format', `${name}: ${problem}`)
  const file = parse(bytes, name)
  const { metadata } = file
  const format = metadata.get('format')
  if (format !== FORMAT) {
    const what = format === undefined ? 'names no format' : `has the format ${format}`
    throw bad(
      `expected a head that keeplight cluster saved (format ${FORMAT}), this file ${what}. ` +
        'Give the head.safetensors of a run.',
    )
  }
  const method = metadata.get('method') ?? 'scp'
  const kind = Object.hasOwn(headKinds, method) ? headKinds[method] : undefined
  if (!kind) {
    throw bad(
      `made by the method ${method}, expected one of ${Object.keys(headKinds).join(', ')}. ` +
        'Take the version of Keeplight that wrote it.',
    )
  }
  const sizes = checkedSizes(kind, file, bad)
  const model = metadata.get('model')
  const modelHash = metadata.get('model_hash')
  if (model === undefined || modelHash === undefined) {
    throw bad('its metadata lack model or model_hash, the encoder that it belongs to')
  }
  const settings = parseSettings(metadata.get('settings'))
  if (!settings) throw bad('its metadata have settings that are no JSON object')
  return { model, modelHash, method, settings, ...sizes, weights: weightsOf(file, bad) }
}

function parse(bytes: ArrayBuffer | Uint8Array, name: string): SafetensorsFile {
  try {
    return parseSafetensors(bytes)
  } catch (cause) {
    if (!(cause instanceof KeeplightError)) throw cause
    throw new KeeplightError(cause.code, `${name}: ${cause.message}`, { cause })
  }
}

function checkedSizes(
  kind: HeadKind,
  { tensors, metadata }: SafetensorsFile,
  bad: (problem: string) => KeeplightError,
): HeadSizes {
  const sizes = kind.sizesOf(shapesOf(tensors))
  if (typeof sizes === 'string') throw bad(`not a whole head: it ${sizes}`)
  if (sizes.k < 2) throw bad(`a head of ${sizes.k} cluster, expected two or more`)
  const k = metadata.get('k')
  if (k !== String(sizes.k)) {
    throw bad(`its metadata say ${k ?? 'no number of'} clusters, its last layer has ${sizes.k}`)
  }
  return sizes
}

function weightsOf(file: SafetensorsFile, bad: (problem: string) => KeeplightError): HeadWeights {
  return new Map(
    Array.from(file.tensors, ([name, { shape }]) => {
      const data = file.float32(name)
      const wrong = data.findIndex((value) => !Number.isFinite(value))
      if (wrong >= 0) throw bad(`element ${wrong} of ${name} is ${data[wrong]}, expected a number`)
      return [name, { shape, data }]
    }),
  )
}

const shapesOf = (
  tensors: ReadonlyMap<string, { readonly shape: readonly number[] }>,
): Map<string, readonly number[]> =>
  new Map(Array.from(tensors, ([name, { shape }]) => [name, shape]))

function parseSettings(text = '{}'): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text)
    const object = typeof value === 'object' && value !== null && !Array.isArray(value)
    return object ? (value as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}

/**
 * Checks that a model is the one that a head, or a file of features, belongs to.
 *
 * @param name what errors call the head or the file
 * @throws KeeplightError `input` naming both models and their hashes
 */
export function assertSameModel(
  owner: Pick<SavedHead, 'model' | 'modelHash' | 'dimension'>,
  model: { readonly name: string; readonly hash: string; readonly dimension: number },
  name = 'head',
): void {
  if (owner.modelHash === model.hash && owner.dimension === model.dimension) return
  throw new KeeplightError(
    'input',
    `${name}: belongs to the model ${owner.model} (features of ${owner.dimension} values, hash ` +
      `${owner.modelHash}), this is ${model.name} (${model.dimension} values, hash ${model.hash}). ` +
      `Take features of ${owner.model}, or cluster with ${model.name}.`,
  )
}
