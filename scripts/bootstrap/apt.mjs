/** Installing packages with apt, and choosing where a new enough Mesa comes from. */

/** @typedef {import('./machine.mjs').Machine} Machine */

/**
 * Dawn refuses the Mesa 22 of Debian 12: it lacks dynamic indexing of sampled-image arrays. It takes
 * the 23.2 that Ubuntu 22.04 gets as an update.
 */
export const OLDEST_MESA = 23

export const MESA_PACKAGES = Object.freeze(['mesa-vulkan-drivers', 'libvulkan1'])

/** Our own file, so that no file of the user's is changed. */
const BACKPORTS_FILE = '/etc/apt/sources.list.d/keeplight-backports.list'

/**
 * @typedef {object} Source where packages come from
 * @property {string} [suite] given to `apt-get -t`
 * @property {string} [line] a line for apt's sources that the suite needs first
 * @property {boolean} [unknown] the suite is not in apt's sources and its server is not known
 */

/**
 * Mesa's candidate, or Debian's backports where the candidate is too old.
 * @param {Machine} machine
 * @returns {Source}
 */
export function mesaSource(machine) {
  const { id, codename } = machine.release()
  if (id !== 'debian' || !codename) return {}
  const major = candidateMajor(machine, 'mesa-vulkan-drivers')
  // Without package lists there is no candidate; of the supported releases only Debian 12 is old.
  const isOld = major === undefined ? codename === 'bookworm' : major < OLDEST_MESA
  if (!isOld) return {}
  const suite = `${codename}-backports`
  const places = machine.query(['apt-get', 'update', '--print-uris'])
  if (places.includes(`/dists/${suite}/`)) return { suite }
  const mirror = mirrorOf(places, codename)
  return mirror ? { suite, line: `deb ${mirror} ${suite} main\n` } : { suite, unknown: true }
}

/**
 * The server that apt takes the release's main suite from.
 * @param {string} places output of `apt-get update --print-uris`
 * @param {string} codename
 */
export function mirrorOf(places, codename) {
  return new RegExp(`^'([^']+)/dists/${codename}/InRelease'`, 'm').exec(places)?.[1]
}

/**
 * The version that apt would install, such as `22.3.6-1+deb12u2`.
 * @param {Machine} machine
 * @param {string} name
 * @returns {string | undefined}
 */
export function candidate(machine, name) {
  const version = /^ {2}Candidate: (.+)$/m.exec(machine.query(['apt-cache', 'policy', name]))?.[1]
  return version === '(none)' ? undefined : version
}

/** @param {Machine} machine @param {string} name */
function candidateMajor(machine, name) {
  const version = candidate(machine, name)
  return version === undefined ? undefined : Number(/^(?:\d+:)?(\d+)/.exec(version)?.[1])
}

/**
 * The lines that a user with a password can run.
 * @param {readonly string[]} packages
 * @param {Source} [source]
 */
export function aptAdvice(packages, source = {}) {
  const target = source.suite ? `-t ${source.suite} ` : ''
  return [
    ...(source.line ? [`echo '${source.line.trim()}' | sudo tee ${BACKPORTS_FILE}`] : []),
    'sudo apt-get update',
    `sudo apt-get install -y --no-install-recommends ${target}${packages.join(' ')}`,
  ].join(' && \\\n    ')
}

/**
 * Refreshes apt's package lists. A failure is not final: a broken source that has nothing to do with
 * us fails it too, and the install that follows tells.
 * @param {Machine} machine
 */
export function aptUpdate(machine) {
  return machine.run(asRoot(machine, ['apt-get', 'update', '-qq']))
}

/**
 * Installs packages without a question. If it fails, nothing that it added to apt's sources stays.
 * @param {Machine} machine
 * @param {readonly string[]} packages
 * @param {Source} [source]
 * @returns {boolean} whether apt reported success
 */
export function aptInstall(machine, packages, source = {}) {
  const added = addSource(machine, source)
  if (added === 'failed') return false
  const target = source.suite ? ['-t', source.suite] : []
  const options = ['-y', '-qq', '--no-install-recommends', '-o', 'DPkg::Lock::Timeout=120']
  const installed = machine.run(
    asRoot(machine, ['apt-get', 'install', ...options, ...target, ...packages]),
  )
  if (!installed && added === 'added') removeSource(machine)
  return installed
}

/**
 * @param {Machine} machine
 * @param {Source} source
 * @returns {'added' | 'present' | 'failed'}
 */
function addSource(machine, source) {
  if (!source.line || machine.exists(BACKPORTS_FILE)) return 'present'
  machine.say(`adding ${source.suite} to apt's sources (${BACKPORTS_FILE})`)
  // `dd` writes what it reads and prints nothing; a shell redirection would not have sudo's rights.
  const written = machine.run(
    asRoot(machine, ['dd', 'status=none', `of=${BACKPORTS_FILE}`]),
    source.line,
  )
  if (written && aptUpdate(machine)) return 'added'
  removeSource(machine)
  return 'failed'
}

/** @param {Machine} machine */
function removeSource(machine) {
  machine.run(asRoot(machine, ['rm', '-f', BACKPORTS_FILE]))
}

/**
 * @param {Machine} machine
 * @param {readonly string[]} command
 */
function asRoot(machine, command) {
  // Neither debconf nor needrestart may ask.
  const quiet = ['env', 'DEBIAN_FRONTEND=noninteractive', 'NEEDRESTART_SUSPEND=1', ...command]
  return machine.privilege() === 'sudo' ? ['sudo', '-n', ...quiet] : quiet
}
