import { markup, type Html } from './html.ts'

const width = 250
const height = 130
const margin = { left: 38, right: 10, top: 12, bottom: 24 }
const maximumPoints = 240

/** A line chart as inline SVG: one series over steps, coloured and sized by the style sheet. */
export function lineChart(title: string, xs: readonly number[], ys: readonly number[]): Html {
  const points = thin(xs, ys)
  const low = Math.min(...points.map(([, y]) => y))
  const high = Math.max(...points.map(([, y]) => y))
  const ticks = niceTicks(low, high)
  const [bottom, top] = [Math.min(low, ticks[0]), Math.max(high, ticks[ticks.length - 1])]
  const first = xs[0]
  const last = Math.max(xs[xs.length - 1], first + 1)
  const toX = (x: number): number => scale(x, first, last, margin.left, width - margin.right)
  const toY = (y: number): number => scale(y, bottom, top, height - margin.bottom, margin.top)
  const path = points.map(([x, y]) => `${toX(x).toFixed(1)},${toY(y).toFixed(1)}`).join(' ')
  const end = ys[ys.length - 1]
  return markup`<figure class="chart">
    <figcaption>${title} <b>${formatValue(end)}</b></figcaption>
    <svg
      viewBox="0 0 ${width} ${height}"
      role="img"
      aria-label="${title}: from ${formatValue(ys[0])} at step ${first} to ${formatValue(end)} at step ${last}"
    >
      ${ticks.map(
        (tick) =>
          markup`<line
              class="grid"
              x1="${margin.left}"
              x2="${width - margin.right}"
              y1="${toY(tick)}"
              y2="${toY(tick)}"
            />
            <text x="${margin.left - 6}" y="${toY(tick) + 3.5}" text-anchor="end"
              >${formatValue(tick)}</text
            >`,
      )}
      <text x="${margin.left}" y="${height - 6}">${first}</text>
      <text x="${width - margin.right}" y="${height - 6}" text-anchor="end">step ${last}</text>
      <polyline class="line" points="${path}" />
    </svg>
  </figure>`
}

/** Means of equal runs of steps, so that a long training stays a short path. */
function thin(xs: readonly number[], ys: readonly number[]): [number, number][] {
  const count = Math.min(maximumPoints, xs.length)
  return Array.from({ length: count }, (_, i) => {
    const from = Math.floor((i * xs.length) / count)
    const to = Math.floor(((i + 1) * xs.length) / count)
    const mean = (values: readonly number[]): number =>
      values.slice(from, to).reduce((sum, value) => sum + value, 0) / (to - from)
    return [mean(xs), mean(ys)]
  })
}

function scale(value: number, from: number, to: number, outFrom: number, outTo: number): number {
  return to === from ? outFrom : outFrom + ((value - from) / (to - from)) * (outTo - outFrom)
}

/** Two to six round numbers that span a range. */
export function niceTicks(low: number, high: number): number[] {
  const span = high - low || Math.abs(high) || 1
  const power = 10 ** Math.floor(Math.log10(span / 3))
  const step = power * ([1, 2, 5, 10].find((factor) => span / (power * factor) <= 4) ?? 10)
  const ticks: number[] = []
  for (let i = Math.floor(low / step); ; i++) {
    ticks.push(Number((i * step).toPrecision(12)))
    if (i * step >= high) return ticks
  }
}

function formatValue(value: number): string {
  return value === 0 ? '0' : Number(value.toPrecision(3)).toString().replace('-', '−')
}
