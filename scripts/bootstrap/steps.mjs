/** What is brought, in which order, and why. */
import {
  MESA_PACKAGES,
  OLDEST_MESA,
  aptAdvice,
  aptInstall,
  aptUpdate,
  candidate,
  mesaSource,
} from './apt.mjs'

/**
 * @typedef {import('./machine.mjs').Machine} Machine
 * @typedef {'demo' | 'golden' | 'test'} Goal
 *   `demo`: any adapter and a build; `golden`: lavapipe; `test`: lavapipe, Chromium with its
 *   SwiftShader, and a build
 */

/** Something is missing that cannot be brought; the message names the command that does. */
export class SetupError extends Error {}

/**
 * @param {Goal} goal
 * @param {Machine} machine
 */
export async function bootstrap(goal, machine) {
  if (!provideModules(machine)) return
  const apt = createApt(machine)
  if (goal === 'demo') await provideAdapter(machine, apt)
  else await provideLavapipe(machine, apt)
  if (goal === 'test') await provideChromium(machine, apt)
  if (goal !== 'golden') provideBuild(machine)
}

/**
 * @param {Machine} machine
 * @returns {boolean} whether they are there now; after a dry run they are not
 */
function provideModules(machine) {
  const problem = machine.modulesProblem()
  if (!problem) {
    machine.detail('node modules are those of package-lock.json')
    return true
  }
  machine.say(`installing node modules with npm ci: ${problem}`)
  // npm may run us with its own messages turned off; those of this install are wanted.
  if (!machine.run(['npm', 'ci', '--no-audit', '--no-fund', '--loglevel=error'])) {
    throw new SetupError('npm ci failed, see above; it needs to reach the npm registry')
  }
  if (machine.dryRun) machine.say('what else is missing can be told only with them')
  return !machine.dryRun
}

/**
 * Any adapter that Dawn takes: a GPU's driver, or else lavapipe.
 * @param {Machine} machine
 * @param {Apt} apt
 */
async function provideAdapter(machine, apt) {
  const before = await machine.probe()
  if (before.adapter) return machine.detail(`WebGPU adapter: ${before.adapter}`)
  const reason = `no WebGPU adapter is found (${before.error})`
  if (before.fatal) throw new SetupError(reason)
  await installMesa(machine, apt, reason, () => machine.probe())
}

/**
 * Lavapipe itself, also where a GPU is: the tests compare with what it computes.
 * @param {Machine} machine
 * @param {Apt} apt
 */
async function provideLavapipe(machine, apt) {
  /** @returns {Promise<import('./machine.mjs').ProbeResult>} */
  const check = async () => {
    const icd = machine.lavapipeIcd()
    return icd ? machine.probe(icd) : { error: 'lavapipe is not installed' }
  }
  const before = await check()
  if (before.adapter) return machine.detail(`lavapipe: ${before.adapter}`)
  const reason = `the tests need Mesa's software Vulkan driver (${before.error})`
  if (before.fatal) throw new SetupError(reason)
  await installMesa(machine, apt, reason, check)
}

/**
 * @param {Machine} machine
 * @param {Apt} apt
 * @param {string} reason
 * @param {() => Promise<import('./machine.mjs').ProbeResult>} check
 */
async function installMesa(machine, apt, reason, check) {
  const packages = [...MESA_PACKAGES]
  if (!apt.available) {
    throw new SetupError(
      `${reason}; this system has no apt: install Mesa's lavapipe ${OLDEST_MESA} or newer and the ` +
        'Vulkan loader with its package manager',
    )
  }
  apt.update(reason)
  const source = mesaSource(machine)
  if (source.unknown) {
    throw new SetupError(
      `${reason}; the Mesa of ${machine.release().name} is too old, and apt's sources name no server ` +
        `to take ${source.suite} from: add that suite to them, then run:\n    ${aptAdvice(packages, source)}`,
    )
  }
  apt.install(packages, reason, source)
  if (machine.dryRun) return
  const after = await check()
  if (after.adapter) return machine.say(`WebGPU adapter: ${after.adapter}`)
  throw new SetupError(noAdapterAfterInstall(machine, after.error))
}

