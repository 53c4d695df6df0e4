import { describe, expect, it } from 'vitest'
import { barPlot, linePlot, scatterPlot, standaloneSvg, thinned } from '../../src/cli/plot/plots.ts'
import { plotStyle } from '../../src/cli/plot/style.ts'

/** Attributes of every element of a kind, in order. */
function elements(svg: string, tag: string): Record<string, string>[] {
  return [...svg.matchAll(new RegExp(`<${tag}\\s([^>]*)>`, 'g'))].map(([, text]) =>
    Object.fromEntries(
      [...text.matchAll(/([\w-]+)="([^"]*)"/g)].map(([, name, value]) => [name, value]),
    ),
  )
}

const texts = (svg: string): string[] =>
  [...svg.matchAll(/<text[^>]*>([^<]*)</g)].map(([, text]) => text)

describe('linePlot', () => {
  const options = {
    title: 'ACC by <α>',
    series: [
      {
        name: 'SCP',
        points: [
          [1, 40, 10],
          [2, 60, 0],
          [3, NaN],
          [4, 50],
        ] as const,
      },
      {
        name: 'k-means',
        points: [
          [1, 45],
          [4, 45],
        ] as const,
        dashed: true,
      },
    ],
    marks: [{ x: 4, label: 'default' }],
    width: 400,
    height: 300,
  }

  it('places points, gaps, deviations and marks by one scale', () => {
    const svg = linePlot(options).text
    const [one, two, four] = elements(svg, 'circle')
    // The top of the first error bar is as high as the second point: 40 + 10 against 50.
    const [bar] = elements(svg, 'path').filter((path) => path['class'].startsWith('error'))
    const [, low, , high] = /^M[\d.]+,([\d.]+)H([\d.]+)M[\d.]+,[\d.]+V([\d.]+)/.exec(bar['d'])!
    expect(Number(high)).toBeCloseTo(Number(four['cy']), 0)
    expect(Number(low) - Number(high)).toBeCloseTo(Number(one['cy']) - Number(two['cy']), 0)
    // x: 1, 2 and 4 lie as far apart as their numbers; the last is at the right side.
    const [x1, x2, x4] = [one, two, four].map((spot) => Number(spot['cx']))
    expect((x4 - x1) / (x2 - x1)).toBeCloseTo(3, 1)
    expect(x4).toBe(400 - 14)
    const [path] = elements(svg, 'path').filter((path) => path['class'].startsWith('line'))
    expect(path['d'].match(/M/g)).toHaveLength(2)
    expect(svg).not.toMatch(/NaN|undefined|Infinity/)
    expect(texts(svg)).toEqual(
      expect.arrayContaining(['SCP', 'k-means', 'default', 'ACC by &lt;α&gt;']),
    )
  })

  it('draws a band instead, and no spots on a long series', () => {
    const points = Array.from({ length: 100 }, (_, i) => [i, i % 7, 1] as const)
    const svg = linePlot({ title: 't', series: [{ name: 'a', points }], spread: 'band' }).text
    expect(elements(svg, 'path').map((path) => path['class'].split(' ')[0])).toEqual([
      'band',
      'line',
    ])
    expect(svg).not.toContain('<circle')
  })

  it.each([
    ['linear', [-9.2, -0.1], undefined, ['−10', '−8', '−6', '−4', '−2', '0']],
    ['linear', [0, 0.04], undefined, ['0.00', '0.01', '0.02', '0.03', '0.04']],
    ['linear', [3, 3], undefined, ['1.5', '2.0', '2.5', '3.0', '3.5', '4.0', '4.5']],
    ['log', [0.1, 10], [0.1, 10], ['0.1', '0.2', '0.5', '1', '2', '5', '10']],
  ] as const)('%s ticks of %j', (scale, ys, domain, expected) => {
    const points = ys.map((y, i) => [i, y] as const)
    const y = { scale, domain, ticks: 5 }
    const svg = linePlot({ title: 't', x: { ticks: 0 }, y, series: [{ name: 'a', points }] }).text
    expect(texts(svg).slice(1)).toEqual(expected)
  })
})

describe('barPlot', () => {
  it('gives every bar its place, height and deviation, and the other figure a line', () => {
    const svg = barPlot({
      title: 't',
      categories: ['a', 'b'],
      series: [
        { name: 'one', bars: [{ value: 50, deviation: 5, beside: 100 }, { value: 100 }] },
        { name: 'two', bars: [undefined, { value: 25 }] },
      ],
    }).text
    const bars = elements(svg, 'rect')
    const heights = bars.map((bar) => Number(bar['height']))
    expect(bars).toHaveLength(3)
    expect(heights[1] / heights[0]).toBeCloseTo(2, 2)
    expect(heights[0] / heights[2]).toBeCloseTo(2, 2)
    expect(elements(svg, 'path')).toHaveLength(1)
    const [beside] = elements(svg, 'line').filter((line) => line['class'] === 'beside')
    expect(Number(beside['y1'])).toBeCloseTo(Number(bars[1]['y']), 1)
  })
})

describe('scatterPlot', () => {
  it('keeps the shape of what it shows, in the colours of groups', () => {
    const points = [
      [0, 0],
      [10, 0],
      [0, 5],
    ] as const
    const svg = scatterPlot({ title: 't', points, groups: [0, 1, 13], names: ['a', 'b'] }).text
    const spots = elements(svg, 'circle')
    const [origin, right, up] = spots.map((spot) => [Number(spot['cx']), Number(spot['cy'])])
    expect(right[0] - origin[0]).toBeCloseTo(2 * (origin[1] - up[1]), 0)
    expect(spots.map((spot) => spot['class'])).toEqual([
      'spot fill-0',
      'spot fill-1',
      'spot fill-1',
    ])
  })

  it('shows one point, and none', () => {
    for (const points of [[[3, 4]] as const, []]) {
      expect(scatterPlot({ title: 't', points }).text).not.toMatch(/NaN|Infinity/)
    }
  })
})

it('has a colour for every class, and stands alone with its style', () => {
  const plot = linePlot({ title: 't', description: 'd', series: [] })
  const file = standaloneSvg(plot)
  expect(file).toMatch(
    /^<svg xmlns="http:\/\/www.w3.org\/2000\/svg" class="plot" .*width="640" height="380"><style>/,
  )
  expect(file).toContain('prefers-color-scheme: dark')
  const used = new Set([...plotStyle.matchAll(/var\((--plot-\d+)\)/g)].map(([, name]) => name))
  for (const name of used) expect(plotStyle.split(`${name}:`)).toHaveLength(3)
  const [, ids] = /aria-labelledby="([^"]+)"/.exec(plot.text)!
  for (const id of ids.split(' ')) expect(plot.text).toContain(`id="${id}"`)
})

it('thins to means of equal runs', () => {
  const points = Array.from({ length: 6 }, (_, i) => [i, 2 * i] as const)
  expect(thinned(points, 3)).toEqual([
    [0.5, 1],
    [2.5, 5],
    [4.5, 9],
  ])
  expect(thinned(points)).toEqual(points)
})
