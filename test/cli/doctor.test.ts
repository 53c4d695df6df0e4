import { describe, expect, it } from 'vitest'
import { describeFindings, examine } from '../../src/cli/doctor.ts'
import type { Machine } from '../../src/cli/doctor/machine.ts'
import type { ProbedAdapter } from '../../src/cli/doctor/probe.ts'
import { readProbe } from '../../src/cli/doctor/probeChild.ts'

const adapter = (software: boolean, wrong?: string): ProbedAdapter => ({
  adapter: {
    ...{ vendor: 'x', architecture: '', subgroupSize: 8, software },
    description: software ? 'llvmpipe' : 'Big GPU',
  },
  features: ['shader-f16', 'subgroups'],
  limits: { maxStorageBufferBindingSize: 2 ** 30, maxBufferSize: 2 ** 32 },
  ...(wrong !== undefined && { wrong }),
})

interface Change extends Omit<Partial<Machine>, 'env'> {
  readonly env?: Machine['env']
  /** Files and their text; undefined: gone. */
  readonly files?: Readonly<Record<string, string | undefined>>
  readonly denied?: readonly string[]
}

const icd = JSON.stringify({ ICD: { library_path: 'libvulkan_lvp.so' } })

/** A machine on which all is well, but for what is changed. */
function machine({ files: changed = {}, denied = [], ...changes }: Change = {}): Machine {
  const files: Record<string, string | undefined> = {
    '/etc/os-release': 'NAME="Debian"\nID=debian\n',
    '/usr/lib/x86_64-linux-gnu/libvulkan.so.1': '',
    '/usr/lib/x86_64-linux-gnu/libvulkan_lvp.so': '',
    '/usr/share/vulkan/icd.d/lvp_icd.x86_64.json': icd,
    ...changed,
  }
  return {
    ...{ platform: 'linux', arch: 'x64', node: '22.1.0', home: '/home/me', glibc: '2.36' },
    env: { KEEPLIGHT_CACHE: '/cache' },
    readText: (path) => Promise.resolve(files[path]),
    list: (folder) => {
      const inside = Object.keys(files).filter(
        (path) => files[path] !== undefined && path.startsWith(`${folder}/`),
      )
      return Promise.resolve([
        ...new Set(inside.map((path) => path.slice(folder.length + 1).split('/')[0])),
      ])
    },
    access: (path) =>
      Promise.resolve(
        files[path] === undefined ? 'missing' : denied.includes(path) ? 'denied' : 'ok',
      ),
    load: () => Promise.resolve(),
    decode: () => Promise.resolve(),
    probe: () => Promise.resolve({ adapters: [adapter(false)] }),
    tryFolder: () => Promise.resolve(),
    sizeOf: () => Promise.resolve(2.5e9),
    freeDisk: () => Promise.resolve(80e9),
    ...{ freeMemory: 8e9, totalMemory: 16e9 },
    reach: () => Promise.resolve(200),
    ...changes,
  }
}

const failing = (reason: string) => (): Promise<never> => Promise.reject(new Error(reason))
const failingLoad = (name: string, reason: string) => ({
  load: (asked: string) => (asked === name ? failing(reason)() : Promise.resolve()),
})

