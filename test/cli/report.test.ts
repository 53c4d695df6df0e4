import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { type Browser, type Page, chromium } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { CHROMIUM_FLAGS, findChromium } from '../../scripts/adapters.mjs'
import { renderReport } from '../../src/cli/report.ts'
import { escapeHtml, hrefOf, markup } from '../../src/cli/report/html.ts'
import { sampleFindings, sampleReport } from './sampleReport.ts'

/** Fifty file names that ran scripts, or asked for something, in somebody's report once. */
const payloads = [
  '<script>hit()</script>.jpg',
  '"><script>hit()</script>.jpg',
  "'><script>hit()</script>.jpg",
  'x" onerror=hit() t=".jpg',
  "x' onerror=hit() t='.jpg",
  '<img src=x onerror=hit()>.jpg',
  '"><img src=x onerror=hit()>.jpg',
  '<svg onload=hit()>.jpg',
  '"><svg/onload=hit()>.jpg',
  '<iframe srcdoc="<script>parent.hit()</script>">.jpg',
  '<iframe src=javascript:hit()>.jpg',
  '<object data=http://127.0.0.1:9/o>.jpg',
  '<embed src=http://127.0.0.1:9/e>.jpg',
  '<link rel=stylesheet href=http://127.0.0.1:9/c>.jpg',
  '<style>@import "http://127.0.0.1:9/s";</style>.jpg',
  '<style>*{background:url(http://127.0.0.1:9/b)}</style>.jpg',
  '</style><script>hit()</script>.jpg',
  '</title><script>hit()</script>.jpg',
  '</textarea><script>hit()</script>.jpg',
  '--><script>hit()</script>.jpg',
  '<!--<script>hit()</script>.jpg',
  '<meta http-equiv=refresh content="0;url=http://127.0.0.1:9/m">.jpg',
  '<base href=http://127.0.0.1:9/>.jpg',
  '<form action=http://127.0.0.1:9/><button autofocus>.jpg',
  '<input autofocus onfocus=hit()>.jpg',
  '<details open ontoggle=hit()>.jpg',
  '<video src=x onerror=hit()>.jpg',
  '<audio src=http://127.0.0.1:9/a autoplay>.jpg',
  '<body onload=hit()>.jpg',
  '<marquee onstart=hit()>.jpg',
  '<math><mtext><table><mglyph><style><img src=x onerror=hit()>.jpg',
  '<a href="javascript:hit()" autofocus>.jpg',
  'javascript:hit().jpg',
  'javascript:hit()//.jpg',
  'data:text/html,<script>hit()</script>.jpg',
  '//127.0.0.1:9/x.jpg',
  'http://127.0.0.1:9/x.jpg',
  '\\\\127.0.0.1\\x.jpg',
  '?q=<script>hit()</script>#<script>hit()</script>.jpg',
  '&lt;script&gt;hit()&lt;/script&gt;.jpg',
  '&#60;script&#62;hit()&#60;/script&#62;.jpg',
  '\u0000<script>hit()</script>.jpg',
  'a\n<script>hit()</script>.jpg',
  '\u202egpj.<script>hit()</script>.jpg',
  '\ud800<script>hit()</script>.jpg',
  '＜script＞hit()＜/script＞.jpg',
  '${hit()}.jpg',
  '{{constructor.constructor("hit()")()}}.jpg',
  '`;hit();`.jpg',
  '%3Cscript%3Ehit()%3C/script%3E.jpg',
]

let folder: string
let browser: Browser

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'keeplight-report-'))
  const executablePath = findChromium()
  browser = await chromium.launch({ executablePath, args: [...CHROMIUM_FLAGS] })
})
afterAll(async () => {
  await browser.close()
  await rm(folder, { recursive: true })
})

interface Opened {
  readonly page: Page
  readonly problems: string[]
  readonly requests: string[]
}

