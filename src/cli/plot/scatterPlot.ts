import { markup, type Html } from '../report/html.ts'
import {
  drawAxes,
  drawPlot,
  fillOf,
  layOut,
  makeScale,
  place,
  type Axis,
  type PlotOptions,
} from './frame.ts'

export interface ScatterPlotOptions extends PlotOptions {
  readonly points: readonly (readonly [x: number, y: number])[]
  /** Group of each point, from 0: its colour. */
  readonly groups?: ArrayLike<number>
  /** Names of the groups, for the legend. */
  readonly names?: readonly string[]
  /** An axis is shown where it has a label. */
  readonly x?: Axis
  readonly y?: Axis
}

/** Points in the colours of their groups. Both axes have the same unit unless one is labelled. */
export function scatterPlot(options: ScatterPlotOptions): Html {
  const { points, groups, names = [], x: xAxis = { ticks: 0 }, y: yAxis = { ticks: 0 } } = options
  const labelled = xAxis.label !== undefined || yAxis.label !== undefined
  const entries = names.map((name, colour) => ({ name, colour }))
  const room = labelled ? { left: 56, bottom: 40 } : { left: 14, bottom: 14 }
  const { frame, legend } = layOut({ width: 640, height: 560, ...options }, entries, room)
  const xs = points.map(([x]) => x)
  const ys = points.map(([, y]) => y)
  const { left, right, top, bottom } = frame
  const side = Math.min(right - left, bottom - top)
  const [x, y] = labelled
    ? [makeScale(xAxis, xs, [left, right]), makeScale(yAxis, ys, [bottom, top])]
    : square(xs, ys, side).map((domain, i) => {
        const middle = i === 0 ? (left + right) / 2 : (top + bottom) / 2
        const half = i === 0 ? side / 2 : -side / 2
        return makeScale({ domain, ticks: 0 }, [], [middle - half, middle + half])
      })
  const radius = points.length > 2000 ? 1.6 : points.length > 400 ? 2.4 : 3.6
  return drawPlot(options, frame, [
    legend,
    drawAxes(frame, x, y, xAxis, yAxis),
    points.map(
      ([px, py], i) =>
        markup`<circle class="spot ${fillOf(groups?.[i] ?? 0)}" cx="${place(x(px))}" cy="${place(y(py))}" r="${radius}" />`,
    ),
  ])
}

/** Two domains of one length around the middles of xs and ys, a spot's width beyond the outermost. */
function square(xs: readonly number[], ys: readonly number[], side: number): [number, number][] {
  const spans = [xs, ys].map((values) => {
    const low = values.reduce((a, b) => Math.min(a, b), Infinity)
    const high = values.reduce((a, b) => Math.max(a, b), -Infinity)
    return low <= high ? { middle: (low + high) / 2, length: high - low } : { middle: 0, length: 1 }
  })
  const length = (Math.max(...spans.map((span) => span.length)) || 1) * (1 + 8 / side)
  return spans.map(({ middle }) => [middle - length / 2, middle + length / 2])
}
