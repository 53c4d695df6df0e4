import { createHash } from 'node:crypto'
import { scaleLinear, scaleLog } from 'd3-scale'
import { markup, raw, type Html, type HtmlValue } from '../report/html.ts'
import { paletteSize, standaloneStyle } from './style.ts'

/** What every kind of plot takes. */
export interface PlotOptions {
  /** Names the plot to readers and screen readers. */
  readonly title: string
  /** What it shows, in a sentence or two for those who can't see it. */
  readonly description?: string
  /** False where the page shows the title itself. */
  readonly heading?: boolean
  /** Units of the view box, which is as wide as its place on a page. */
  readonly width?: number
  readonly height?: number
}

export interface Axis {
  readonly label?: string
  /** Default: round numbers around the data. */
  readonly domain?: readonly [number, number]
  readonly scale?: 'linear' | 'log'
  /** About how many ticks; 0: none, and no line. */
  readonly ticks?: number
  readonly format?: (value: number) => string
}

/** An entry of the legend: a name in the colour of its index. */
export interface LegendEntry {
  readonly name: string
  readonly colour: number
  readonly dashed?: boolean
}

/** The class of a colour, by the index of a series or group. */
export const strokeOf = (colour: number): string => `stroke-${colour % paletteSize}`
export const fillOf = (colour: number): string => `fill-${colour % paletteSize}`

/** Numbers of a path or an attribute: a tenth of a unit is finer than anyone sees. */
export const place = (value: number): string => String(Math.round(value * 10) / 10)

/** A number as people read it, at most four digits. */
export const formatValue = (value: number): string =>
  Number(value.toPrecision(4)).toString().replace('-', '−')

export interface Scale {
  (value: number): number
  readonly ticks: readonly number[]
  readonly format: (value: number) => string
}

/** The rectangle that data are drawn in, and what is around it. */
export interface Frame {
  readonly width: number
  readonly height: number
  readonly left: number
  readonly right: number
  readonly top: number
  readonly bottom: number
}

const fontWidth = 6.2

/**
 * A scale from values to places, over round numbers around `values` unless the axis names its domain.
 * A logarithmic one leaves out what is not above zero.
 */
export function makeScale(
  axis: Axis,
  values: readonly number[],
  range: readonly [number, number],
): Scale {
  const log = axis.scale === 'log'
  const usable = values.filter((value) => Number.isFinite(value) && (!log || value > 0))
  const [low, high] = axis.domain ?? extentOf(usable, log)
  const scale = (log ? scaleLog() : scaleLinear()).domain([low, high]).range(range)
  const count = axis.ticks ?? 5
  if (!axis.domain && !log) scale.nice(Math.max(count, 1))
  const format = axis.format ?? (log ? formatValue : scale.tickFormat(count))
  const ticks = count === 0 ? [] : log ? logTicks(low, high) : scale.ticks(count)
  return Object.assign((value: number) => scale(value), { ticks, format })
}

function extentOf(values: readonly number[], log: boolean): [number, number] {
  if (values.length === 0) return log ? [1, 10] : [0, 1]
  // Not Math.min(...values): a long series would overflow the stack.
  const low = values.reduce((a, b) => Math.min(a, b))
  const high = values.reduce((a, b) => Math.max(a, b))
  if (low < high) return log ? [low / 1.1, high * 1.1] : [low, high]
  return log
    ? [low / 2, high * 2]
    : [low - (Math.abs(low) || 1) / 2, high + (Math.abs(high) || 1) / 2]
}

/** 1, 2 and 5 times powers of ten. */
function logTicks(low: number, high: number): number[] {
  const ticks: number[] = []
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++) {
    for (const factor of [1, 2, 5]) {
      const value = Number(`${factor}e${power}`)
      if (value >= low && value <= high) ticks.push(value)
    }
  }
  return ticks
}

/** Room for ticks of an axis on the left, by the longest one. */
export function roomForTicks(labels: readonly string[], axisLabel: string | undefined): number {
  const longest = labels.reduce((most, label) => Math.max(most, label.length), 0)
  return 10 + longest * fontWidth + (axisLabel ? 16 : 0)
}

