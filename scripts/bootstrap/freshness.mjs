/** Whether node_modules and dist/ are those of the checkout. */
import { existsSync, readFileSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'

/** What `npm run build` writes. */
export const BUILD_OUTPUTS = Object.freeze([
  'dist/index.js',
  'dist/index.d.ts',
  'dist/index.node.js',
  'dist/index.node.d.ts',
  'dist/cli.js',
  'dist/decodeWorker.node.js',
])

const BUILD_INPUTS = [
  'src',
  'weights',
  'package.json',
  'package-lock.json',
  'tsconfig.json',
  'tsdown.config.ts',
]

/**
 * @typedef {{ version?: string, integrity?: string, optional?: boolean, devOptional?: boolean, peer?: boolean }} LockEntry
 * @typedef {{ packages: Record<string, LockEntry> }} Lock
 */

/**
 * Why `npm ci` is needed; undefined when what is installed is what the lock file says. Compares
 * contents: a checkout gives files new times, so times say nothing here.
 * @param {string} root
 * @returns {string | undefined}
 */
export function modulesProblem(root) {
  const installed = join(root, 'node_modules', '.package-lock.json')
  if (!existsSync(installed)) return 'node_modules is missing'
  /** @param {string} path @returns {Lock} */
  const read = (path) => JSON.parse(readFileSync(path, 'utf8'))
  return lockProblem(read(join(root, 'package-lock.json')), read(installed))
}

/**
 * @param {Lock} wanted package-lock.json
 * @param {Lock} installed node_modules/.package-lock.json, which npm writes after an install
 * @returns {string | undefined}
 */
export function lockProblem(wanted, installed) {
  for (const [path, entry] of Object.entries(wanted.packages)) {
    if (path === '') continue
    const present = installed.packages[path]
    // A binary for another platform is optional, and left out.
    if (!present && (entry.optional || entry.devOptional || entry.peer)) continue
    if (present?.version !== entry.version || present?.integrity !== entry.integrity) {
      const name = path.replace(/^.*node_modules\//, '')
      return `package-lock.json wants ${name} ${entry.version}, installed is ${present?.version ?? 'none'}`
    }
  }
  return undefined
}

/**
 * Why a build is needed; undefined when every output is at least as new as every source. Folders
 * count too: a deleted file changes its folder's time.
 * @param {string} root
 * @returns {string | undefined}
 */
export function buildProblem(root) {
  const missing = BUILD_OUTPUTS.find((path) => !existsSync(join(root, path)))
  if (missing) return `${missing} is missing`
  const built = Math.min(...BUILD_OUTPUTS.map((path) => statSync(join(root, path)).mtimeMs))
  const newer = BUILD_INPUTS.map((path) => findNewer(join(root, path), built)).find(Boolean)
  return newer && `${newer.slice(root.length + 1)} is newer than dist`
}

/**
 * @param {string} path
 * @param {number} time
 * @returns {string | undefined}
 */
function findNewer(path, time) {
  const stat = statSync(path)
  if (stat.mtimeMs > time) return path
  if (!stat.isDirectory()) return undefined
  for (const name of readdirSync(path)) {
    const newer = findNewer(join(path, name), time)
    if (newer) return newer
  }
  return undefined
}