async function open(report: string): Promise<Opened> {
  const path = join(folder, 'report.html')
  await writeFile(path, report)
  const page = await browser.newPage()
  const problems: string[] = []
  const requests: string[] = []
  page.on('console', (message) => problems.push(message.text()))
  page.on('pageerror', (error) => problems.push(error.message))
  page.on('request', (request) => requests.push(request.url()))
  await page.exposeFunction('hit', () => problems.push('a script ran'))
  await page.goto(pathToFileURL(path).href)
  await page.waitForLoadState('networkidle')
  return { page, problems, requests: requests.filter((url) => !url.startsWith('data:')) }
}

describe('the report in Chromium', () => {
  it('runs no script and asks for nothing, whatever fifty files are called', async () => {
    expect(new Set(payloads).size).toBe(50)
    const data = await sampleReport(7, (cluster, image) => payloads[(cluster * 7 + image) % 50])
    const hostile = {
      ...data,
      ...sampleFindings(data),
      title: payloads[17],
      broken: payloads.map((path) => ({ path, message: path })),
      confusion: data.confusion && { ...data.confusion, classes: payloads.slice(0, 8) },
    }
    const { page, problems, requests } = await open(renderReport(hostile))
    expect(problems).toEqual([])
    expect(requests).toEqual([pathToFileURL(join(folder, 'report.html')).href])
    expect(await page.locator('script, iframe, object, embed, form, base, video').count()).toBe(0)
    // No link leaves the folder of files, and none is a script.
    const links = await page
      .locator('a')
      .evaluateAll((all) => all.map((a) => (a as HTMLAnchorElement).href))
    expect(links.length).toBeGreaterThan(50)
    expect(links.filter((href) => !href.startsWith('file:///'))).toEqual([])
    // The names are shown as they are.
    const names = await page
      .locator('.sheet img')
      .evaluateAll((all) => all.map((img) => (img as HTMLImageElement).alt))
    const shown = payloads.map((name) => name.replace(/[\u0000\n\ud800]/g, '\ufffd')) // eslint-disable-line no-control-regex
    expect(new Set(names)).toEqual(new Set(shown))
    await page.close()
  })

  it('shows every picture, and has no wider page than the window, wide or narrow', async () => {
    const data = await sampleReport(13, (cluster, image) => `kind ${cluster}/image ${image}.jpg`)
    const { page, problems } = await open(renderReport({ ...data, ...sampleFindings(data) }))
    for (const width of [1280, 360]) {
      await page.setViewportSize({ width, height: 800 })
      const pictures = await page
        .locator('img')
        .evaluateAll((all) => all.map((img) => (img as HTMLImageElement).naturalWidth))
      expect(pictures).toHaveLength(8 * 13 + 8 * 4 + 6 + 7 + 3)
      expect(Math.min(...pictures)).toBeGreaterThan(0)
      expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(
        width,
      )
    }
    expect(problems).toEqual([])
    // The style sheet's hash fits: an unstyled body would keep the browser's margin.
    expect(
      await page
        .locator('.sheet')
        .first()
        .evaluate((e) => getComputedStyle(e).display),
    ).toBe('flex')
    await page.close()
  })

  it('is dark where the reader wants it dark', async () => {
    const { page } = await open(renderReport(await sampleReport(1, () => 'a.jpg')))
    const background = (): Promise<string> =>
      page.evaluate(() => getComputedStyle(document.body).backgroundColor)
    await page.emulateMedia({ colorScheme: 'light' })
    expect(await background()).toBe('rgb(250, 249, 247)')
    await page.emulateMedia({ colorScheme: 'dark' })
    expect(await background()).toBe('rgb(19, 20, 22)')
    await page.close()
  })
})

