import { spawn } from 'node:child_process'
import { reasonOf } from './finding.ts'
import type { Probe } from './probe.ts'

/** Before the probe's JSON, since drivers print lines of their own. */
export const probeMark = 'keeplight-probe '
const timeout = 60_000

/** Runs `keeplight doctor --probe` as a process of its own. */
export function probeInChild(adapter: string | undefined): Promise<Probe> {
  const args = [...process.execArgv, process.argv[1], 'doctor', '--probe']
  if (adapter !== undefined) args.push('--adapter', adapter)
  return new Promise((resolve) => {
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'], timeout })
    let [output, errors] = ['', '']
    child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text))
    child.stderr.setEncoding('utf8').on('data', (text: string) => (errors += text))
    child.on('error', (error) => resolve({ adapters: [], error: reasonOf(error) }))
    child.on('close', (code, signal) => resolve(readProbe(output, errors, code, signal)))
  })
}

/** What a probe printed before it ended, or why it printed nothing. */
export function readProbe(
  output: string,
  errors: string,
  code: number | null,
  signal: string | null,
): Probe {
  const line = output.split('\n').find((text) => text.startsWith(probeMark))
  if (line !== undefined) return JSON.parse(line.slice(probeMark.length)) as Probe
  if (signal !== null) return { adapters: [], signal, error: `ended by ${signal}` }
  const last = errors.trim().split('\n').at(-1)
  return { adapters: [], error: last || `ended with exit code ${code} and said nothing` }
}
