/**
 * Where this machine keeps its WebGPU adapters: Mesa's lavapipe, Chromium, and Chromium's SwiftShader.
 *
 * Plain JavaScript without dependencies, because `bootstrap.mjs` runs it before `npm ci`.
 */
import { accessSync, constants, existsSync, mkdirSync, readFileSync, readdirSync } from 'node:fs'
import { realpathSync, statSync } from 'node:fs'
import { homedir, tmpdir, userInfo } from 'node:os'
import { delimiter, dirname, join } from 'node:path'

/** What to run when something is missing. */
export const REMEDY = 'node scripts/bootstrap.mjs --for test'

/** Chromium's flags for a headless page with WebGPU on SwiftShader and no traffic of its own. */
export const CHROMIUM_FLAGS = Object.freeze([
  '--no-sandbox',
  '--enable-unsafe-webgpu',
  '--use-webgpu-adapter=swiftshader',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
])

const ICD_FOLDERS = [
  '/usr/share/vulkan/icd.d',
  '/usr/local/share/vulkan/icd.d',
  '/etc/vulkan/icd.d',
]

/**
 * The driver manifest of Mesa's lavapipe. Mesa 24 and older put the architecture into its name.
 * @param {readonly string[]} [folders]
 * @returns {string | undefined}
 */
export function findLavapipeIcd(folders = ICD_FOLDERS) {
  for (const folder of folders) {
    if (!existsSync(folder)) continue
    const name = readdirSync(folder).find((file) => /^lvp_icd(\..+)?\.json$/.test(file))
    if (name) return join(folder, name)
  }
  return undefined
}

/**
 * A Chromium or Chrome that runs without a snap: `KEEPLIGHT_CHROMIUM`, then the search path, then
 * Playwright's download folder.
 * @param {NodeJS.ProcessEnv} [env]
 * @returns {string | undefined}
 */
export function findChromium(env = process.env) {
  if (env.KEEPLIGHT_CHROMIUM) {
    return isExecutable(env.KEEPLIGHT_CHROMIUM) ? env.KEEPLIGHT_CHROMIUM : undefined
  }
  const names = ['chromium', 'google-chrome', 'google-chrome-stable', 'chromium-browser']
  for (const name of names) {
    for (const folder of (env.PATH ?? '').split(delimiter)) {
      const path = join(folder, name)
      if (isExecutable(path) && !isSnap(path)) return path
    }
  }
  return findPlaywrightChromium(env)
}

/**
 * SwiftShader's driver manifest. The one beside `chromium` comes first, so that Node and the page
 * run the same library and their results can be compared bit for bit.
 * @param {string} [chromium]
 * @returns {string | undefined}
 */
export function findSwiftshaderIcd(chromium = findChromium()) {
  const folders = ['/usr/lib/chromium', '/usr/lib/chromium-browser', '/opt/google/chrome']
  if (chromium) folders.unshift(dirname(realpathSync(chromium)))
  return folders.map((folder) => join(folder, 'vk_swiftshader_icd.json')).find(existsSync)
}

/**
 * The environment in which the Vulkan loader sees only the driver of `icd`.
 * The loader reads `VK_DRIVER_FILES` since 1.3.207 and `VK_ICD_FILENAMES` before.
 * @param {string} icd
 */
export function adapterEnvironment(icd) {
  return { VK_ICD_FILENAMES: icd, VK_DRIVER_FILES: icd, XDG_RUNTIME_DIR: runtimeFolder() }
}

/**
 * A writable folder for `XDG_RUNTIME_DIR`; without one the Vulkan loader prints warnings.
 * @param {NodeJS.ProcessEnv} [env]
 */
export function runtimeFolder(env = process.env) {
  if (env.XDG_RUNTIME_DIR && isWritable(env.XDG_RUNTIME_DIR)) return env.XDG_RUNTIME_DIR
  const folder = join(tmpdir(), `keeplight-runtime-${userInfo().uid}`)
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  return folder
}

/** @param {NodeJS.ProcessEnv} env */
function findPlaywrightChromium(env) {
  const root = env.PLAYWRIGHT_BROWSERS_PATH || join(homedir(), '.cache', 'ms-playwright')
  if (!existsSync(root)) return undefined
  // Newest revision first; the folder's name ends in the revision.
  const revisions = readdirSync(root)
    .filter((name) => /^chromium-\d+$/.test(name))
    .sort((a, b) => Number(b.slice(9)) - Number(a.slice(9)))
  return revisions
    .flatMap((name) => ['chrome-linux64', 'chrome-linux'].map((sub) => join(root, name, sub)))
    .map((folder) => join(folder, 'chrome'))
    .find(isExecutable)
}

/**
 * Ubuntu's `chromium` deb is a script that starts (or asks for) a snap, whose confinement keeps it
 * from the profile folders that the tests make.
 * @param {string} path
 */
function isSnap(path) {
  const real = realpathSync(path)
  if (real.startsWith('/snap/') || real === '/usr/bin/snap') return true
  const isScript = statSync(real).size < 64 * 1024
  return isScript && readFileSync(real, 'latin1').includes('/snap/bin')
}

/** @param {string} path */
function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK)
    return statSync(path).isFile()
  } catch {
    return false
  }
}

/** @param {string} path */
function isWritable(path) {
  try {
    accessSync(path, constants.W_OK)
    return true
  } catch {
    return false
  }
}
