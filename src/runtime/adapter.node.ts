import { existsSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { createDevice as createDeviceFrom, Device, type DeviceOptions } from './device.ts'
import { KeeplightError } from './errors.ts'

export interface NodeDeviceOptions extends DeviceOptions {
  /**
   * Which adapter: `lavapipe` or `swiftshader` for the software drivers, else a part of the name of
   * the GPU (`nvidia`, `radeon`). Default: `KEEPLIGHT_ADAPTER`, else Dawn's first choice.
   */
  readonly adapter?: string
  /** Further Dawn toggles to enable, e.g. `dump_shaders`. */
  readonly toggles?: readonly string[]
}

/** Driver manifests of the software adapters, in the order they are looked for. */
const SOFTWARE_DRIVERS: Readonly<Record<string, readonly string[]>> = {
  lavapipe: [
    '/usr/share/vulkan/icd.d/lvp_icd.json',
    '/usr/share/vulkan/icd.d/lvp_icd.x86_64.json',
    '/usr/share/vulkan/icd.d/lvp_icd.aarch64.json',
  ],
  swiftshader: [
    '/usr/lib/chromium/vk_swiftshader_icd.json',
    '/opt/google/chrome/vk_swiftshader_icd.json',
    '/usr/lib/chromium-browser/vk_swiftshader_icd.json',
  ],
}

/**
 * Toggles that Dawn needs: f16 on NVIDIA's Vulkan driver, experimental features (subgroup
 * matrices), and timestamps that are not rounded to 65 µs.
 */
const ENABLE = ['vulkan_enable_f16_on_nvidia', 'allow_unsafe_apis']
const DISABLE = ['timestamp_quantization']

/**
 * Creates a device in Node, through Dawn.
 *
 * Close it when done: Dawn keeps a thread busy, and Node alive, until then.
 *
 * @throws KeeplightError `device` when no adapter is found; the message says what to install
 */
export async function createDevice(options: NodeDeviceOptions = {}): Promise<Device> {
  if (options.gpu) return createDeviceFrom(options)
  const name = options.adapter ?? process.env['KEEPLIGHT_ADAPTER']
  const toggles = options.toggles ?? []
  const flags = [
    `enable-dawn-features=${[...ENABLE, ...toggles].join(',')}`,
    `disable-dawn-features=${DISABLE.filter((toggle) => !toggles.includes(toggle)).join(',')}`,
  ]
  if (name) {
    const software = SOFTWARE_DRIVERS[name.toLowerCase()]
    if (software) useDriver(name, software)
    else flags.push(`adapter=${name}`)
  }
  // The Vulkan loader prints a warning for every process without one.
  process.env['XDG_RUNTIME_DIR'] ??= tmpdir()

  const { create, globals } = await import('webgpu').catch((cause: unknown) => {
    throw new KeeplightError(
      'device',
      `the npm package webgpu (Dawn) could not be loaded on ${process.platform}-${process.arch}: ${String(cause)}`,
      { cause },
    )
  })
  for (const [key, value] of Object.entries(globals)) {
    if (!(key in globalThis)) Object.defineProperty(globalThis, key, { value, configurable: true })
  }
  const gpu = instanceOf(create, flags)
  const powerPreference = options.powerPreference ?? 'high-performance'
  // Dawn throws when a name fits no adapter, and gives null when there is none at all.
  const request = (): Promise<GPUAdapter | null> =>
    gpu.requestAdapter({ powerPreference }).catch((cause: unknown) => {
      throw noAdapter(name, cause)
    })
  const adapter = await request()
  if (!adapter) throw noAdapter(name)
  return Device.fromAdapter(adapter, request)
}

/**
 * Dawn's instances, by what they were made with. Never let go: one that is collected while a device of
 * its own still has a callback to deliver takes the process down with it. Without a device they idle.
 */
const instances = new Map<string, GPU>()

function instanceOf(create: (flags: string[]) => GPU, flags: string[]): GPU {
  const key = [process.env['VK_DRIVER_FILES'], process.env['VK_ICD_FILENAMES'], ...flags].join('\n')
  let gpu = instances.get(key)
  if (!gpu) instances.set(key, (gpu = create(flags)))
  return gpu
}

function noAdapter(name: string | undefined, cause?: unknown): KeeplightError {
  return new KeeplightError(
    'device',
    `Dawn found no adapter${name ? ` named ${name}` : ''}; ` +
      (name ? 'leave the name out for the first there is, or ' : '') +
      "install a Vulkan driver: the GPU's own, or Mesa's software driver 23 or newer " +
      '(Debian, Ubuntu: apt install mesa-vulkan-drivers libvulkan1)',
    { cause },
  )
}

function useDriver(name: string, manifests: readonly string[]): void {
  const manifest = manifests.find((path) => existsSync(path))
  if (!manifest) {
    throw new KeeplightError(
      'device',
      `adapter ${name}: none of its driver manifests exists (${manifests.join(', ')}); ` +
        (name === 'swiftshader' ? 'install chromium' : 'install mesa-vulkan-drivers'),
    )
  }
  process.env['VK_ICD_FILENAMES'] = manifest
  process.env['VK_DRIVER_FILES'] = manifest
}
