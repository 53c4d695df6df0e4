import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { Browser, Page } from 'playwright-core'
import sharp from 'sharp'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { assignmentsCsv, type Assignment } from '../../src/train/assignments.ts'
import { drawScene, sceneKinds } from '../../src/data/scenes.ts'
import { type PageServer, openChromium, serveBuild, serveSources } from './servePage.ts'

/** For looking at; the paths are stable, so that a viewer can stay open. */
const screenshots = join(tmpdir(), 'keeplight-screenshots')

/** File names that ran scripts, or asked for something, in somebody's page once. */
const HOSTILE = [
  '<img src=x onerror=hit()>.png',
  'x" onerror=hit() t=".jpg',
  '<svg onload=hit()>.webp',
  '&lt;script&gt;hit()&lt;/script&gt;.png',
  'javascript:hit().jpg',
]
const SETTINGS = '?k=3&views=1&restarts=1&steps=6'

let folder: string
let server: PageServer
let browser: Browser

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'keeplight-page-'))
  await mkdir(screenshots, { recursive: true })
  server = await serveBuild()
  browser = await openChromium()
})
afterAll(async () => {
  await browser?.close()
  await server?.close()
  await rm(folder, { recursive: true, force: true })
})

interface Opened {
  readonly page: Page
  /** What the console said, errors that nothing caught, and scripts that ran from file names. */
  readonly problems: string[]
  /** Addresses that the page asked for, its own files aside. */
  readonly strangers: string[]
}

async function open(address: string, origin = server.url): Promise<Opened> {
  const page = await browser.newPage()
  const problems: string[] = []
  const strangers: string[] = []
  page.on('console', (message) => problems.push(message.text()))
  page.on('pageerror', (error) => problems.push(error.message))
  page.on('request', (request) => {
    const url = request.url()
    if (!/^(blob|data):/.test(url) && !url.startsWith(origin)) strangers.push(url)
  })
  await page.exposeFunction('hit', () => problems.push('a file name ran as a script'))
  await page.goto(address)
  return { page, problems, strangers }
}

type Format = 'png' | 'jpeg' | 'webp'

/** A drawn picture as a file; kinds and seeds go round. */
async function encode(index: number, format: Format): Promise<Buffer> {
  const kind = sceneKinds[index % 3]!
  const { width, height, data } = drawScene(kind, index)
  return sharp(data, { raw: { width, height, channels: 3 } })
    .toFormat(format)
    .toBuffer()
}

const formatOf = (name: string): Format =>
  name.endsWith('.png') ? 'png' : name.endsWith('.webp') ? 'webp' : 'jpeg'

interface Upload {
  readonly name: string
  readonly mimeType: string
  readonly buffer: Buffer
}

async function uploads(names: readonly string[]): Promise<Upload[]> {
  return Promise.all(
    names.map(async (name, i) => {
      const format = formatOf(name)
      return { name, mimeType: `image/${format}`, buffer: await encode(i, format) }
    }),
  )
}

/** `expect.poll` with the patience that a software adapter on a busy machine needs. */
const eventually = <T>(read: () => Promise<T>) => expect.poll(read, { timeout: 60_000 })

/** Waits for clusters, or fails with what the page says instead. */
async function untilDone(page: Page): Promise<void> {
  const outcome = page.locator('#results:not([hidden]), #problem:not(:empty)').first()
  await outcome.waitFor({ timeout: 90_000 })
  expect(await page.locator('#problem').textContent()).toBe('')
}

async function shownPaths(page: Page): Promise<string[]> {
  const images = page.locator('.sheet img')
  return images.evaluateAll((all) => all.map((img) => (img as HTMLImageElement).alt))
}

/** Size that each cluster's heading claims. */
async function claimedSizes(page: Page): Promise<number[]> {
  const facts = await page.locator('.cluster header span').allTextContents()
  return facts.map((text) => Number.parseInt(text))
}

async function downloaded(page: Page, name: string): Promise<string> {
  const download = page.waitForEvent('download')
  await page.getByRole('link', { name: `Download ${name}` }).click()
  const file = await download
  expect(file.suggestedFilename()).toBe(name)
  return readFile(await file.path(), 'utf8')
}

async function screenshot(page: Page, name: string): Promise<void> {
  await page.screenshot({ path: join(screenshots, `${name}.png`), fullPage: true })
}

