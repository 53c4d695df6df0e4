import type { Machine } from './machine.ts'

type Family = 'debian' | 'fedora' | 'arch' | 'suse' | 'alpine'

const families: Readonly<Record<string, Family>> = {
  ...{ debian: 'debian', ubuntu: 'debian', fedora: 'fedora', rhel: 'fedora', centos: 'fedora' },
  ...{ arch: 'arch', suse: 'suse', opensuse: 'suse', alpine: 'alpine' },
}

/** What a distribution calls Mesa's Vulkan drivers (software and GPU) with the loader, and how it installs them. */
const commands: Readonly<Record<Family, string>> = {
  debian: 'sudo apt-get install mesa-vulkan-drivers libvulkan1',
  fedora: 'sudo dnf install mesa-vulkan-drivers vulkan-loader',
  arch: 'sudo pacman -S vulkan-swrast vulkan-icd-loader',
  suse: 'sudo zypper install libvulkan_lvp libvulkan1',
  alpine: 'sudo apk add mesa-vulkan-swrast vulkan-loader',
}

/** The command that installs a Vulkan loader and drivers on this distribution. */
export async function installVulkan(machine: Machine): Promise<string> {
  const text = (await machine.readText('/etc/os-release')) ?? ''
  const ids = [...text.matchAll(/^(?:ID|ID_LIKE)="?([^"\n]*)"?$/gm)].flatMap(([, value]) =>
    value.split(/[ -]/),
  )
  const family = ids.map((id) => families[id]).find((found) => found !== undefined)
  if (family) return commands[family]
  return `install Mesa's Vulkan drivers and the Vulkan loader (Debian, Ubuntu: ${commands.debian}; Fedora: ${commands.fedora})`
}
