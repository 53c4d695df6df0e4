import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { adapterEnvironment, findSwiftshaderIcd } from '../../scripts/adapters.mjs'
import type { AdapterDescription } from '../../src/index.ts'
import type { SmallRun } from '../support/smallRun.ts'
import { type PageServer, openChromium, root, serveSources } from './servePage.ts'

interface Result {
  readonly adapter: AdapterDescription
  readonly run: SmallRun
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

async function runInNode(): Promise<Result> {
  const icd = findSwiftshaderIcd()
  if (!icd) throw new Error('SwiftShader lies beside no Chromium that is known')
  const script = join(root, 'test/support/smallRun.node.ts')
  const env = { ...process.env, ...adapterEnvironment(icd), KEEPLIGHT_ADAPTER: '' }
  const child = promisify(execFile)(process.execPath, ['--import', 'tsx', script], {
    cwd: root,
    env,
  })
  return JSON.parse((await child).stdout)
}

async function runInPage(): Promise<Result> {
  const page = await browser.newPage()
  // Any document of the server would do; this one starts nothing.
  await page.goto(`${server.url}style.css`)
  const module = `/@fs${join(root, 'test/support/smallRunPage.ts')}`
  // Text, because Vitest rewrites imports within functions.
  const result = await page.evaluate<Result>(
    `import(${JSON.stringify(module)}).then(({ result }) => result)`,
  )
  await page.close()
  return result
}

describe('a whole small run on SwiftShader', () => {
  it('has the same bits in Node and in Chromium', async () => {
    const node = await runInNode()
    const page = await runInPage()
    expect(node.adapter).toMatchObject({ architecture: 'swiftshader', software: true })
    expect(page.adapter).toMatchObject({ architecture: 'swiftshader', software: true })
    expect(node.run.losses).toHaveLength(12)
    expect(new Set(node.run.losses).size).toBeGreaterThan(6)
    expect(page.run).toEqual(node.run)
  })
})
