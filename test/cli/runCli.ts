import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { existsSync, readdirSync, statSync } from 'node:fs'
import { join, resolve } from 'node:path'

const root = resolve(import.meta.dirname, '../..')
const program = join(root, 'dist/cli.js')

/** Builds dist/ unless it is newer than every source. */
export function ensureBuilt(): void {
  const sources = ['src', 'weights'].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => /\.(ts|json)$/.test(name))
      .map((name) => join(root, folder, name)),
  )
  const newest = Math.max(
    ...[...sources, join(root, 'package.json')].map((path) => statSync(path).mtimeMs),
  )
  if (existsSync(program) && statSync(program).mtimeMs > newest) return
  const tsdown = join(root, 'node_modules/.bin/tsdown')
  execFileSync(tsdown, { cwd: root, stdio: ['ignore', 'ignore', 'inherit'] })
}

export interface Finished {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
  /** Lines of standard error that the program marks as its own messages. */
  readonly errors: readonly string[]
}

export interface Running {
  readonly child: ChildProcess
  readonly finished: Promise<Finished>
}

/**
 * Starts `keeplight` as a process of its own, with its cache in `cache`.
 *
 * @param variables further variables of its environment
 */
export function startCli(
  cache: string,
  args: readonly string[],
  variables: Readonly<Record<string, string>> = {},
): Running {
  const env = { ...process.env, KEEPLIGHT_CACHE: cache, NODE_OPTIONS: '', ...variables }
  const child = spawn(process.execPath, [program, ...args], {
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
  const finished = new Promise<Finished>((done, failed) => {
    child.on('error', failed)
    child.on('close', (code, signal) => {
      const errors = stderr.split('\n').filter((line) => line.startsWith('keeplight: '))
      done({ code, signal, stdout, stderr, errors })
    })
  })
  return { child, finished }
}
