import { describe, expect, it } from 'vitest'
import { parseSafetensors } from '../../src/model/safetensors.ts'
import type { SafetensorsFile } from '../../src/model/safetensors.ts'

/**
 * The reference files that tests compare with: `KEEPLIGHT_SHARED` (default `../shared` beside the
 * repository) and `KEEPLIGHT_GOLDEN` (default `golden` in it). The same calls work in Node, by its
 * file system, and in a page, through the test server's `/@fs`; vitest.config.ts gives a page the
 * absolute folders. A clone without them runs every other suite and says what it leaves out; in CI
 * their absence is an error.
 */

type Folder = 'shared' | 'golden'

const inNode = typeof process !== 'undefined' && typeof process.versions?.node === 'string'

/** Node's modules by a name that the bundler of the page's tests doesn't follow. */
async function nodeModule<T>(name: string): Promise<T> {
  return (await import(/* @vite-ignore */ `node:${name}`)) as T
}

async function findFolders(): Promise<Record<Folder, string>> {
  // The empty string, from vitest.config.ts, stands for a folder that isn't there.
  let shared = import.meta.env?.VITE_KEEPLIGHT_SHARED as string | undefined
  let golden = import.meta.env?.VITE_KEEPLIGHT_GOLDEN as string | undefined
  if (inNode) {
    const { resolve } = await nodeModule<typeof import('node:path')>('path')
    const { fileURLToPath } = await nodeModule<typeof import('node:url')>('url')
    const root = resolve(fileURLToPath(import.meta.url), '../../..')
    shared ||= resolve(root, process.env.KEEPLIGHT_SHARED ?? '../shared')
    golden ||= resolve(root, process.env.KEEPLIGHT_GOLDEN ?? `${shared}/golden`)
  }
  return { shared: shared ?? '', golden: golden ?? '' }
}

/** Address of a file on the test server. `/@fs/C:/…` on Windows, `/@fs/home/…` elsewhere. */
function pageUrl(path: string): string {
  const segments = path.replaceAll('\\', '/').split('/').map(encodeURIComponent)
  return `/@fs/${segments.join('/').replace(/^\//, '')}`
}

/** Whether the folder is there; a page cannot look, so it believes vitest.config.ts. */
async function exists(folder: Folder): Promise<boolean> {
  if (!inNode) return folders[folder] !== ''
  const { existsSync } = await nodeModule<typeof import('node:fs')>('fs')
  return existsSync(folders[folder])
}

const folders = await findFolders()
const present: Record<Folder, boolean> = {
  shared: await exists('shared'),
  golden: await exists('golden'),
}
const inCi = /^(true|1)$/.test(
  String((inNode ? process.env.CI : undefined) ?? import.meta.env?.VITE_CI ?? ''),
)

async function read(folder: Folder, relativePath: string): Promise<Uint8Array<ArrayBuffer>> {
  const path = `${folders[folder]}/${relativePath}`
  if (inNode) {
    const { readFile } = await nodeModule<typeof import('node:fs/promises')>('fs/promises')
    return new Uint8Array(await readFile(path))
  }
  // Without this header the server may answer with its index page.
  const response = await fetch(pageUrl(path), { headers: { accept: 'application/octet-stream' } })
  if (!response.ok) throw new Error(`${path}: the test server answers ${response.status}`)
  return new Uint8Array(await response.arrayBuffer())
}

/** A file of the shared folder, for example `weights/keeplight-tiny/model.safetensors`. */
export function readShared(relativePath: string): Promise<Uint8Array<ArrayBuffer>> {
  return read('shared', relativePath)
}

/** Where a file of the shared folder is, for tests that run in Node alone. */
export function sharedPath(relativePath: string): string {
  return `${folders.shared}/${relativePath}`
}

/** A file of the golden folder, for example `metrics.json`. */
export function readGolden(relativePath: string): Promise<Uint8Array<ArrayBuffer>> {
  return read('golden', relativePath)
}

/** A parsed safetensors file of the golden folder. */
export async function readGoldenTensors(relativePath: string): Promise<SafetensorsFile> {
  return parseSafetensors(await readGolden(relativePath))
}

/** A parsed safetensors file of the shared folder. */
export async function readSharedTensors(relativePath: string): Promise<SafetensorsFile> {
  return parseSafetensors(await readShared(relativePath))
}

/** A parsed JSON file of the golden folder; its type is the caller's claim. */
export async function readGoldenJson<T>(relativePath: string): Promise<T> {
  return JSON.parse(new TextDecoder().decode(await readGolden(relativePath))) as T
}

export function goldensPresent(): boolean {
  return present.golden
}

export function sharedPresent(): boolean {
  return present.shared
}

function describeReference(folder: Folder, name: string, suite: () => void): void {
  if (present[folder]) {
    describe(name, suite)
    return
  }
  const variable = `KEEPLIGHT_${folder.toUpperCase()}`
  const message = `reference files absent (${variable}): the suite "${name}" is left out`
  if (inCi) throw new Error(`${message}, which CI does not allow`)
  console.warn(message)
  describe(name, () => {
    it('reference files absent: left out', async () => {
      expect(await exists(folder)).toBe(false)
    })
  })
}

/** `describe` for a suite that reads the golden folder. */
export function describeGolden(name: string, suite: () => void): void {
  describeReference('golden', name, suite)
}

/** `describe` for a suite that reads the shared folder. */
export function describeShared(name: string, suite: () => void): void {
  describeReference('shared', name, suite)
}
