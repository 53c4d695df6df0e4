import { scaleBand } from 'd3-scale'
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
  type Axis,
  type PlotOptions,
} from './frame.ts'
import { errorBar, isKnown, spreadText } from './linePlot.ts'

/** A bar: its height, its deviation, and another's figure that is drawn across it as a dashed line. */
export interface Bar {
  readonly value: number
  readonly deviation?: number
  readonly beside?: number
}

export interface BarPlotOptions extends PlotOptions {
  readonly y?: Axis
  /** The groups along x. */
  readonly categories: readonly string[]
  /** A bar of each series stands in each category; undefined leaves its place empty. */
  readonly series: readonly { readonly name: string; readonly bars: readonly (Bar | undefined)[] }[]
}

/** Bars in groups, with error bars, from zero. */
export function barPlot(options: BarPlotOptions): Html {
  const { y: yAxis = {}, categories, series } = options
  const bars = series.flatMap((one) => one.bars.filter((bar) => bar !== undefined))
  const ys = [
    0,
    ...bars.flatMap(({ value, deviation = 0, beside = 0 }) => {
      return [value - deviation, value + deviation, beside]
    }),
  ]
  const trial = makeScale(yAxis, ys, [1, 0])
  const left = roomForTicks(trial.ticks.map(trial.format), yAxis.label)
  const entries = series.map(({ name }, colour) => ({ name, colour }))
  const { frame, legend } = layOut(options, entries, { left, bottom: 24 })
  const y = makeScale(yAxis, ys, [frame.bottom, frame.top])
  const group = scaleBand()
    .domain(categories)
    .range([frame.left, frame.right])
    .paddingInner(0.25)
    .paddingOuter(0.15)
  const within = scaleBand<number>()
    .domain(series.map((_, i) => i))
    .range([0, group.bandwidth()])
    .padding(0.08)
  const none = Object.assign(() => 0, { ticks: [], format: String })
  return drawPlot(options, frame, [
    legend,
    drawAxes(frame, none, y, {}, yAxis),
    categories.map((name, c) => {
      const start = group(name)!
      return markup`<text x="${place(start + group.bandwidth() / 2)}" y="${place(frame.bottom + 16)}" text-anchor="middle">${name}</text>${series.map(
        (one, s) => {
          const bar = one.bars[c]
          return (
            bar &&
            drawBar(bar, `${one.name}, ${name}`, s, start + within(s)!, within.bandwidth(), y)
          )
        },
      )}`
    }),
    markup`<line class="axis" x1="${place(frame.left)}" x2="${place(frame.right)}" y1="${place(y(0))}" y2="${place(y(0))}" />`,
  ])
}

function drawBar(
  { value, deviation, beside }: Bar,
  name: string,
  colour: number,
  left: number,
  width: number,
  y: (value: number) => number,
): Html {
  const [top, bottom] = [Math.min(y(value), y(0)), Math.max(y(value), y(0))]
  return markup`<g><rect class="bar ${fillOf(colour)}" x="${place(left)}" width="${place(width)}" y="${place(top)}" height="${place(bottom - top)}"><title>${name}: ${formatValue(value)}${spreadText(deviation)}</title></rect>${
    isKnown(deviation) && errorBar(left + width / 2, y(value - deviation), y(value + deviation), '')
  }${
    beside !== undefined &&
    markup`<line class="beside" x1="${place(left)}" x2="${place(left + width)}" y1="${place(y(beside))}" y2="${place(y(beside))}"><title>${name}, reported: ${formatValue(beside)}</title></line>`
  }</g>`
}
