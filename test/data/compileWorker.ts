import { rm } from 'node:fs/promises'
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { build } from 'vite'

/**
 * Compiles the decoding thread as the build does: Node's worker threads can't run TypeScript. The
 * file lies below node_modules, where it finds sharp.
 */
export async function compileWorker(): Promise<{
  workerUrl: URL
  removeWorker: () => Promise<void>
}> {
  const root = resolve(import.meta.dirname, '../..')
  const folder = resolve(root, `node_modules/.keeplight-test-${process.pid}`)
  const name = 'decodeWorker.node.js'
  await build({
    root,
    configFile: false,
    logLevel: 'error',
    build: {
      ssr: 'src/data/decodeWorker.node.ts',
      outDir: folder,
      rollupOptions: { output: { entryFileNames: name } },
    },
  })
  return {
    workerUrl: pathToFileURL(resolve(folder, name)),
    removeWorker: () => rm(folder, { recursive: true }),
  }
}
