import { join } from 'node:path'
import { ok, problem, reasonOf, warning, type Finding } from './finding.ts'
import type { Machine } from './machine.ts'
import { installVulkan } from './packages.ts'
import type { Probe, ProbedAdapter } from './probe.ts'

/** From the package that talks to the driver down to a computed product. */
export async function checkGraphics(machine: Machine, adapter?: string): Promise<Finding[]> {
  const findings: Finding[] = []
  const dawn = await checkWebgpu(machine)
  findings.push(dawn)
  if (machine.platform === 'linux') {
    findings.push(await checkLoader(machine), await checkDrivers(machine))
    findings.push(...(await checkDeviceFiles(machine)))
  }
  if (dawn.status === 'ok') findings.push(...(await checkAdapters(machine, adapter)))
  return findings
}

async function checkWebgpu(machine: Machine): Promise<Finding> {
  const name = 'webgpu (Dawn)'
  const place = `${machine.platform}-${machine.arch}`
  try {
    await machine.load('webgpu')
    return ok(name, `its binary for ${place} loads`)
  } catch (error) {
    const reason = reasonOf(error)
    const detail = `its binary for ${place} does not load: ${reason}`
    if (machine.platform === 'linux' && machine.glibc === undefined) {
      return problem(
        name,
        detail,
        'take a system with glibc (Debian, Ubuntu, Fedora): there is no binary for musl',
      )
    }
    if (/GLIBC(XX)?_[\d.]+/.test(reason)) {
      return problem(
        name,
        detail,
        'take a newer system: the binary needs a newer C library than this one',
      )
    }
    const missing = /(lib[\w+-]+\.so[\w.]*): cannot open/.exec(reason)?.[1]
    if (missing) {
      return problem(
        name,
        detail,
        `install the package that has ${missing} (Debian, Ubuntu: apt-file search ${missing})`,
      )
    }
    return problem(name, detail, 'npm install webgpu')
  }
}

/** Folders in which Linux keeps libraries. */
function libraryFolders({ env, arch }: Machine): string[] {
  const triple = arch === 'arm64' ? 'aarch64-linux-gnu' : 'x86_64-linux-gnu'
  const own = (env.LD_LIBRARY_PATH ?? '').split(':').filter((folder) => folder !== '')
  const usual = ['/usr/lib', '/usr/lib64', '/lib', '/lib64', '/usr/local/lib']
  return [...own, ...usual.flatMap((folder) => [`${folder}/${triple}`, folder])]
}

async function findLibrary(machine: Machine, name: string): Promise<string | undefined> {
  if (name.startsWith('/')) return (await machine.access(name)) === 'missing' ? undefined : name
  for (const folder of libraryFolders(machine)) {
    const path = join(folder, name)
    if ((await machine.access(path)) !== 'missing') return path
  }
  return undefined
}

async function checkLoader(machine: Machine): Promise<Finding> {
  const name = 'Vulkan loader'
  const path = await findLibrary(machine, 'libvulkan.so.1')
  if (path !== undefined) return ok(name, path)
  return problem(name, 'libvulkan.so.1 is not here', await installVulkan(machine))
}

/** Manifests of Vulkan drivers, as the loader looks for them. */
async function manifestsOf(machine: Machine): Promise<string[]> {
  const { env, home } = machine
  const named = env.VK_DRIVER_FILES ?? env.VK_ICD_FILENAMES
  if (named) return named.split(':').filter((path) => path !== '')
  const shares = (env.XDG_DATA_DIRS || '/usr/local/share:/usr/share').split(':')
  const folders = [
    join(env.XDG_CONFIG_HOME || join(home, '.config'), 'vulkan/icd.d'),
    ...['/etc/vulkan/icd.d', join(env.XDG_DATA_HOME || join(home, '.local/share'), 'vulkan/icd.d')],
    ...shares.map((folder) => join(folder, 'vulkan/icd.d')),
  ]
  const found = await Promise.all(
    folders.map(async (folder) =>
      (await machine.list(folder))
        .filter((name) => name.endsWith('.json'))
        .map((name) => join(folder, name)),
    ),
  )
  return found.flat()
}

async function checkDrivers(machine: Machine): Promise<Finding> {
  const name = 'Vulkan drivers'
  const named = machine.env.VK_DRIVER_FILES ?? machine.env.VK_ICD_FILENAMES
  const manifests = await manifestsOf(machine)
  if (manifests.length === 0) {
    return problem(name, 'no driver manifest (icd.d/*.json) is here', await installVulkan(machine))
  }
  const working: string[] = []
  const faults: string[] = []
  for (const path of manifests) {
    const library = libraryOf(await machine.readText(path))
    if (library === undefined) faults.push(`${path} can't be read`)
    else if (
      (await findLibrary(
        machine,
        library.startsWith('.') ? join(path, '..', library) : library,
      )) === undefined
    ) {
      faults.push(`${path} names ${library}, which is not here`)
    } else
      working.push(
        path
          .split('/')
          .at(-1)!
          .replace(/(_icd)?(\.\w+)?\.json$/, ''),
      )
  }
  const remedy = named
    ? 'unset VK_DRIVER_FILES VK_ICD_FILENAMES, or name a manifest that is there'
    : await installVulkan(machine)
  if (working.length === 0) return problem(name, faults.join('; '), remedy)
  const detail = working.join(', ') + (named ? ' (by VK_DRIVER_FILES or VK_ICD_FILENAMES)' : '')
  return faults.length === 0
    ? ok(name, detail)
    : warning(name, `${detail}; ${faults.join('; ')}`, remedy)
}

