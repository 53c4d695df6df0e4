/** The machine as the setup sees it: every question it asks and everything it changes. */
import { spawn, spawnSync } from 'node:child_process'
import { accessSync, constants, existsSync, readFileSync } from 'node:fs'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import {
  adapterEnvironment,
  findChromium,
  findLavapipeIcd,
  findSwiftshaderIcd,
  runtimeFolder,
} from '../adapters.mjs'
import { buildProblem, modulesProblem } from './freshness.mjs'

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))))

/**
 * @typedef {object} Machine
 * @property {boolean} dryRun commands are printed and not run
 * @property {string} platform as `process.platform`
 * @property {NodeJS.ProcessEnv} env
 * @property {() => string | undefined} modulesProblem
 * @property {() => string | undefined} buildProblem
 * @property {(icd?: string) => Promise<ProbeResult>} probe what Dawn gets, with every driver or just one
 * @property {() => string | undefined} lavapipeIcd
 * @property {() => string | undefined} swiftshaderIcd
 * @property {() => string | undefined} chromium
 * @property {() => { id: string, codename: string, name: string }} release of /etc/os-release
 * @property {() => 'root' | 'sudo' | 'none'} privilege how packages can be installed without asking
 * @property {(name: string) => boolean} hasCommand
 * @property {(command: readonly string[]) => string} query a read-only command's output, '' if it fails
 * @property {(path: string) => boolean} exists
 * @property {(command: readonly string[], input?: string) => boolean} run a command that changes something
 * @property {(command: readonly string[]) => number} execute the command the setup is for; its exit code
 * @property {(line: string) => void} say
 * @property {(line: string) => void} detail said with --verbose only
 *
 * What Dawn got, or why nothing; `fatal` where no driver would help.
 * @typedef {{ adapter: string, error?: undefined, fatal?: undefined } | { adapter?: undefined, error: string, fatal?: boolean }} ProbeResult
 */

/**
 * @param {{ dryRun?: boolean, verbose?: boolean }} [options]
 * @returns {Machine}
 */
export function createMachine({ dryRun = false, verbose = false } = {}) {
  /** @type {NodeJS.ProcessEnv} */
  const env = { ...process.env, XDG_RUNTIME_DIR: runtimeFolder() }
  /** @param {string} name */
  const hasCommand = (name) =>
    (env.PATH ?? '').split(delimiter).some((folder) => isExecutable(join(folder, name)))

  return {
    dryRun,
    platform: process.platform,
    env,
    modulesProblem: () => modulesProblem(root),
    buildProblem: () => buildProblem(root),
    probe: (icd) => probe(icd ? { ...env, ...adapterEnvironment(icd) } : env),
    lavapipeIcd: () => findLavapipeIcd(),
    swiftshaderIcd: () => findSwiftshaderIcd(),
    chromium: () => findChromium(),
    release,
    privilege() {
      if (process.getuid?.() === 0) return 'root'
      if (!hasCommand('sudo')) return 'none'
      return spawnSync('sudo', ['-n', 'true'], { stdio: 'ignore' }).status === 0 ? 'sudo' : 'none'
    },
    hasCommand,
    query([name, ...args]) {
      const { status, stdout } = spawnSync(name, args, { encoding: 'utf8', env: plain(env) })
      return status === 0 ? stdout : ''
    },
    exists: existsSync,
    run(command, input) {
      if (dryRun || verbose)
        console.error(`setup:   $ ${command.join(' ')}${input ? ` <<< '${input.trim()}'` : ''}`)
      if (dryRun) return true
      const [name, ...args] = npmCommand(command)
      // An install prints pages that only a failure makes worth reading. They go to standard error:
      // standard output belongs to the command that the setup is for.
      const { status, stdout, stderr } = spawnSync(name, args, {
        cwd: root,
        env,
        input: input ?? '',
        stdio: ['pipe', verbose ? 2 : 'pipe', verbose ? 2 : 'pipe'],
        maxBuffer: 64 * 1024 * 1024,
      })
      if (status !== 0 && !verbose) process.stderr.write(`${stdout ?? ''}${stderr ?? ''}`)
      return status === 0
    },
    execute(command) {
      if (dryRun) {
        console.error(`setup:   $ ${command.join(' ')}`)
        return 0
      }
      const { status, signal, error } = spawnSync(command[0], command.slice(1), {
        cwd: root,
        env,
        stdio: 'inherit',
      })
      if (error) throw error
      return status ?? (signal ? 130 : 1)
    },
    say: (line) => console.error(`setup: ${line}`),
    detail: (line) => verbose && console.error(`setup: ${line}`),
  }
}

/** English output, whose words the setup reads. @param {NodeJS.ProcessEnv} env */
const plain = (env) => ({ ...env, LC_ALL: 'C' })

/**
 * `npm` as the npm that runs this script, which need not be the one on the search path.
 * @param {readonly string[]} command
 */
function npmCommand(command) {
  const npm = process.env.npm_execpath
  if (command[0] !== 'npm' || !npm || !/npm-cli\.[cm]?js$/.test(npm)) return command
  return [process.execPath, npm, ...command.slice(1)]
}

/**
 * @param {NodeJS.ProcessEnv} env
 * @returns {Promise<ProbeResult>}
 */
function probe(env) {
  const script = join(root, 'scripts/bootstrap/probe.mjs')
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [script], {
      env,
      stdio: ['ignore', 'pipe', 'ignore'],
      timeout: 60_000,
      killSignal: 'SIGKILL',
    })
    let output = ''
    child.stdout.setEncoding('utf8').on('data', (text) => (output += text))
    child.on('error', (error) => resolve({ error: String(error) }))
    child.on('close', (code, signal) => {
      const line = output.split('\n').find((text) => text.startsWith('{'))
      resolve(line ? JSON.parse(line) : { error: `the driver ended the probe (${signal ?? code})` })
    })
  })
}

function release() {
  const path = '/etc/os-release'
  const text = existsSync(path) ? readFileSync(path, 'utf8') : ''
  /** @param {string} key */
  const field = (key) => new RegExp(`^${key}="?([^"\n]*)"?$`, 'm').exec(text)?.[1] ?? ''
  return {
    id: field('ID'),
    codename: field('VERSION_CODENAME'),
    name: field('PRETTY_NAME') || process.platform,
  }
}

/** @param {string} path */
function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}
