import { defaultCacheFolder } from '../data/cache.node.ts'
import { fileTuneStore, loadTuning, type Device, type TuneStore } from '../index.node.ts'
import type { Terminal } from './terminal.ts'

/** Where `keeplight tune` keeps what it found. */
export const tuneStore = (): TuneStore => fileTuneStore(defaultCacheFolder(process.env))

/** Takes over what `keeplight tune` found on this adapter, unless `KEEPLIGHT_TUNE` is `off`. */
export async function useTuning(device: Device, terminal: Terminal): Promise<void> {
  if (process.env.KEEPLIGHT_TUNE === 'off') return
  const count = await loadTuning(device, tuneStore(), (reason) => {
    terminal.warn(
      `what keeplight tune saved for this adapter is passed over: ${reason}; run keeplight tune again`,
    )
  })
  if (count > 0) terminal.note(`${count} tuned kernel choices (KEEPLIGHT_TUNE=off leaves them out)`)
}
