import { resolve } from 'node:path'
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { serveRanges, type RangeServer } from '../support/rangeServer.node.ts'
import { openChromium, root, serveSources, type PageServer } from './servePage.ts'

/** A page of one origin that reads a file of another. */
describe('an address in a page', () => {
  const bytes = Uint8Array.from({ length: 200_000 }, (_, i) => (i * 7) & 255)
  let page: PageServer
  let browser: Browser
  let tab: Page
  let files: RangeServer
  beforeAll(async () => {
    page = await serveSources()
    files = await serveRanges()
    files.files.set('/file', bytes)
    browser = await openChromium()
    // The page's own policy lets it fetch from few hosts.
    tab = await browser.newPage({ bypassCSP: true })
    await tab.goto(`${page.url}nothing.txt`)
  })
  afterAll(async () => {
    await browser?.close()
    await files?.close()
    await page?.close()
  })

  /** Sum of some bytes of an address, or the message of the error. */
  const read = (
    address: string,
    headers: Record<string, string> = {},
  ): Promise<number | string> => {
    const module = `/@fs${resolve(root, 'src/model/byteSource.ts')}`
    const options = { waitMs: 1, retries: 1, headers }
    // As text, since the runner rewrites imports of functions.
    return tab.evaluate<number | string>(`(async () => {
      const { httpSource } = await import(${JSON.stringify(module)})
      try {
        const source = await httpSource(${JSON.stringify(address)}, ${JSON.stringify(options)})
        const part = await source.read(100000, 100100)
        return part.reduce((sum, byte) => sum + byte, 0)
      } catch (error) {
        return error.message
      }
    })()`)
  }
  const sum = bytes.slice(100_000, 100_100).reduce((all, byte) => all + byte, 0)

  it('is read by ranges where its server lets pages see them', async () => {
    files.headers['access-control-allow-origin'] = '*'
    const hidden = await read(`${files.url}/file`)
    expect(hidden).toMatch(/no visible Content-Range.*Access-Control-Expose-Headers/)
    files.headers['access-control-expose-headers'] = 'Content-Range'
    files.requests.length = 0
    expect(await read(`${files.url}/file`)).toBe(sum)
    expect(files.requests.map(({ range }) => range)).toEqual([
      'bytes=0-65535',
      'bytes=100000-100099',
    ])
    files.ignoresRange = 'length'
    expect(await read(`${files.url}/file`)).toBe(sum)
    files.ignoresRange = false
  })

  it('is followed where it leads, but not with headers', async () => {
    files.redirects.set('/moved', `${files.url}/file`)
    expect(await read(`${files.url}/moved`)).toBe(sum)
    files.headers['access-control-allow-headers'] = 'x-key'
    files.requests.length = 0
    expect(await read(`${files.url}/moved`, { 'x-key': 'secret' })).toMatch(
      /it redirects, and a page would pass the headers on/,
    )
    expect(files.requests.filter(({ path }) => path === '/file')).toEqual([])
  })

  it('is refused where its server lets no page in', async () => {
    delete files.headers['access-control-allow-origin']
    expect(await read(`${files.url}/file`)).toMatch(/can't be read: .*after 2 attempts/)
  })
})