function libraryOf(manifest: string | undefined): string | undefined {
  try {
    const { ICD } = JSON.parse(manifest ?? '') as { ICD?: { library_path?: unknown } }
    return typeof ICD?.library_path === 'string' ? ICD.library_path : undefined
  } catch {
    return undefined
  }
}

/** GPUs whose device files this user may not open. */
async function checkDeviceFiles(machine: Machine): Promise<Finding[]> {
  const nodes = (await machine.list('/dev/dri')).filter((name) => name.startsWith('renderD'))
  const denied: string[] = []
  for (const node of nodes) {
    if ((await machine.access(`/dev/dri/${node}`)) === 'denied') denied.push(`/dev/dri/${node}`)
  }
  if (denied.length === 0) return []
  const remedy = 'sudo usermod -aG render,video "$USER", then log in again'
  return [warning('GPU device files', `${denied.join(', ')}: no permission`, remedy)]
}

const vendors: Readonly<Record<string, string>> = {
  ...{ '0x10de': 'NVIDIA', '0x1002': 'AMD', '0x8086': 'Intel' },
}

/** Makers of the GPUs that the kernel sees. */
async function hardwareOf(machine: Machine): Promise<string[]> {
  const cards = (await machine.list('/sys/class/drm')).filter((name) =>
    /^(card|renderD)\d+$/.test(name),
  )
  const found = new Set<string>()
  for (const card of cards) {
    const id = (await machine.readText(`/sys/class/drm/${card}/device/vendor`))?.trim()
    if (id !== undefined && vendors[id]) found.add(vendors[id])
  }
  if ((await machine.access('/dev/nvidia0')) !== 'missing') found.add('NVIDIA')
  return [...found]
}

async function checkAdapters(machine: Machine, adapter: string | undefined): Promise<Finding[]> {
  const probe = await machine.probe(adapter)
  const { adapters } = probe
  const findings = adapters.flatMap(describeAdapter)
  if (adapters.length === 0) findings.push(await noAdapter(machine, probe))
  if (machine.platform === 'linux' && adapter === undefined) {
    const hardware = await hardwareOf(machine)
    const software = adapters.every((found) => found.adapter.software)
    if (hardware.length > 0 && software) findings.push(await unusedGpu(machine, hardware))
  }
  return findings
}

async function noAdapter(machine: Machine, { error, signal }: Probe): Promise<Finding> {
  const remedy =
    machine.platform === 'linux' ? await installVulkan(machine) : 'update the graphics driver'
  return signal === undefined
    ? problem('adapter', error ?? 'none was found', remedy)
    : problem(
        'adapter',
        `the driver ended the process with ${signal}`,
        `update the graphics driver, or take the software driver: ${remedy}, then KEEPLIGHT_ADAPTER=lavapipe`,
      )
}

async function unusedGpu(machine: Machine, hardware: readonly string[]): Promise<Finding> {
  const detail = `a GPU by ${hardware.join(' and ')} is in this machine, and Vulkan does not offer it`
  if (!hardware.includes('NVIDIA')) return warning('GPU', detail, await installVulkan(machine))
  return warning(
    'GPU',
    detail,
    "install NVIDIA's driver with its Vulkan part (nvidia_icd.json; Debian: sudo apt-get install nvidia-driver, " +
      'Ubuntu: sudo ubuntu-drivers install); in a container, NVIDIA_DRIVER_CAPABILITIES=all',
  )
}

/** Features that matter, and what they are called. */
const features: readonly (readonly [string, string])[] = [
  ['shader-f16', 'f16'],
  ['subgroups', 'subgroups'],
  ['timestamp-query', 'timestamps'],
]

function describeAdapter({ adapter, features: has, limits, wrong }: ProbedAdapter): Finding[] {
  const name =
    adapter.description || [adapter.vendor, adapter.architecture].join(' ').trim() || 'GPU'
  const kind = adapter.software ? 'software, on the processor: works, slowly' : 'GPU'
  const [present, absent] = [true, false].map((wanted) =>
    features.filter(([feature]) => has.includes(feature) === wanted).map(([, label]) => label),
  )
  const mebibytes = (value = 0): string => `${Math.round(value / 2 ** 20).toLocaleString('en')} MiB`
  const { maxStorageBufferBindingSize, maxBufferSize } = limits
  const parts = [
    kind,
    present.join(', '),
    absent.length > 0 && `without ${absent.join(', ')}`,
    `bindings of ${mebibytes(maxStorageBufferBindingSize)}, buffers of ${mebibytes(maxBufferSize)}`,
  ]
  const found = ok(`adapter ${name}`, parts.filter((part) => part).join('; '))
  return [
    found,
    wrong === undefined
      ? ok('computation', 'a product of matrices has the right values')
      : problem(
          'computation',
          `${name}: ${wrong}`,
          'update the graphics driver, or take another adapter (KEEPLIGHT_ADAPTER=lavapipe)',
        ),
  ]
}