describe('keeplight doctor', () => {
  it('finds nothing to mend on a sound machine, asks no hub, and shows no token', async () => {
    const env = { KEEPLIGHT_CACHE: '/cache', HF_TOKEN: 'secret', HF_HOME: '/models' }
    const reach = failing('the hub was asked')
    const findings = await examine(machine({ env, reach }))
    expect(findings.filter(({ status }) => status !== 'ok')).toEqual([])
    const text = describeFindings(findings)
    expect(text).toContain(
      'adapter Big GPU: GPU; f16, subgroups; without timestamps; bindings of 1,024 MiB',
    )
    expect(text).toContain('HF_HOME=/models, HF_TOKEN is set, KEEPLIGHT_CACHE=/cache')
    expect(text).toContain('cache: /cache: 2.5 GB')
    expect(text).not.toContain('secret')
    expect(text.split('\n').at(-1)).toBe('Keeplight can run on this machine.')
  })

  it.each<[string, Change, string, 'warning' | 'problem', RegExp, RegExp]>([
    [
      'an old Node',
      { node: '18.19.0' },
      'Node',
      'problem',
      /18\.19\.0, expected >=20/,
      /nvm install 20/,
    ],
    [
      'no webgpu package',
      failingLoad('webgpu', "Cannot find package 'webgpu'"),
      'webgpu (Dawn)',
      'problem',
      /does not load: Cannot find package/,
      /^npm install webgpu$/,
    ],
    [
      'a library that Dawn wants',
      failingLoad('webgpu', 'libX11-xcb.so.1: cannot open shared object file'),
      'webgpu (Dawn)',
      'problem',
      /linux-x64/,
      /install the package that has libX11-xcb\.so\.1/,
    ],
    [
      'an old C library',
      failingLoad('webgpu', "version `GLIBC_2.34' not found"),
      'webgpu (Dawn)',
      'problem',
      /GLIBC_2\.34/,
      /newer system/,
    ],
    [
      'musl',
      { ...failingLoad('webgpu', 'ld-linux-x86-64.so.2: not found'), glibc: undefined },
      'webgpu (Dawn)',
      'problem',
      /./,
      /no binary for musl/,
    ],
    [
      'no sharp',
      failingLoad('sharp', 'Could not load the "sharp" module'),
      'sharp (libvips)',
      'problem',
      /Could not load/,
      /^npm install --include=optional --os=linux --cpu=x64 sharp$/,
    ],
    [
      'a sharp that decodes wrong',
      { decode: failing('came back as another one') },
      'sharp (libvips)',
      'problem',
      /another/,
      /npm install/,
    ],
    [
      'no Vulkan loader, on Debian',
      { files: { '/usr/lib/x86_64-linux-gnu/libvulkan.so.1': undefined } },
      'Vulkan loader',
      'problem',
      /libvulkan\.so\.1 is not here/,
      /^sudo apt-get install mesa-vulkan-drivers libvulkan1$/,
    ],
    [
      'no driver, on Rocky Linux',
      {
        files: {
          '/usr/share/vulkan/icd.d/lvp_icd.x86_64.json': undefined,
          '/etc/os-release': 'ID="rocky"\nID_LIKE="rhel centos fedora"\n',
        },
      },
      'Vulkan drivers',
      'problem',
      /no driver manifest/,
      /^sudo dnf install mesa-vulkan-drivers vulkan-loader$/,
    ],
    [
      'a driver whose library is gone',
      { files: { '/usr/lib/x86_64-linux-gnu/libvulkan_lvp.so': undefined } },
      'Vulkan drivers',
      'problem',
      /names libvulkan_lvp\.so, which is not here/,
      /apt-get/,
    ],
    [
      'a variable that names no driver',
      { env: { VK_DRIVER_FILES: '/gone.json' } },
      'Vulkan drivers',
      'problem',
      /\/gone\.json can't be read/,
      /^unset VK_DRIVER_FILES/,
    ],
    [
      'no adapter, on an unknown system',
      {
        probe: () => Promise.resolve({ adapters: [], error: 'Dawn found no adapter' }),
        files: { '/etc/os-release': undefined },
      },
      'adapter',
      'problem',
      /Dawn found no adapter/,
      /Debian, Ubuntu: sudo apt-get.*Fedora: sudo dnf/,
    ],
    [
      'a driver that crashes',
      { probe: () => Promise.resolve({ adapters: [], signal: 'SIGSEGV' }) },
      'adapter',
      'problem',
      /ended the process with SIGSEGV/,
      /KEEPLIGHT_ADAPTER=lavapipe/,
    ],
    [
      'a GPU that computes wrong',
      { probe: () => Promise.resolve({ adapters: [adapter(false, 'element 1, 2 is 3')] }) },
      'computation',
      'problem',
      /Big GPU: element 1, 2 is 3/,
      /update the graphics driver/,
    ],
    [
      'a GPU that Vulkan does not offer',
      {
        probe: () => Promise.resolve({ adapters: [adapter(true)] }),
        files: { '/sys/class/drm/card0/device/vendor': '0x10de\n' },
      },
      'GPU',
      'warning',
      /GPU by NVIDIA/,
      /NVIDIA_DRIVER_CAPABILITIES=all/,
    ],
    [
      'a GPU that this user may not open',
      { files: { '/dev/dri/renderD128': '' }, denied: ['/dev/dri/renderD128'] },
      'GPU device files',
      'warning',
      /renderD128: no permission/,
      /usermod -aG render/,
    ],
    [
      'a cache that is read-only',
      { tryFolder: failing('EROFS') },
      'cache',
      'warning',
      /\/cache can't be written \(EROFS\)/,
      /KEEPLIGHT_CACHE=/,
    ],
    [
      'a full disk',
      { freeDisk: () => Promise.resolve(1e8) },
      'disk',
      'warning',
      /100 MB free/,
      /free some/,
    ],
    [
      'little memory',
      { freeMemory: 5e8 },
      'memory',
      'warning',
      /500 MB free of 16\.0 GB/,
      /smaller model/,
    ],
    [
      'a misspelt variable',
      { env: { KEEPLIGHT_CASHE: 'x' } },
      'variables',
      'warning',
      /not known: KEEPLIGHT_CASHE/,
      /KEEPLIGHT_CACHE/,
    ],
    [
      'an endpoint that is no address',
      { env: { HF_ENDPOINT: 'ftp://x' } },
      'variables',
      'problem',
      /HF_ENDPOINT should be/,
      /unset/,
    ],
    [
      'a hub that is away',
      { reach: failing('ENOTFOUND') },
      'model hub',
      'warning',
      /ENOTFOUND/,
      /proxy/,
    ],
  ])('names %s, and what mends it', async (_, change, name, status, detail, remedy) => {
    const findings = await examine(machine(change), { online: true })
    const found = findings.find((finding) => finding.name === name)
    expect(found).toMatchObject({
      ...{ status, detail: expect.stringMatching(detail), remedy: expect.stringMatching(remedy) },
    })
    expect(describeFindings(findings)).toContain(`→ ${found!.remedy!.slice(0, 10)}`)
    // One fault is told once: all else is as well as it was.
    const others = findings.filter((finding) => finding !== found && finding.status === 'problem')
    expect(others).toEqual([])
  })

  it('asks nothing of Vulkan where there is another interface', async () => {
    const findings = await examine(machine({ platform: 'darwin', arch: 'arm64', files: {} }))
    expect(findings.map(({ name }) => name)).toEqual([
      ...['Node', 'sharp (libvips)', 'webgpu (Dawn)', 'adapter Big GPU', 'computation'],
      ...['cache', 'disk', 'memory', 'variables'],
    ])
  })

  it('reads what a probe printed among the lines of drivers, or why it printed nothing', () => {
    const probe = { adapters: [adapter(true)] }
    expect(readProbe(`a\nkeeplight-probe ${JSON.stringify(probe)}\nb`, '', 0, null)).toEqual(probe)
    expect(readProbe('', 'x\n', null, 'SIGSEGV')).toMatchObject({ signal: 'SIGSEGV' })
    expect(readProbe('', 'one\ntwo\n', 1, null)).toEqual({ adapters: [], error: 'two' })
    expect(readProbe('', '', 7, null).error).toBe('ended with exit code 7 and said nothing')
  })
})
