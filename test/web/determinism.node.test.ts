import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { adapterEnvironment, findSwiftshaderIcd } from '../../scripts/adapters.mjs'
import type { AdapterDescription } from '../../src/index.ts'
import { catalogue, titleOf } from '../catalogue/index.ts'
import type { SmallRun } from '../support/smallRun.ts'
import { type PageServer, openChromium, root, serveSources } from './servePage.ts'

interface Result<R> {
  readonly adapter: AdapterDescription
  readonly run: R
}

let server: PageServer
let browser: Browser

beforeAll(async () => {
  server = await serveSources()
  browser = await openChromium()
})
afterAll(async () => {
  await browser?.close()
  await server?.close()
})

/** The same work in a process and in a page, both on SwiftShader; the file prints its result. */
async function runInNode<R>(file: string): Promise<Result<R>> {
  const icd = findSwiftshaderIcd()
  if (!icd) throw new Error('SwiftShader lies beside no Chromium that is known')
  const script = join(root, file)
  const env = { ...process.env, ...adapterEnvironment(icd), KEEPLIGHT_ADAPTER: '' }
  const child = promisify(execFile)(process.execPath, ['--import', 'tsx', script], {
    cwd: root,
    env,
  })
  return JSON.parse((await child).stdout)
}

/** The file exports its `result`. */
async function runInPage<R>(file: string): Promise<Result<R>> {
  const page = await browser.newPage()
  // Any document of the server would do; this one starts nothing.
  await page.goto(`${server.url}style.css`)
  const module = `/@fs${join(root, file)}`
  // Text, because Vitest rewrites imports within functions.
  const result = await page.evaluate<Result<R>>(
    `import(${JSON.stringify(module)}).then(({ result }) => result)`,
  )
  await page.close()
  return result
}

async function runInBoth<R>(nodeFile: string, pageFile: string): Promise<[R, R]> {
  const [node, page] = await Promise.all([runInNode<R>(nodeFile), runInPage<R>(pageFile)])
  expect(node.adapter).toMatchObject({ architecture: 'swiftshader', software: true })
  expect(page.adapter).toMatchObject({ architecture: 'swiftshader', software: true })
  return [node.run, page.run]
}

describe('on SwiftShader, in Node and in Chromium', () => {
  it('a whole small run has the same bits', async () => {
    const [node, page] = await runInBoth<SmallRun>(
      'test/support/smallRun.node.ts',
      'test/support/smallRunPage.ts',
    )
    expect(node.losses).toHaveLength(12)
    expect(new Set(node.losses).size).toBeGreaterThan(6)
    expect(node.streamed).toBe(node.resident)
    expect(page).toEqual(node)
  })

  it('every op of the catalogue has the same bits, and so have its gradients', async () => {
    const [node, page] = await runInBoth<Record<string, string>>(
      'test/catalogue/hash.node.ts',
      'test/catalogue/hashPage.ts',
    )
    expect(Object.keys(node)).toEqual(catalogue.map(titleOf))
    expect(page).toEqual(node)
  })
})
