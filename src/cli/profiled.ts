import { chromeTrace, profileTable, type Device } from '../index.node.ts'
import { writeFileAtomic } from './files.ts'
import type { Terminal } from './terminal.ts'

/**
 * Runs `work`; with a path for a trace, times every dispatch of it, writes the trace there, and shows
 * the table.
 */
export async function profiled<R>(
  device: Device,
  trace: string | undefined,
  terminal: Terminal,
  work: () => Promise<R>,
): Promise<R> {
  if (trace === undefined) return work()
  const results: R[] = []
  const profile = await device.profile(async () => {
    results.push(await work())
  })
  await writeFileAtomic(trace, JSON.stringify(chromeTrace(profile)))
  terminal.noteLines(profileTable(profile))
  terminal.note(`trace: ${trace}, for chrome://tracing or ui.perfetto.dev`)
  return results[0] as R
}
