import { drawPlot, place } from '../plot/frame.ts'
import { markup, type Html } from '../report/html.ts'

/** Rows of probabilities at several steps of a training. */
export interface Film {
  readonly title: string
  readonly description: string
  /** Names of the columns. */
  readonly columns: readonly string[]
  /** Rows that stand together, from the top, and how many they are. */
  readonly groups: readonly { readonly name: string; readonly rows: number }[]
  readonly frames: readonly FilmFrame[]
}

export interface FilmFrame {
  readonly caption: string
  /** [rows, columns], from 0 to 1. */
  readonly values: Float32Array
}

/** Seconds that a frame is shown, and how many times longer the last one is. */
const frameSeconds = 0.35
const rest = 6
/** Values are shown in this many shades; what rounds to none is left blank. */
const shades = 10

/**
 * A heat map that changes: one picture whose frames follow each other without a script, by SVG's own
 * animation. It ends on its last frame where animations are not shown.
 */
export function drawFilm(film: Film): Html {
  const { title, description, columns, groups, frames } = film
  const rows = groups.reduce((sum, group) => sum + group.rows, 0)
  const left = 20 + 6.2 * Math.max(...groups.map(({ name }) => name.length))
  const [width, top] = [640, 74]
  const cell = { width: (width - left - 14) / columns.length, height: rows > 150 ? 3 : 6 }
  const gap = 3
  const height = Math.ceil(top + rows * cell.height + (groups.length - 1) * gap + 14)
  const tops: number[] = []
  let y = top
  const labels = groups.map(({ name, rows: count }) => {
    const middle = y + (count * cell.height) / 2 + 4
    for (let row = 0; row < count; row++) tops.push(y + row * cell.height)
    y += count * cell.height + gap
    return markup`<text x="${place(left - 8)}" y="${place(middle)}" text-anchor="end">${name}</text>`
  })
  const heads = columns.map((name, c) => {
    return markup`<text x="${place(left + (c + 0.5) * cell.width)}" y="${top - 8}" text-anchor="middle">${name}</text>`
  })
  const total = (frames.length - 1 + rest) * frameSeconds
  const pictures = frames.map((frame, i) => {
    const shown = markup`${animation(i, frames.length, total)}<text x="12" y="44">${frame.caption}</text>${drawShades(frame, columns.length, tops, left, cell)}`
    return markup`<g visibility="${i === frames.length - 1 ? 'visible' : 'hidden'}">${shown}</g>`
  })
  const body = [columns.length <= 20 && heads, labels.length <= 40 && labels, pictures]
  const data = { frames: frames.length, seconds: frameSeconds }
  return drawPlot({ title, description }, { width, height }, body, data)
}

/** Visible from this frame's time to the next one's, again and again. */
function animation(i: number, count: number, total: number): Html {
  const share = (frame: number): string => ((frame * frameSeconds) / total).toFixed(4)
  const values = i === 0 ? ['visible', 'hidden'] : ['hidden', 'visible', 'hidden']
  const times = i === 0 ? ['0', share(1)] : ['0', share(i), share(i + 1)]
  const last = i === count - 1
  return markup`<animate attributeName="visibility" calcMode="discrete" dur="${total.toFixed(2)}s" repeatCount="indefinite" values="${(last ? values.slice(0, -1) : values).join(';')}" keyTimes="${(last ? times.slice(0, -1) : times).join(';')}" />`
}

/** One path for all cells of a shade. */
function drawShades(
  { values }: FilmFrame,
  columns: number,
  tops: readonly number[],
  left: number,
  cell: { readonly width: number; readonly height: number },
): Html {
  const paths = Array.from({ length: shades + 1 }, () => '')
  const [w, h] = [place(cell.width - 1), place(cell.height - 0.5)]
  values.forEach((value, i) => {
    const shade = Math.round(value * shades)
    if (shade === 0) return
    const x = place(left + (i % columns) * cell.width)
    paths[shade] += `M${x},${place(tops[Math.floor(i / columns)])}h${w}v${h}h-${w}z`
  })
  return markup`${paths.map(
    (path, shade) =>
      path !== '' && markup`<path class="fill-0" fill-opacity="${shade / shades}" d="${path}" />`,
  )}`
}

/** The controls of a film on a page; {@link filmScript} moves them. */
export function filmFigure(film: Html): Html {
  return markup`<figure class="chart film">
    ${film}
    <div class="controls" hidden>
      <button type="button">Pause</button>
      <input type="range" min="0" step="1" value="0" aria-label="Snapshot" />
    </div>
  </figure>`
}

/** Lets the reader stop a film and move through it; stopped from the start where motion is unwanted. */
export const filmScript = `
for (const film of document.querySelectorAll('.film')) {
  const svg = film.querySelector('svg')
  const [controls, button, slider] = ['.controls', 'button', 'input'].map((part) => film.querySelector(part))
  const frames = Number(svg.dataset.frames)
  const seconds = Number(svg.dataset.seconds)
  const total = (frames - 1 + ${rest}) * seconds
  slider.max = String(frames - 1)
  controls.hidden = false
  const stop = (frame) => {
    svg.pauseAnimations()
    svg.setCurrentTime((frame + 0.5) * seconds)
    button.textContent = 'Play'
  }
  slider.addEventListener('input', () => stop(slider.valueAsNumber))
  button.addEventListener('click', () => {
    if (!svg.animationsPaused()) return stop(slider.valueAsNumber)
    svg.setCurrentTime(slider.valueAsNumber >= frames - 1 ? 0 : svg.getCurrentTime())
    svg.unpauseAnimations()
    button.textContent = 'Pause'
  })
  setInterval(() => {
    if (svg.animationsPaused()) return
    slider.value = String(Math.min(frames - 1, Math.floor((svg.getCurrentTime() % total) / seconds)))
  }, 100)
  if (matchMedia('(prefers-reduced-motion: reduce)').matches) {
    slider.value = slider.max
    stop(frames - 1)
  }
}
`