describe('the page', () => {
  it('clusters chosen files, names a broken one, and shows hostile names as text', async () => {
    const { page, problems, strangers } = await open(`${server.url}${SETTINGS}`)
    await eventually(() => page.locator('#adapter').textContent()).toMatch(
      /^Runs on .*swiftshader/i,
    )
    await screenshot(page, 'start')

    const names = [...HOSTILE, ...Array.from({ length: 8 }, (_, i) => `photo ${i}.jpg`)]
    const good = await uploads(names)
    const broken = { ...good[7]!, name: 'broken <b>.jpg', buffer: Buffer.from('no picture') }
    await page.locator('#files-input').setInputFiles([...good, broken])
    expect(await page.locator('#chosen').textContent()).toBe('14 pictures')

    await page.getByRole('button', { name: 'Find clusters' }).click()
    await eventually(() => page.locator('#pace').textContent()).toMatch(/of 14/)
    await screenshot(page, 'progress')
    await untilDone(page)

    expect((await shownPaths(page)).sort()).toEqual([...names].sort())
    const sizes = await claimedSizes(page)
    expect(sizes).toHaveLength(3)
    expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(13)
    const widths = await page.locator('#results img').evaluateAll(async (all) => {
      const images = all as HTMLImageElement[]
      await Promise.all(images.map((image) => image.decode()))
      return images.map((image) => image.naturalWidth)
    })
    expect(Math.min(...widths)).toBeGreaterThan(0)
    for (const sheet of await page.locator('.sheet').all()) {
      const shares = (await sheet.locator('.p').allTextContents()).map(Number.parseFloat)
      expect(shares).toEqual([...shares].sort((a, b) => b - a))
    }

    expect(await page.locator('#broken summary').textContent()).toBe('1 picture left out')
    expect(await page.locator('#broken li').allTextContents()).toEqual([
      expect.stringMatching(/^broken <b>\.jpg: the browser can't decode it/),
    ])

    await page.getByRole('button', { name: HOSTILE[0] }).click()
    expect(await page.locator('#viewer-path').textContent()).toBe(HOSTILE[0])
    expect(await page.locator('#viewer-about').textContent()).toMatch(/^Cluster \d with [\d.]+\s%/)
    const large = page.locator('#viewer-image')
    await eventually(() => large.evaluate((img) => (img as HTMLImageElement).naturalWidth)).toBe(
      160,
    )
    await page.screenshot({ path: join(screenshots, 'viewer.png') })
    await page.keyboard.press('Escape')
    expect(await page.locator('dialog').isVisible()).toBe(false)

    const rows = JSON.parse(await downloaded(page, 'assignments.json')) as (Assignment & {
      runnerUp: { cluster: number; probability: number }
    })[]
    expect(rows.map(({ path }) => path)).toEqual([...names].sort())
    expect(sizes).toEqual(sizes.map((_, id) => rows.filter((row) => row.cluster === id).length))
    // The very file that the command line writes for the same rows.
    const flat = rows.map((row): Assignment => {
      const { cluster, probability } = row.runnerUp
      return { ...row, runnerUp: cluster, runnerUpProbability: probability }
    })
    expect(await downloaded(page, 'assignments.csv')).toBe(assignmentsCsv(flat))

    for (const [scheme, width] of [
      ['light', 1280],
      ['dark', 1280],
      ['light', 360],
      ['dark', 360],
    ] as const) {
      await page.emulateMedia({ colorScheme: scheme, reducedMotion: 'reduce' })
      await page.setViewportSize({ width, height: 800 })
      await screenshot(page, `results-${scheme}-${width}`)
      const wide = await page.evaluate(() => document.documentElement.scrollWidth)
      expect(wide).toBeLessThanOrEqual(width)
    }

    // Other settings on the same pictures do not look at the pictures again.
    await page.getByLabel('Number of clusters').fill('2')
    await page.getByRole('button', { name: 'Find clusters' }).click()
    await eventually(() => page.locator('.cluster').count()).toBe(2)
    expect(await claimedSizes(page)).toHaveLength(2)
    expect(problems).toEqual([])
    expect(strangers).toEqual([])
    await page.close()
  })

  it('takes a dropped folder with classes, and scores the clusters by them', async () => {
    const names = ['forest/a.png', 'forest/b.png', 'sunset/a.jpg', 'sunset/deep/b.webp']
    for (const [i, name] of names.entries()) {
      const path = join(folder, 'holiday', name)
      await mkdir(dirname(path), { recursive: true })
      await writeFile(path, await encode(i, formatOf(name)))
    }
    await writeFile(join(folder, 'holiday/notes.txt'), 'not a picture')
    await writeFile(join(folder, 'holiday/.hidden.png'), 'not for us')
    const { page, problems, strangers } = await open(`${server.url}${SETTINGS}`)
    await dropFiles(page, [join(folder, 'holiday')])
    await eventually(() => page.locator('#chosen').textContent()).toBe(
      '4 pictures from “holiday” · 1 other file passed over',
    )
    await page.getByRole('button', { name: 'Find clusters' }).click()
    await untilDone(page)
    expect((await shownPaths(page)).sort()).toEqual(names)
    const figures = await page.locator('.figures dt').allTextContents()
    expect(figures).toEqual(['pictures', 'clusters', 'accuracy (ACC)', 'NMI', 'ARI'])
    expect(problems).toEqual([])
    expect(strangers).toEqual([])
    await page.close()
  })

  it('stops when asked to, and can go on', async () => {
    const { page, problems } = await open(`${server.url}?views=1&drawn=400`)
    await page.getByRole('button', { name: 'Try it with drawn pictures' }).click()
    await eventually(() => page.locator('#pace').textContent()).toMatch(/3,200/)
    await page.getByRole('button', { name: 'Cancel' }).click()
    await eventually(() => page.locator('#problem').textContent()).toMatch(/^Stopped/)
    expect(await page.locator('#progress').isVisible()).toBe(false)
    expect(await page.getByRole('button', { name: 'Find clusters' }).isEnabled()).toBe(true)
    expect(problems).toEqual([])
    await page.close()
  })

  it('says what to do about choices that make no clusters', async () => {
    const { page, problems } = await open(server.url)
    const problem = page.locator('#problem')
    const choose = (files: Upload[]): Promise<void> =>
      page.locator('#files-input').setInputFiles(files)
    const text = { name: 'notes.txt', mimeType: 'text/plain', buffer: Buffer.from('x') }
    await choose([text])
    expect(await problem.textContent()).toMatch(/^There are no pictures among 1 file: expected/)
    const [one] = await uploads(['one.png'])
    await choose([one!])
    expect(await problem.textContent()).toMatch(/^One picture makes no clusters: choose two/)
    expect(await page.locator('#start').isDisabled()).toBe(true)

    await choose(['a.jpg', 'b.jpg'].map((name) => ({ ...text, name, mimeType: 'image/jpeg' })))
    await page.getByRole('button', { name: 'Find clusters' }).click()
    await eventually(() => problem.textContent()).toMatch(
      /^None of the 2 pictures can be decoded\. The first: a\.jpg: .*expected an intact JPEG/,
    )
    await screenshot(page, 'problem')
    expect(problems).toEqual([])
    await page.close()
  })

  it('says what to do without WebGPU', async () => {
    const context = await browser.newContext()
    await context.addInitScript(() => {
      Object.defineProperty(Navigator.prototype, 'gpu', { get: () => undefined })
    })
    const page = await context.newPage()
    await page.goto(server.url)
    await eventually(() => page.locator('#problem').textContent()).toMatch(/no WebGPU.*Chrome/)
    expect(await page.locator('#adapter').textContent()).toBe('No GPU')
    await context.close()
  })

  it('also runs from its sources, under the same policy', async () => {
    const sources = await serveSources()
    try {
      const { page, problems, strangers } = await open(`${sources.url}${SETTINGS}`, sources.url)
      await eventually(() => page.locator('#adapter').textContent()).toMatch(
        /^Runs on .*swiftshader/i,
      )
      await page.locator('#files-input').setInputFiles(await uploads(['a.png', 'b.webp']))
      await page.getByLabel('Number of clusters').fill('2')
      await page.getByRole('button', { name: 'Find clusters' }).click()
      await untilDone(page)
      expect((await shownPaths(page)).sort()).toEqual(['a.png', 'b.webp'])

      const policy = page.locator('meta[http-equiv="Content-Security-Policy"]')
      const rules = (await policy.getAttribute('content'))!.split('; ')
      expect(rules).toEqual(expect.arrayContaining(["default-src 'none'", "connect-src 'self'"]))
      const blocked = await page.evaluate(() =>
        fetch('http://127.0.0.1:9/').then(
          () => 'answered',
          () => 'refused',
        ),
      )
      expect(blocked).toBe('refused')
      // The policy complains about the address above, and about nothing of the page's own.
      const complaints = problems.filter((line) => !line.startsWith('[vite]'))
      expect(complaints.filter((line) => !line.includes('http://127.0.0.1:9/'))).toEqual([])
      expect(complaints).not.toEqual([])
      expect(strangers).toEqual([])
      await page.close()
    } finally {
      await sources.close()
    }
  })
})

/** Drops files and folders of this machine, as the browser does when a person lets go of them. */
async function dropFiles(page: Page, files: string[]): Promise<void> {
  const devtools = await page.context().newCDPSession(page)
  const data = { items: [], files, dragOperationsMask: 1 }
  for (const type of ['dragEnter', 'dragOver', 'drop'] as const) {
    await devtools.send('Input.dispatchDragEvent', { type, x: 200, y: 300, data })
  }
}