/** Lines and numbers of both axes. */
export function drawAxes(frame: Frame, x: Scale, y: Scale, xAxis: Axis, yAxis: Axis): Html {
  const { left, right, top, bottom } = frame
  const middle = (top + bottom) / 2
  return markup`${y.ticks.map(
    (tick) =>
      markup`<line class="grid" x1="${place(left)}" x2="${place(right)}" y1="${place(y(tick))}" y2="${place(y(tick))}" /><text x="${place(left - 6)}" y="${place(y(tick) + 4)}" text-anchor="end">${y.format(tick)}</text>`,
  )}${x.ticks.map(
    (tick) =>
      markup`<line class="axis" x1="${place(x(tick))}" x2="${place(x(tick))}" y1="${place(bottom)}" y2="${place(bottom + 4)}" /><text x="${place(x(tick))}" y="${place(bottom + 16)}" text-anchor="middle">${x.format(tick)}</text>`,
  )}${
    x.ticks.length > 0 &&
    markup`<line class="axis" x1="${place(left)}" x2="${place(right)}" y1="${place(bottom)}" y2="${place(bottom)}" />`
  }${
    xAxis.label &&
    markup`<text x="${place((left + right) / 2)}" y="${place(bottom + 32)}" text-anchor="middle">${xAxis.label}</text>`
  }${
    yAxis.label &&
    markup`<text x="12" y="${place(middle)}" text-anchor="middle" transform="rotate(-90 12 ${place(middle)})">${yAxis.label}</text>`
  }`
}

/** The names of series in rows across the top, and how high they are. */
export function drawLegend(
  entries: readonly LegendEntry[],
  width: number,
  top: number,
): { readonly svg: Html | undefined; readonly height: number } {
  if (entries.length < 2) return { svg: undefined, height: 0 }
  let [x, y] = [12, top]
  const parts = entries.map(({ name, colour, dashed }) => {
    const length = 30 + name.length * fontWidth
    if (x > 12 && x + length > width) [x, y] = [12, y + 17]
    const at = x
    x += length
    return markup`<line class="line ${strokeOf(colour)} ${dashed && 'dashed'}" x1="${place(at)}" x2="${place(at + 16)}" y1="${place(y + 8)}" y2="${place(y + 8)}" /><text x="${place(at + 21)}" y="${place(y + 12)}">${name}</text>`
  })
  return { svg: markup`<g>${parts}</g>`, height: y + 21 - top }
}

/** Title, legend and the place of the data below them. */
export function layOut(
  options: PlotOptions,
  legend: readonly LegendEntry[],
  room: { readonly left: number; readonly bottom: number },
): { readonly frame: Frame; readonly legend: Html | undefined } {
  const { width = 640, height = 380, heading = true } = options
  const start = heading ? 30 : 8
  const { svg, height: legendHeight } = drawLegend(legend, width, start)
  const frame = {
    ...{ width, height, left: room.left, right: width - 14 },
    ...{ top: start + legendHeight + 6, bottom: height - room.bottom },
  }
  return { frame, legend: svg }
}

/** The whole of a plot as inline SVG, with `data` for scripts; colours come from `plotStyle` in the page's style sheet. */
export function drawPlot(
  options: PlotOptions,
  { width, height }: Pick<Frame, 'width' | 'height'>,
  body: HtmlValue,
  data: Readonly<Record<string, number>> = {},
): Html {
  const { title, description, heading = true } = options
  const id = createHash('sha256').update(`${title}\n${description}`).digest('hex').slice(0, 8)
  const described = description !== undefined
  const attributes = Object.entries(data).map(([name, value]) => markup` data-${name}="${value}"`)
  return markup`<svg class="plot"${attributes} viewBox="0 0 ${width} ${height}" role="img" aria-labelledby="plot-${id}${described && `-t plot-${id}-d`}"><title id="plot-${id}${described && '-t'}">${title}</title>${
    described && markup`<desc id="plot-${id}-d">${description}</desc>`
  }${heading && markup`<text class="heading" x="12" y="20">${title}</text>`}${body}</svg>`
}

/** A plot as a file of its own, light or dark as its reader wishes. */
export function standaloneSvg(plot: Html): string {
  const open = plot.text.indexOf('>')
  const size = /viewBox="0 0 (\d+) (\d+)"/.exec(plot.text)
  const start = plot.text.slice(0, open).replace('<svg', '<svg xmlns="http://www.w3.org/2000/svg"')
  const paper = markup`<style>${raw(standaloneStyle)}</style><rect class="paper" width="100%" height="100%" />`
  return `${start} width="${size?.[1]}" height="${size?.[2]}">${paper.text}${plot.text.slice(open + 1)}\n`
}