describe('renderReport', () => {
  it('begins its head with the policy', async () => {
    const report = renderReport(await sampleReport(1, () => 'a.jpg'))
    const policy = /<head>\s*<meta http-equiv="Content-Security-Policy" content="([^"]+)" \/>/.exec(
      report,
    )
    expect(policy?.[1]).toMatch(
      /^default-src 'none'; img-src data:; style-src 'sha256-[\w+/]{43}='; base-uri 'none'; form-action 'none'$/,
    )
    expect(report).not.toMatch(/style="/)
  })

  it('shows how the number of clusters was chosen, where it was', async () => {
    const data = await sampleReport(1, () => 'a.jpg')
    const report = renderReport(data)
    expect(report.replace(/\s+/g, ' ')).toContain(
      'Chosen: <b>8</b>. The codes of 7 clusters are about as short.',
    )
    expect(report).toContain('coding length of 2 to 12 clusters; 8 was chosen')
    expect(report).not.toContain('NaN')
    expect(report).not.toContain('a guess')
    const unclear = { ...data, choice: { ...data.choice!, structured: false } }
    expect(renderReport(unclear)).toContain('this choice is a guess')
    expect(renderReport({ ...data, choice: undefined })).not.toContain('Number of clusters')
  })

  it('does without labels, broken files, a trace and thumbnails', async () => {
    const data = await sampleReport(2, (cluster, image) => `${cluster}-${image}.jpg`)
    const report = renderReport({
      ...data,
      confusion: undefined,
      broken: [],
      trace: [],
      restarts: {
        ...data.restarts,
        accuracy: undefined,
        restarts: data.restarts.restarts.map((run) => ({ ...run, accuracy: undefined })),
      },
      scores: data.scores.map(({ method, inertia, agreement }) => ({ method, inertia, agreement })),
      clusters: [
        ...data.clusters.map((cluster) => ({ ...cluster, majority: undefined })),
        { id: 8, size: 0, confidence: 0, surest: [], omitted: 0, leastSure: [] },
      ],
    })
    expect(report).toContain('No image fell into this cluster.')
    expect(report).not.toContain('ACC</th>')
    expect(report).not.toMatch(/undefined|NaN|Infinity/)
    expect(report).not.toContain('To look at')
    expect(report).not.toContain('Most and least certain')
  })

  it('lists findings with their figures, and how many are not shown', async () => {
    const data = await sampleReport(2, (cluster, image) => `${cluster}-${image}.jpg`)
    const text = renderReport({ ...data, ...sampleFindings(data) }).replace(/\s+/g, ' ')
    const parts = [
      '4 images (25.0 %) uncertain: the cluster is less than twice as probable',
      '30 pictures more than once, 41 files to spare',
      'And 28 groups more.',
      'a cosine of 0.912 or more; two images of this collection have 0.104 in the mean',
      'Odd shape <span class="soft">14</span>',
      '<li class="gap">12 more</li>',
      '<dt>copies</dt> <dd>41</dd>',
      'title="0-0.jpg — 640×480, at length"',
    ]
    expect(parts.filter((part) => !text.includes(part))).toEqual([])
    const none = { copies: { total: 0, spare: 0, groups: [] }, issues: [] }
    expect(renderReport({ ...data, toLook: none })).not.toContain('To look at')
  })
})

describe('markup', () => {
  it('escapes what is put in, and only once', () => {
    const inner = markup`<b>${'a & <b>'}</b>`
    expect(markup`<p title="${`"'`}">${inner}${[inner, false, undefined, 7]}</p>`.text).toBe(
      '<p title="&quot;&#39;"><b>a &amp; &lt;b&gt;</b><b>a &amp; &lt;b&gt;</b>7</p>',
    )
    expect(escapeHtml(`&<>"'`)).toBe('&amp;&lt;&gt;&quot;&#39;')
  })

  it.each([
    ['a/b c.jpg', './a/b%20c.jpg'],
    ['../x?y#z.jpg', './../x%3Fy%23z.jpg'],
    ['javascript:x.jpg', './javascript%3Ax.jpg'],
    ['\ud800.jpg', './%EF%BF%BD.jpg'],
  ])('links to %j by %s', (path, href) => {
    expect(hrefOf(path)).toBe(href)
  })
})
