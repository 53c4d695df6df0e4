import { loadModel, type Device, type VisionModel } from '../index.node.ts'
import type { Context } from './context.ts'
import type { ModelSettings } from './settings.ts'
import type { Progress } from './terminal.ts'

/** Loads a model by its name or path, showing the download of one that is not there yet. */
export async function openModel(
  { model, dtype }: ModelSettings,
  device: Device,
  { terminal, signal }: Context,
): Promise<VisionModel> {
  const bar = downloadBar({ terminal, signal })
  try {
    return await loadModel(model, {
      device,
      dtype,
      signal,
      onProgress: (progress) => {
        if (progress.phase === 'download') bar.update(progress)
      },
    })
  } finally {
    bar.stop()
  }
}

/** A bar that appears with the first bytes, since most models are there already. */
export function downloadBar({ terminal }: Context): {
  update(progress: { bytes: number; total: number }): void
  stop(): void
} {
  let bar: Progress | undefined
  const mega = (bytes: number): number => Math.round(bytes / 1e6)
  return {
    update({ bytes, total }) {
      bar ??= terminal.progress('download', mega(total), 'MB', mega(bytes))
      bar.update(mega(bytes))
    },
    stop() {
      bar?.stop()
      bar = undefined
    },
  }
}
