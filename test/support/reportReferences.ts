import { existsSync } from 'node:fs'
import { resolve } from 'node:path'

/**
 * Vitest's global setup: says once whether the reference files are there. A clone has none, and the
 * suites that compare with them are left out; in CI their absence is a failure.
 */
export default function reportReferences(): void {
  const shared = resolve(process.env.KEEPLIGHT_SHARED ?? '../shared')
  const golden = resolve(process.env.KEEPLIGHT_GOLDEN ?? `${shared}/golden`)
  if (existsSync(golden)) return
  const message = `reference files are absent (KEEPLIGHT_GOLDEN, ${golden}): test/golden is left out`
  if (process.env.CI) throw new Error(`${message}, which CI does not allow`)
  console.warn(message)
}
