import type { Cloud, CloudColumns, CloudPoint, Colouring } from './cloudData.ts'
import { count } from './format.ts'
import { hrefOf, markup, raw, webpAddress, type Html } from './html.ts'

/** The image cloud: the script of `cloudScript.ts` draws it from the data that stand beside it. */
export function cloudSection(cloud: Cloud): Html {
  const columns = cloudColumns(cloud)
  const { colourings } = columns
  const pictures = cloud.sprites?.points.length ?? 0
  const shown =
    pictures === 0
      ? 'It shows no pictures.'
      : pictures < cloud.points.length
        ? `Pictures of ${pictures.toLocaleString('en')} of them are in this file.`
        : ''
  return markup`<section class="cloud" id="cloud" aria-labelledby="cloud-name">
    <h2 id="cloud-name">Image cloud</h2>
    <p class="soft">${cloud.about} ${shown}</p>
    <noscript><p>The cloud is drawn by a script, which is off here.</p></noscript>
    <div class="cloud-bar">
      ${colourings.length > 1 && colourChoice(colourings)}
      <div class="cloud-zoom">
        <button type="button" data-do="out" aria-label="Zoom out">−</button>
        <button type="button" data-do="in" aria-label="Zoom in">+</button>
        <button type="button" data-do="reset">Reset</button>
      </div>
    </div>
    <div class="cloud-stage" hidden>
      <canvas
        class="cloud-canvas"
        tabindex="0"
        role="application"
        aria-label="${count(cloud.points.length, 'image')} by similarity"
        aria-describedby="cloud-help"
      ></canvas>
      <div class="cloud-card" aria-live="polite" hidden></div>
    </div>
    <div class="cloud-key"></div>
    <p class="soft" id="cloud-help">
      Drag to move, wheel or pinch to zoom, point or tap to see an image. Keys: arrows go from image to
      image, Shift and arrows move, + and − zoom, 0 shows all, Enter opens the file, Escape closes.
    </p>
    ${cloud.sprites && markup`<img class="cloud-sprites" alt="" hidden src="${webpAddress(cloud.sprites.bytes)}" />`}
    ${raw(`<script type="application/json" class="cloud-data">${scriptSafe(columns)}</script>`)}
  </section>`
}

function colourChoice(colourings: readonly Colouring[]): Html {
  return markup`<fieldset>
    <legend>Colours by</legend>
    ${colourings.map(({ name }, i) => {
      const checked = i === 0 && raw('checked')
      return markup`<label>
        <input type="radio" name="cloud-by" value="${i}" ${checked} /> ${name}
      </label>`
    })}
  </fieldset>`
}

/** JSON that ends no script element and is JavaScript, too. */
const scriptSafe = (value: unknown): string =>
  JSON.stringify(value).replace(
    /[<>&\u2028\u2029]/g,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )

/** The cloud by columns, its layout within 0 and 1. */
export function cloudColumns({ points, sprites }: Cloud): CloudColumns {
  const xs = points.map(({ x }) => x)
  const ys = points.map(({ y }) => y)
  const [left, right] = [least(xs), -least(xs.map((x) => -x))]
  const [bottom, top] = [least(ys), -least(ys.map((y) => -y))]
  const size = Math.max(right - left, top - bottom) || 1
  const place = (value: number, middle: number): number =>
    Number((0.5 + (value - middle) / size).toFixed(5))
  const of = points.map(() => -1)
  sprites?.points.forEach((point, i) => (of[point] = i))
  const sure = points.map(({ probability }) => probability)
  return {
    x: xs.map((x) => place(x, (left + right) / 2)),
    // Pages count downwards.
    y: ys.map((y) => Number((1 - place(y, (bottom + top) / 2)).toFixed(5))),
    path: points.map(({ path }) => path),
    href: points.map(({ href }) => (href === undefined ? '' : hrefOf(href))),
    ...(sure.every((value) => value !== undefined) && {
      probability: sure.map((value) => Number(value.toFixed(4))),
    }),
    colourings: colouringsOf(points),
    ...(sprites && { sprites: { tile: sprites.tile, columns: sprites.columns, of } }),
  }
}

const least = (values: readonly number[]): number =>
  values.reduce((best, value) => Math.min(best, value), Infinity)

function colouringsOf(points: readonly CloudPoint[]): Colouring[] {
  const colourings: Colouring[] = []
  const clusters = points.map(({ cluster }) => cluster)
  if (clusters.every((cluster) => cluster !== undefined)) {
    const names = Array.from({ length: 1 - least(clusters.map((c) => -c)) }, (_, i) => String(i))
    colourings.push({ name: 'cluster', names, of: clusters })
  }
  const labels = points.map(({ label }) => label)
  if (labels.every((label) => label !== undefined)) {
    const names = [...new Set(labels)].sort()
    const places = new Map(names.map((name, i) => [name, i]))
    colourings.push({ name: 'class', names, of: labels.map((label) => places.get(label)!) })
  }
  if (colourings.length > 0) return colourings
  return [{ name: '', names: ['images'], of: points.map(() => 0) }]
}
