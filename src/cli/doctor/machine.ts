import { constants } from 'node:fs'
import { access, mkdir, readFile, readdir, rm, stat, statfs, writeFile } from 'node:fs/promises'
import { freemem, homedir, totalmem } from 'node:os'
import { join } from 'node:path'
import type { Probe } from './probe.ts'
import { probeInChild } from './probeChild.ts'

/** What the doctor's checks ask of the machine; tests give a made one. */
export interface Machine {
  readonly platform: NodeJS.Platform
  readonly arch: string
  readonly node: string
  readonly home: string
  readonly env: Readonly<Record<string, string | undefined>>
  /** Version of glibc; undefined where there is another C library. */
  readonly glibc: string | undefined
  /** Undefined when it can't be read. */
  readText(path: string): Promise<string | undefined>
  /** Names in a folder; empty when there is none. */
  list(folder: string): Promise<readonly string[]>
  /** Whether a file is there and may be read and written. */
  access(path: string): Promise<'missing' | 'denied' | 'ok'>
  /** Loads a package. Rejects with the reason why it can't be. */
  load(name: 'webgpu' | 'sharp'): Promise<void>
  /** Decodes a small picture. Rejects with what is wrong. */
  decode(): Promise<void>
  /** Adapters and what they compute, found in a process of its own, which a driver may take down. */
  probe(adapter: string | undefined): Promise<Probe>
  /** Makes a folder and a file in it, which is removed again. Rejects when that can't be done. */
  tryFolder(folder: string): Promise<void>
  /** Bytes of all files below a folder. */
  sizeOf(folder: string): Promise<number>
  freeDisk(folder: string): Promise<number>
  readonly freeMemory: number
  readonly totalMemory: number
  /** HTTP status of an address. Rejects when it can't be reached. */
  reach(address: string): Promise<number>
}

/** This machine. */
export function thisMachine(): Machine {
  const header = (process.report.getReport() as { header: { glibcVersionRuntime?: string } }).header
  return {
    platform: process.platform,
    arch: process.arch,
    node: process.versions.node,
    home: homedir(),
    env: process.env,
    glibc: header.glibcVersionRuntime,
    readText: (path) => readFile(path, 'utf8').catch(() => undefined),
    list: (folder) => readdir(folder).catch(() => []),
    access: async (path) => {
      if (!(await stat(path).catch(() => undefined))) return 'missing'
      return access(path, constants.R_OK | constants.W_OK).then(
        () => 'ok',
        () => 'denied',
      )
    },
    load: async (name) => {
      await (name === 'webgpu' ? import('webgpu') : import('sharp'))
    },
    decode: decodeTiny,
    probe: probeInChild,
    tryFolder,
    sizeOf,
    freeDisk: async (folder) => {
      const { bavail, bsize } = await statfs(folder)
      return bavail * bsize
    },
    freeMemory: freemem(),
    totalMemory: totalmem(),
    reach: async (address) => {
      const signal = AbortSignal.timeout(10_000)
      return (await fetch(address, { method: 'HEAD', signal })).status
    },
  }
}

/** A picture of 2×1 pixels through a JPEG file and back. */
async function decodeTiny(): Promise<void> {
  const { default: sharp } = await import('sharp')
  const raw = { width: 2, height: 1, channels: 3 } as const
  const file = await sharp(new Uint8Array(6).fill(200), { raw }).jpeg().toBuffer()
  const { data, info } = await sharp(file).raw().toBuffer({ resolveWithObject: true })
  if (info.width !== 2 || data.some((value) => Math.abs(value - 200) > 4)) {
    throw new Error('a grey picture of 2×1 pixels came back as another one')
  }
}

async function tryFolder(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true })
  const path = join(folder, `.doctor-${process.pid}.tmp`)
  await writeFile(path, '')
  await rm(path)
}

async function sizeOf(folder: string): Promise<number> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => [])
  let bytes = 0
  for (const entry of entries) {
    if (!entry.isFile()) continue
    const found = await stat(join(entry.parentPath ?? entry.path, entry.name)).catch(
      () => undefined,
    )
    bytes += found?.size ?? 0
  }
  return bytes
}
