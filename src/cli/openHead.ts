import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { loadHead, type Device, type SavedHead, type VisionModel } from '../index.node.ts'
import type { WeightDtype } from '../index.node.ts'
import { KeeplightError } from '../runtime/errors.ts'
import type { Context } from './context.ts'
import type { MixedModel } from './mixedModel.ts'
import { openEncoder } from './openModel.ts'
import type { ModelSettings } from './settings.ts'

/** A head with the path that it was read from. */
export interface OpenedHead extends SavedHead {
  readonly path: string
}

/**
 * Reads a saved head.
 *
 * @param given the path of a head's file, or of the folder of a run
 * @throws KeeplightError `input` when there is none, `format` when it is no head
 */
export async function openHead(given: string): Promise<OpenedHead> {
  const folder = await stat(given).then(
    (entry) => entry.isDirectory(),
    () => false,
  )
  const path = folder ? join(given, 'head.safetensors') : given
  const bytes = await readFile(path).catch((cause: NodeJS.ErrnoException) => {
    const reason = cause.code === 'ENOENT' ? 'there is no such file' : cause.message
    throw new KeeplightError(
      'input',
      `${path}: ${reason}. Give the head.safetensors of a run of keeplight cluster, or its folder.`,
      { cause },
    )
  })
  return { ...loadHead(bytes, path), path }
}

/** Settings of a model that may be left out where a head or a file of features names it. */
export type OptionalModel = Partial<ModelSettings>

/** Where features come from: a head's own model, or that of a file of features. */
interface Origin {
  /** Name of the model, and its hash, which ends in the dtype where that is not f32. */
  readonly model: string
  readonly modelHash: string
  /** What names the model, for errors. */
  readonly from: string
}

/**
 * Loads the model that a head or features belong to, unless another is given; whether the hashes agree
 * is the caller's to check.
 */
export async function openModelOf(
  { model, modelHash, from }: Origin,
  given: OptionalModel,
  device: Device,
  context: Context,
): Promise<VisionModel | MixedModel> {
  const settings = { model: given.model ?? model, dtype: given.dtype ?? dtypeOf(modelHash) }
  try {
    return await openEncoder(settings, device, context)
  } catch (cause) {
    if (given.model !== undefined || !(cause instanceof KeeplightError)) throw cause
    if (cause.code !== 'input') throw cause
    // A model that was given as a path is known by its file's name alone.
    throw new KeeplightError(
      'input',
      `${from} belongs to the model ${model}, which can't be had by this name (${cause.message}). ` +
        'Give its path as --model.',
      { cause },
    )
  }
}

function dtypeOf(hash: string): WeightDtype {
  return (/-(f16|int8)$/.exec(hash)?.[1] ?? 'f32') as WeightDtype
}
