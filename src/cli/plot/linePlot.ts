import { area, line } from 'd3-shape'
import { markup, type Html } from '../report/html.ts'
import {
  drawAxes,
  drawPlot,
  fillOf,
  formatValue,
  layOut,
  makeScale,
  place,
  roomForTicks,
  strokeOf,
  type Axis,
  type Frame,
  type PlotOptions,
  type Scale,
} from './frame.ts'

/** x, y and, where known, the standard deviation of y. */
export type Point = readonly [x: number, y: number, deviation?: number]

export interface Series {
  readonly name: string
  /** In ascending x; a y that is not finite leaves a gap. */
  readonly points: readonly Point[]
  readonly dashed?: boolean
}

/** A line across the plot at an x or a y, with a word beside it. */
export interface Mark {
  readonly x?: number
  readonly y?: number
  readonly label: string
}

export interface LinePlotOptions extends PlotOptions {
  readonly x?: Axis
  readonly y?: Axis
  readonly series: readonly Series[]
  readonly marks?: readonly Mark[]
  /** How deviations are shown. */
  readonly spread?: 'bars' | 'band'
}

/** Longer series have no spots: they would hide the line. */
const mostSpots = 40

/** Series as lines over a common x, with error bars or bands where deviations are known. */
export function linePlot(options: LinePlotOptions): Html {
  const { x: xAxis = {}, y: yAxis = {}, series, marks = [], spread = 'bars' } = options
  const points = series.flatMap((one) => one.points)
  const ys = [
    ...points.flatMap(([, y, deviation = 0]) => [y - deviation, y + deviation]),
    ...marks.flatMap((mark) => mark.y ?? []),
  ]
  const xs = [...points.map(([x]) => x), ...marks.flatMap((mark) => mark.x ?? [])]
  // The numbers beside the axis say how much room they need.
  const trial = makeScale(yAxis, ys, [1, 0])
  const left = roomForTicks(trial.ticks.map(trial.format), yAxis.label)
  const entries = series.map(({ name, dashed }, colour) => ({ name, colour, dashed }))
  const { frame, legend } = layOut(options, entries, { left, bottom: xAxis.label ? 40 : 24 })
  const x = makeScale(tight(xAxis, xs), xs, [frame.left, frame.right])
  const y = makeScale(yAxis, ys, [frame.bottom, frame.top])
  return drawPlot(options, frame, [
    legend,
    drawAxes(frame, x, y, xAxis, yAxis),
    marks.map((mark) => drawMark(mark, frame, x, y)),
    series.map((one, i) => drawSeries(one, i, x, y, spread)),
  ])
}

/** Lines end at the frame's sides, unless there is but one x. */
function tight(axis: Axis, xs: readonly number[]): Axis {
  if (axis.domain || xs.length === 0 || axis.scale === 'log') return axis
  const low = xs.reduce((a, b) => Math.min(a, b))
  const high = xs.reduce((a, b) => Math.max(a, b))
  return low < high ? { ...axis, domain: [low, high] } : axis
}

function drawSeries(
  { name, points, dashed }: Series,
  colour: number,
  x: Scale,
  y: Scale,
  spread: 'bars' | 'band',
): Html {
  const finite = (point: Point): boolean => Number.isFinite(point[1])
  const path = line<Point>()
    .defined(finite)
    .x((point) => x(point[0]))
    .y((point) => y(point[1]))
    .digits(1)
  const band = area<Point>()
    .defined((point) => finite(point) && isKnown(point[2]))
    .x((point) => x(point[0]))
    .y0((point) => y(point[1] - point[2]!))
    .y1((point) => y(point[1] + point[2]!))
    .digits(1)
  const deviations = points.some((point) => isKnown(point[2]))
  const spots = points.length <= mostSpots ? points.filter(finite) : []
  const errors = deviations && spread === 'bars' ? points.filter(finite) : []
  return markup`<g>${
    deviations &&
    spread === 'band' &&
    markup`<path class="band ${fillOf(colour)}" d="${band(points) ?? ''}" />`
  }${errors.map(([at, value, deviation]) => isKnown(deviation) && errorBar(x(at), y(value - deviation), y(value + deviation), strokeOf(colour)))}<path class="line ${strokeOf(colour)} ${dashed && 'dashed'}" d="${path(points) ?? ''}" />${spots.map(
    ([at, value, deviation]) =>
      markup`<circle class="${fillOf(colour)}" cx="${place(x(at))}" cy="${place(y(value))}" r="3"><title>${name}, ${x.format(at)}: ${formatValue(value)}${spreadText(deviation)}</title></circle>`,
  )}</g>`
}

/** Of a single run there is no deviation: absent, or NaN. */
export function isKnown(deviation: number | undefined): deviation is number {
  return Number.isFinite(deviation)
}

/** ` ± 2.2`, or nothing where the deviation is unknown. */
export function spreadText(deviation: number | undefined): string {
  return isKnown(deviation) ? ` ± ${formatValue(deviation)}` : ''
}

/** A whisker from `low` to `high` with its two ends. */
export function errorBar(x: number, low: number, high: number, stroke: string): Html {
  const [left, right] = [place(x - 3), place(x + 3)]
  return markup`<path class="error ${stroke}" d="M${left},${place(low)}H${right}M${place(x)},${place(low)}V${place(high)}M${left},${place(high)}H${right}" />`
}

function drawMark({ x: atX, y: atY, label }: Mark, frame: Frame, x: Scale, y: Scale): Html {
  const { left, right, top, bottom } = frame
  if (atX !== undefined) {
    const at = x(atX)
    const beyond = at > (left + right) / 2
    return markup`<line class="mark" x1="${place(at)}" x2="${place(at)}" y1="${place(top)}" y2="${place(bottom)}" /><text x="${place(at + (beyond ? -4 : 4))}" y="${place(top + 10)}" text-anchor="${beyond ? 'end' : 'start'}">${label}</text>`
  }
  const at = y(atY ?? 0)
  return markup`<line class="mark" x1="${place(left)}" x2="${place(right)}" y1="${place(at)}" y2="${place(at)}" /><text x="${place(right - 4)}" y="${place(at - 4)}" text-anchor="end">${label}</text>`
}

/** Means of equal runs of points, so that a long series stays a short path. */
export function thinned(points: readonly Point[], most = 240): Point[] {
  const count = Math.min(most, points.length)
  return Array.from({ length: count }, (_, i) => {
    const from = Math.floor((i * points.length) / count)
    const to = Math.floor(((i + 1) * points.length) / count)
    const mean = (column: 0 | 1): number =>
      points.slice(from, to).reduce((sum, point) => sum + point[column], 0) / (to - from)
    return [mean(0), mean(1)]
  })
}
