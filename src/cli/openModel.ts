import { loadModel, type Device, type VisionModel } from '../index.node.ts'
import { KeeplightError } from '../runtime/errors.ts'
import type { Context } from './context.ts'
import { MixedModel, modelNames } from './mixedModel.ts'
import type { ModelSettings } from './settings.ts'
import type { Progress, Terminal } from './terminal.ts'

/**
 * Loads the encoder that `--model` means, or all of those that it joins by `+`.
 *
 * @throws KeeplightError as `loadModel`, `usage` for a list that makes no sense
 */
export async function openEncoder(
  settings: ModelSettings,
  device: Device,
  context: Context,
): Promise<VisionModel | MixedModel> {
  const names = await modelNames(settings.model)
  const models: VisionModel[] = []
  for (const model of names) models.push(await load({ ...settings, model }, device, context))
  return names.length === 1 ? models[0] : new MixedModel(models)
}

/** Loads the one model that a command works with by its name or path. */
export async function openModel(
  settings: ModelSettings,
  device: Device,
  context: Context,
): Promise<VisionModel> {
  const names = await modelNames(settings.model)
  if (names.length === 1) return load(settings, device, context)
  throw new KeeplightError(
    'usage',
    `--model ${settings.model}: this command works with one model, not with ${names.length}`,
  )
}

/** Loads a model, showing the download of one that is not there yet. */
async function load(
  { model, dtype }: ModelSettings,
  device: Device,
  { terminal, signal }: Context,
): Promise<VisionModel> {
  const download = progressBar('download', terminal)
  const read = progressBar('loading', terminal)
  try {
    return await loadModel(model, {
      device,
      dtype,
      signal,
      onProgress: ({ phase, bytes, total }) => {
        if (phase === 'download') download.update({ bytes, total })
        else if (total >= SLOW_BYTES) read.update({ bytes, total })
        if (phase === 'read') download.stop()
      },
    })
  } finally {
    download.stop()
    read.stop()
  }
}

/** Weights that take seconds to read; less is there at once. */
const SLOW_BYTES = 200e6

/** A bar that appears with the first bytes, since most models are there already. */
export function progressBar(
  label: string,
  terminal: Terminal,
): {
  update(progress: { bytes: number; total: number }): void
  stop(): void
} {
  let bar: Progress | undefined
  const mega = (bytes: number): number => Math.round(bytes / 1e6)
  return {
    update({ bytes, total }) {
      bar ??= terminal.progress(label, mega(total), 'MB', mega(bytes))
      bar.update(mega(bytes))
    },
    stop() {
      bar?.stop()
      bar = undefined
    },
  }
}

/** The adapter in a few words. */
export function describeAdapter({ adapter }: Device): string {
  return adapter.description || [adapter.vendor, adapter.architecture].join(' ').trim() || 'GPU'
}
