import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { type Browser, chromium } from 'playwright-core'
import { build, createServer, preview } from 'vite'
import { CHROMIUM_FLAGS, findChromium } from '../../scripts/adapters.mjs'

export const root = resolve(import.meta.dirname, '../..')

/** A running server of the page; `url` ends in `/`. */
export interface PageServer {
  readonly url: string
  close(): Promise<void>
}

const localhost = { host: '127.0.0.1', port: 0, strictPort: false } as const

/** The development server, as `npm run web` starts it, with its own cache of prepared packages. */
export async function serveSources(): Promise<PageServer> {
  const cacheDir = await mkdtemp(join(tmpdir(), 'keeplight-vite-'))
  const server = await createServer({
    root: join(root, 'web'),
    cacheDir,
    logLevel: 'error',
    server: { ...localhost, hmr: false },
  })
  await server.listen()
  return {
    url: server.resolvedUrls!.local[0]!,
    async close() {
      await server.close()
      await rm(cacheDir, { recursive: true, force: true })
    },
  }
}

/** The built page, as `npm run web:build` makes it, below a folder of a plain file server. */
export async function serveBuild(): Promise<PageServer & { readonly folder: string }> {
  const folder = await mkdtemp(join(tmpdir(), 'keeplight-web-'))
  const options = { root: join(root, 'web'), logLevel: 'error' } as const
  const outDir = join(folder, 'page')
  await build({ ...options, build: { outDir } })
  const server = await preview({ ...options, build: { outDir }, preview: localhost })
  return {
    folder: outDir,
    url: server.resolvedUrls!.local[0]!,
    async close() {
      await server.close()
      await rm(folder, { recursive: true, force: true })
    },
  }
}

/** Chromium with WebGPU on SwiftShader. */
export function openChromium(): Promise<Browser> {
  return chromium.launch({ executablePath: findChromium(), args: [...CHROMIUM_FLAGS] })
}