/** @param {Machine} machine @param {string} [error] */
function noAdapterAfterInstall(machine, error) {
  const set = ['VK_ICD_FILENAMES', 'VK_DRIVER_FILES'].find((name) => machine.env[name])
  if (set) {
    return `${error}, with Mesa installed: ${set}=${machine.env[set]} hides it; unset ${set}`
  }
  const { id, name } = machine.release()
  const remedy =
    id === 'ubuntu'
      ? "add the release's -updates suite to apt's sources (Ubuntu 22.04 has Mesa 23 there), or use " +
        'Ubuntu 24.04 or newer'
      : 'use Debian 12 or newer, or Ubuntu 22.04 or newer'
  const version = candidate(machine, 'mesa-vulkan-drivers') ?? 'none'
  return `${error}, with Mesa ${version} of ${name} installed (${OLDEST_MESA} is known to work); ${remedy}`
}

/**
 * A browser for the page's tests, and its SwiftShader for the same tests in Node.
 * @param {Machine} machine
 * @param {Apt} apt
 */
async function provideChromium(machine, apt) {
  const reason = 'the page tests need Chromium'
  if (!machine.chromium()) {
    if (machine.env.KEEPLIGHT_CHROMIUM) {
      throw new SetupError(
        `KEEPLIGHT_CHROMIUM=${machine.env.KEEPLIGHT_CHROMIUM} is no program; unset it or name one`,
      )
    }
    installChromium(machine, apt, reason)
    if (machine.dryRun) return
    if (!machine.chromium())
      throw new SetupError(`${reason}, and apt's chromium is not on the path`)
  }
  const icd = machine.swiftshaderIcd()
  const found = icd
    ? await machine.probe(icd)
    : { error: 'no vk_swiftshader_icd.json is beside it' }
  if (!found.adapter) {
    throw new SetupError(
      `SwiftShader of ${machine.chromium()} gives no WebGPU adapter: ${found.error}; ` +
        'name another Chromium or Chrome with KEEPLIGHT_CHROMIUM',
    )
  }
  machine.detail(`Chromium: ${machine.chromium()}; ${found.adapter}`)
}

/**
 * @param {Machine} machine
 * @param {Apt} apt
 * @param {string} reason
 */
function installChromium(machine, apt, reason) {
  const byHand =
    'npx playwright-core install --with-deps chromium   (or name a Chrome with KEEPLIGHT_CHROMIUM)'
  if (!apt.available) throw new SetupError(`${reason}; run:\n    ${byHand}`)
  if (machine.release().id === 'ubuntu') {
    // Ubuntu's deb only fetches a snap, which cannot run in a container nor read /tmp.
    throw new SetupError(
      `${reason}, and Ubuntu's chromium is a snap, which they cannot use; run:\n    ${byHand}`,
    )
  }
  apt.update(reason)
  apt.install(['chromium'], reason)
}

/** @param {Machine} machine */
function provideBuild(machine) {
  const problem = machine.buildProblem()
  if (!problem) return machine.detail('dist is newer than its sources')
  machine.say(`building dist: ${problem}`)
  if (!machine.run(['npm', 'run', '--silent', 'build'])) {
    throw new SetupError('npm run build failed, see above')
  }
}

/**
 * @typedef {object} Apt
 * @property {boolean} available
 * @property {(reason: string) => void} update refreshes the package lists, once a run
 * @property {(packages: string[], reason: string, source?: import('./apt.mjs').Source) => void} install
 */

/**
 * @param {Machine} machine
 * @returns {Apt}
 */
function createApt(machine) {
  let updated = false
  /** @type {'root' | 'sudo' | 'none' | undefined} */
  let privilege
  const mayInstall = () => (privilege ??= machine.privilege()) !== 'none'
  return {
    available: machine.platform === 'linux' && machine.hasCommand('apt-get'),
    update(reason) {
      if (updated || !mayInstall()) return
      machine.say(`refreshing apt's package lists: ${reason}`)
      if (!aptUpdate(machine)) machine.say('apt-get update failed; trying with the lists it has')
      updated = true
    },
    install(packages, reason, source) {
      const advice = aptAdvice(packages, source)
      if (!mayInstall()) {
        throw new SetupError(`${reason}; installing it needs root, so run:\n    ${advice}`)
      }
      machine.say(`installing ${packages.join(' ')} with apt: ${reason}`)
      if (!aptInstall(machine, packages, source)) {
        throw new SetupError(
          `apt could not install ${packages.join(' ')}, see above; run:\n    ${advice}`,
        )
      }
    },
  }
}
