import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { type Browser, type Locator, type Page, chromium } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { CHROMIUM_FLAGS, findChromium } from '../../scripts/adapters.mjs'
import { evenly } from '../../src/cli/makeCloud.ts'
import { renderReport } from '../../src/cli/report.ts'
import { cloudColumns } from '../../src/cli/report/cloud.ts'
import { cloudScript } from '../../src/cli/report/cloudScript.ts'
import { pointsCsv } from '../../src/cli/tsne.ts'
import { sampleCloud } from './sampleCloud.ts'
import { sampleReport } from './sampleReport.ts'

const HOSTILE = '</script><script>hit()</script><!--"\u2028.jpg'
const COUNT = 1200

let folder: string
let browser: Browser
let page: Page
const problems: string[] = []
const requests: string[] = []

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'keeplight-cloud-'))
  const nameOf = (cluster: number, image: number): string =>
    image === 3 ? `${cluster}${HOSTILE}` : `kind ${cluster}/image ${image}.jpg`
  const cloud = await sampleCloud(COUNT, nameOf)
  const path = join(folder, 'report.html')
  await writeFile(path, renderReport({ ...(await sampleReport(2, nameOf)), cloud }))
  browser = await chromium.launch({ executablePath: findChromium(), args: [...CHROMIUM_FLAGS] })
  page = await browser.newPage({ viewport: { width: 1000, height: 800 } })
  page.on('console', (message) => problems.push(message.text()))
  page.on('pageerror', (error) => problems.push(error.message))
  page.on('request', (request) => requests.push(request.url()))
  await page.exposeFunction('hit', () => problems.push('a script ran'))
  await page.goto(pathToFileURL(path).href)
  await canvas().scrollIntoViewIfNeeded()
})
afterAll(async () => {
  await browser.close()
  await rm(folder, { recursive: true })
})

const canvas = (): Locator => page.locator('.cloud-canvas')
const card = (): Locator => page.locator('.cloud-card')

interface Drawn {
  readonly zoom: number
  readonly pictures: number
  /** Pixels by colour, most of them first. */
  readonly colours: number
  readonly filled: number
}

/** Waits for a frame that is as expected, and gives it. */
async function drawn(expected: (frame: Drawn) => boolean): Promise<Drawn> {
  let frame: Drawn | undefined
  await expect
    .poll(async () => expected((frame = await canvas().evaluate(look))), { timeout: 10_000 })
    .toBe(true)
  return frame!
}

function look(element: SVGElement | HTMLElement): Drawn {
  const { width, height, dataset } = element as HTMLCanvasElement
  // A copy, since reading a canvas back changes how it is drawn.
  const copy = new OffscreenCanvas(width, height)
  const context = copy.getContext('2d', { willReadFrequently: true })!
  context.drawImage(element as HTMLCanvasElement, 0, 0)
  const pixels = new Uint32Array(context.getImageData(0, 0, width, height).data.buffer)
  const counts = new Map<number, number>()
  for (const pixel of pixels) if (pixel !== 0) counts.set(pixel, (counts.get(pixel) ?? 0) + 1)
  const filled = Array.from(counts.values()).reduce((sum, count) => sum + count, 0)
  // Colours of dots cover many pixels each; those of edges and pictures few.
  const colours = Array.from(counts.values()).filter((count) => count > 400).length
  return { zoom: Number(dataset.zoom), pictures: Number(dataset.pictures), colours, filled }
}

describe('the image cloud in Chromium', () => {
  it('draws its points by cluster, and by class when asked', async () => {
    const frame = await drawn(({ filled }) => filled > 0)
    expect(frame.colours).toBe(8)
    const keys = page.locator('.cloud-key button')
    expect(await keys.count()).toBe(8)
    expect(await keys.first().textContent()).toBe('0 (150)')
    await page.getByLabel('class', { exact: true }).check()
    expect(
      (await keys.allTextContents()).filter((key) => /^sunset \(1\d\d\)$/.test(key)),
    ).toHaveLength(1)
    await keys.first().click()
    expect(await keys.first().getAttribute('aria-pressed')).toBe('true')
    await keys.first().click()
    await page.getByLabel('cluster', { exact: true }).check()
  })

  it('zooms about the pointer until pictures show, and drags', async () => {
    const box = (await canvas().boundingBox())!
    const before = await drawn(({ zoom }) => zoom === 1)
    expect(before.pictures).toBe(0)
    await page.mouse.move(box.x + box.width * 0.2, box.y + box.height / 2)
    await page.mouse.wheel(0, -900)
    const near = await drawn(({ zoom, pictures }) => zoom > 4 && pictures > 0)
    await page.mouse.down()
    await page.mouse.move(box.x + box.width * 0.9, box.y + box.height / 2, { steps: 4 })
    await page.mouse.up()
    await drawn(({ pictures }) => pictures !== near.pictures)
    expect(await card().isHidden()).toBe(true)
    await page.getByRole('button', { name: 'Reset' }).click()
    await drawn(({ zoom }) => zoom === 1)
    await page.getByRole('button', { name: 'Zoom in' }).click()
    await drawn(({ zoom }) => zoom === 1.6)
    await page.getByRole('button', { name: 'Reset' }).click()
  })

  it('shows the image that is pointed at, with path, cluster and probability', async () => {
    await drawn(({ zoom }) => zoom === 1)
    const box = (await canvas().boundingBox())!
    const { x, y, path } = await page.locator('.cloud-data').evaluate((data) => {
      return JSON.parse(data.textContent) as ReturnType<typeof cloudColumns>
    })
    const sides = [x, y].map((values) => Math.max(...values) - Math.min(...values))
    const scale = 0.9 * Math.min(box.width / sides[0], box.height / sides[1])
    const pointTo = (point: number): Promise<void> =>
      page.mouse.move(
        box.x + box.width / 2 + (x[point] - 0.5) * scale,
        box.y + box.height / 2 + (y[point] - 0.5) * scale,
      )
    // The rightmost and the leftmost point: nothing lies over them. Only early ones have pictures.
    const rightmost = x.indexOf(Math.max(...x.slice(0, COUNT / 2)))
    await pointTo(rightmost)
    await card().waitFor()
    expect(await card().textContent()).toMatch(/cluster \d, 97.0 % · class [a-z]+$/)
    expect(await card().getByRole('link').textContent()).toBe(path[rightmost])
    expect(
      await card()
        .locator('canvas, img')
        .evaluate((e) => e.clientWidth),
    ).toBeGreaterThan(100)
    await page.mouse.move(box.x + 3, box.y + 3)
    await card().waitFor({ state: 'hidden' })
    // The larger picture of the contact sheet where that has one.
    await pointTo(0)
    await card().getByRole('img', { name: path[0], exact: true }).waitFor()
    expect(
      await card()
        .locator('img')
        .evaluate((e) => e.clientWidth),
    ).toBeGreaterThan(100)
    expect(path.some((name) => name.includes('hit()'))).toBe(true)
    await page.mouse.move(box.x + 3, box.y + 3)
    await card().waitFor({ state: 'hidden' })
    await canvas().focus()
    await page.keyboard.press('ArrowRight')
    await card().waitFor()
    const first = await card().textContent()
    await page.keyboard.press('ArrowRight')
    await expect.poll(() => card().textContent()).not.toBe(first)
    await page.keyboard.press('Escape')
    await card().waitFor({ state: 'hidden' })
    await page.keyboard.press('+')
    await drawn(({ zoom }) => zoom === 1.4)
    await page.keyboard.press('0')
  })

  it('fits a narrow window, and runs nothing but its script', async () => {
    await page.setViewportSize({ width: 360, height: 700 })
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(360)
    await drawn(({ filled, zoom }) => filled > 0 && zoom === 1)
    expect(await page.locator('script').count()).toBe(2)
    expect(problems).toEqual([])
    expect(requests.filter((url) => !/^(data|file):/.test(url))).toEqual([])
  })
})

describe('cloudColumns', () => {
  it('scales the longer side to 0 … 1 and counts downwards', () => {
    const points = [
      { path: 'a', x: -10, y: 0, label: 'b' },
      { path: 'c', x: 10, y: 10, label: 'a', href: 'c d.jpg' },
    ]
    expect(cloudColumns({ about: '', points })).toEqual({
      x: [0, 1],
      y: [0.75, 0.25],
      path: ['a', 'c'],
      href: ['', './c%20d.jpg'],
      colourings: [{ name: 'class', names: ['a', 'b'], of: [1, 0] }],
    })
  })
})

it('names columns of what is known in tsne.csv', () => {
  const points = [{ path: '=a,b', x: 1 / 3, y: -2, label: 'x', cluster: 4, probability: 0.5 }]
  expect(pointsCsv(points)).toBe('path,x,y,label,cluster\n"./=a,b",0.3333333,-2,x,4\n')
  expect(pointsCsv([{ path: 'a', x: 0, y: 1 }])).toBe('path,x,y\na,0,1\n')
})

it('takes images evenly where there are too many', () => {
  expect(evenly(4, 9)).toEqual([0, 1, 2, 3])
  expect(evenly(10, 4)).toEqual([0, 2, 5, 7])
})

it('is a script by itself', () => {
  expect(() => new Function(cloudScript)).not.toThrow()
  // A compiler's helper or another module's name would fail in the page alone.
  expect(cloudScript).not.toMatch(/__vi|import_|__toESM/)
})
