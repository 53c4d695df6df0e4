import type { CloudColumns } from './cloudData.ts'

/**
 * The script of the image cloud, which runs in the page: a canvas that is dragged, zoomed by wheel, pinch,
 * keys and buttons, and shows the image that is pointed at, tapped or chosen by arrow keys.
 *
 * The functions below become the script by their text, once they are compiled: so each may use its
 * arguments, the page, and the other functions of this list, and nothing else of this module.
 */

/** The cloud as it stands. Units are those of the layout, 0 to 1, and CSS pixels. */
interface State {
  readonly data: CloudColumns
  readonly stage: HTMLElement
  readonly canvas: HTMLCanvasElement
  readonly card: HTMLElement
  readonly key: HTMLElement
  readonly sprites: HTMLImageElement | undefined
  /** Larger pictures elsewhere in the page, by path. */
  readonly large: Map<string, HTMLImageElement>
  readonly pointers: Map<number, { x: number; y: number }>
  width: number
  height: number
  zoom: number
  /** The layout's place in the middle of the canvas. */
  x: number
  y: number
  /** Index of the colouring. */
  by: number
  /** The one category that is not dimmed; −1: none is. */
  only: number
  /** Point that the card shows; −1: none. */
  shown: number
  /** Whether the card stays when the pointer leaves. */
  pinned: boolean
  /** Pixels that the pointer has moved since it came down. */
  moved: number
  drawing: boolean
}

function startCloud(): void {
  const find = <E extends HTMLElement>(name: string): E | null =>
    document.querySelector<E>(`#cloud .cloud-${name}`)
  const stage = find('stage')
  const canvas = find<HTMLCanvasElement>('canvas')
  const card = find('card')
  const key = find('key')
  const text = find('data')?.textContent
  if (!stage || !canvas || !card || !key || !text) return
  const pictures = document.querySelectorAll<HTMLImageElement>('.sheet img, .cloud-large img')
  const state: State = {
    ...{ data: JSON.parse(text) as CloudColumns, stage, canvas, card, key },
    sprites: find<HTMLImageElement>('sprites') ?? undefined,
    large: new Map(Array.from(pictures, (image) => [image.alt, image])),
    pointers: new Map(),
    ...{ width: 1, height: 1, zoom: 1, x: 0.5, y: 0.5, by: 0, only: -1, shown: -1 },
    ...{ pinned: false, moved: 0, drawing: false },
  }
  stage.hidden = false
  listenToPointers(state)
  listenToKeys(state)
  listenToControls(state)
  makeKey(state)
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
    makeKey(state)
    redraw(state)
  })
  state.sprites?.decode().then(
    () => redraw(state),
    () => undefined,
  )
  new ResizeObserver(() => resize(state)).observe(stage)
  resize(state)
}

function resize(state: State): void {
  const { canvas } = state
  state.width = Math.max(1, canvas.clientWidth)
  state.height = Math.max(1, canvas.clientHeight)
  const ratio = Math.min(2, devicePixelRatio || 1)
  canvas.width = Math.round(state.width * ratio)
  canvas.height = Math.round(state.height * ratio)
  canvas.getContext('2d')?.setTransform(ratio, 0, 0, ratio, 0, 0)
  redraw(state)
}

/** Draws in the next frame, however often it is asked. */
function redraw(state: State): void {
  if (state.drawing) return
  state.drawing = true
  requestAnimationFrame(() => {
    state.drawing = false
    draw(state)
  })
}

/** CSS pixels to a unit of the layout. */
function scaleOf({ width, height, zoom }: State): number {
  return Math.min(width, height) * 0.9 * zoom
}

function placeOf(state: State, point: number): [number, number] {
  const { data, width, height, x, y } = state
  const scale = scaleOf(state)
  return [(data.x[point] - x) * scale + width / 2, (data.y[point] - y) * scale + height / 2]
}

/** Edge of a picture in the cloud, by how far apart points are; 0 while they are too close. */
function pictureSize(state: State): number {
  const { data, sprites } = state
  if (!sprites?.complete || !data.sprites) return 0
  const apart = scaleOf(state) / Math.sqrt(data.x.length)
  return apart * 0.8 < 13 ? 0 : Math.min(64, apart * 0.8)
}

function isDark(): boolean {
  return matchMedia('(prefers-color-scheme: dark)').matches
}

/** Hues a golden angle apart, in turns of lightness. */
function colourOf(category: number): string {
  const hue = (category * 137.508 + 170) % 360
  const light = (isDark() ? 62 : 42) + ((category % 3) - 1) * 8
  return `hsl(${hue.toFixed(0)} 68% ${light}%)`
}

function draw(state: State): void {
  const { canvas, data, width, height, only, shown } = state
  const context = canvas.getContext('2d')
  if (!context) return
  context.clearRect(0, 0, width, height)
  const size = pictureSize(state)
  const radius = Math.min(5, 1.7 * Math.sqrt(state.zoom) * (data.x.length < 3000 ? 1.5 : 1))
  const { of, names } = data.colourings[state.by]
  const dots: number[][] = names.map(() => [])
  const pictures: number[] = []
  for (let point = 0; point < data.x.length; point++) {
    const [x, y] = placeOf(state, point)
    if (x < -size || y < -size || x > width + size || y > height + size) continue
    const drawn = size > 0 && (only < 0 || of[point] === only) && data.sprites!.of[point] >= 0
    if (drawn) pictures.push(point)
    else dots[of[point]].push(x, y)
  }
  dots.forEach((places, category) => {
    context.globalAlpha = only < 0 || only === category ? 0.85 : 0.12
    context.fillStyle = colourOf(category)
    context.beginPath()
    for (let i = 0; i < places.length; i += 2) {
      context.moveTo(places[i] + radius, places[i + 1])
      context.arc(places[i], places[i + 1], radius, 0, 7)
    }
    context.fill()
  })
  context.globalAlpha = 1
  for (const point of pictures) drawPicture(state, context, point, size, colourOf(of[point]))
  if (shown >= 0) ring(state, context, Math.max(size * 0.7, radius + 4))
  canvas.dataset.zoom = state.zoom.toFixed(3)
  canvas.dataset.pictures = String(pictures.length)
}

function drawPicture(
  state: State,
  context: CanvasRenderingContext2D,
  point: number,
  size: number,
  colour: string,
): void {
  const [x, y] = placeOf(state, point)
  context.fillStyle = colour
  context.fillRect(x - size / 2 - 1.5, y - size / 2 - 1.5, size + 3, size + 3)
  drawTile(state, context, point, x - size / 2, y - size / 2, size)
}

function drawTile(
  { data, sprites }: State,
  context: CanvasRenderingContext2D,
  point: number,
  x: number,
  y: number,
  size: number,
): void {
  if (!data.sprites || !sprites) return
  const { tile, columns, of } = data.sprites
  const place = of[point]
  const [left, top] = [(place % columns) * tile, Math.floor(place / columns) * tile]
  context.drawImage(sprites, left, top, tile, tile, x, y, size, size)
}

function ring(state: State, context: CanvasRenderingContext2D, radius: number): void {
  const [x, y] = placeOf(state, state.shown)
  context.strokeStyle = getComputedStyle(state.canvas).color
  context.lineWidth = 2
  context.beginPath()
  context.arc(x, y, radius, 0, 7)
  context.stroke()
}

/** The point nearest to a place of the canvas, −1 where none is near. */
function pointAt(state: State, x: number, y: number, reach: number): number {
  let best = -1
  let least = reach * reach
  for (let point = 0; point < state.data.x.length; point++) {
    const [px, py] = placeOf(state, point)
    const distance = (px - x) ** 2 + (py - y) ** 2
    if (distance < least) {
      least = distance
      best = point
    }
  }
  return best
}

function zoomAt(state: State, factor: number, x: number, y: number): void {
  const before = scaleOf(state)
  state.zoom = Math.min(200, Math.max(0.5, state.zoom * factor))
  const after = scaleOf(state)
  // The place under the pointer stays there.
  state.x += (x - state.width / 2) * (1 / before - 1 / after)
  state.y += (y - state.height / 2) * (1 / before - 1 / after)
  moveCard(state)
  redraw(state)
}

function pan(state: State, dx: number, dy: number): void {
  const scale = scaleOf(state)
  state.x = Math.min(1.5, Math.max(-0.5, state.x - dx / scale))
  state.y = Math.min(1.5, Math.max(-0.5, state.y - dy / scale))
  moveCard(state)
  redraw(state)
}

function reset(state: State): void {
  ;[state.zoom, state.x, state.y] = [1, 0.5, 0.5]
  moveCard(state)
  redraw(state)
}

function reachOf(state: State): number {
  return Math.max(14, pictureSize(state) * 0.75)
}

function listenToPointers(state: State): void {
  const { canvas, pointers } = state
  const at = (event: MouseEvent): { x: number; y: number } => {
    const box = canvas.getBoundingClientRect()
    return { x: event.clientX - box.left, y: event.clientY - box.top }
  }
  canvas.addEventListener('pointerdown', (event) => {
    if (pointers.size === 0) state.moved = 0
    pointers.set(event.pointerId, at(event))
    canvas.setPointerCapture(event.pointerId)
  })
  canvas.addEventListener('pointermove', (event) => {
    const now = at(event)
    const before = pointers.get(event.pointerId)
    if (before) drag(state, event.pointerId, before, now)
    else if (!state.pinned) show(state, pointAt(state, now.x, now.y, reachOf(state)))
  })
  const release = (event: PointerEvent): void => {
    const place = pointers.get(event.pointerId)
    if (!place) return
    pointers.delete(event.pointerId)
    if (event.type === 'pointercancel' || state.moved > 5 || pointers.size > 0) return
    const point = pointAt(state, place.x, place.y, reachOf(state))
    state.pinned = point >= 0
    show(state, point)
  }
  canvas.addEventListener('pointerup', release)
  canvas.addEventListener('pointercancel', release)
  canvas.addEventListener('pointerleave', () => {
    if (!state.pinned) show(state, -1)
  })
  canvas.addEventListener(
    'wheel',
    (event) => {
      event.preventDefault()
      const lines = event.deltaMode === 1 ? 16 : 1
      const { x, y } = at(event)
      zoomAt(state, Math.exp(-event.deltaY * lines * (event.ctrlKey ? 0.01 : 0.002)), x, y)
    },
    { passive: false },
  )
}

interface Place {
  readonly x: number
  readonly y: number
}

/** One pointer drags; two drag by their middle and zoom by their distance. */
function drag(state: State, id: number, before: Place, now: Place): void {
  const other = Array.from(state.pointers).find(([key]) => key !== id)?.[1]
  state.pointers.set(id, now)
  const [dx, dy] = [now.x - before.x, now.y - before.y]
  state.moved += Math.abs(dx) + Math.abs(dy)
  pan(state, other ? dx / 2 : dx, other ? dy / 2 : dy)
  if (!other) return
  const apart = (place: Place): number =>
    Math.max(1, Math.hypot(place.x - other.x, place.y - other.y))
  zoomAt(state, apart(now) / apart(before), (now.x + other.x) / 2, (now.y + other.y) / 2)
}

function listenToKeys(state: State): void {
  const steps: Record<string, [number, number]> = {
    ArrowLeft: [-1, 0],
    ArrowRight: [1, 0],
    ArrowUp: [0, -1],
    ArrowDown: [0, 1],
  }
  state.canvas.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return
    const step = Object.hasOwn(steps, event.key) ? steps[event.key] : undefined
    const middle = [state.width / 2, state.height / 2] as const
    if (step && event.shiftKey) pan(state, -60 * step[0], -60 * step[1])
    else if (step) choose(state, step)
    else if (event.key === '+' || event.key === '=') zoomAt(state, 1.4, ...middle)
    else if (event.key === '-') zoomAt(state, 1 / 1.4, ...middle)
    else if (event.key === '0' || event.key === 'Home') reset(state)
    else if (event.key === 'Enter') state.card.querySelector('a')?.click()
    else if (event.key === 'Escape') {
      state.pinned = false
      show(state, -1)
    } else return
    event.preventDefault()
  })
}

/** The nearest image in the direction of an arrow key; the one in the middle to begin with. */
function choose(state: State, [dx, dy]: [number, number]): void {
  let best = -1
  if (state.shown < 0) {
    best = pointAt(state, state.width / 2, state.height / 2, Infinity)
  } else {
    const [fromX, fromY] = placeOf(state, state.shown)
    let least = Infinity
    for (let point = 0; point < state.data.x.length; point++) {
      const [x, y] = placeOf(state, point)
      const along = (x - fromX) * dx + (y - fromY) * dy
      const aside = Math.abs((x - fromX) * dy) + Math.abs((y - fromY) * dx)
      const cost = along + 2 * aside
      if (point === state.shown || along <= aside || cost >= least) continue
      least = cost
      best = point
    }
  }
  if (best < 0) return
  state.pinned = true
  const [x, y] = placeOf(state, best)
  const outside = x < 20 || y < 20 || x > state.width - 20 || y > state.height - 20
  if (outside) pan(state, state.width / 2 - x, state.height / 2 - y)
  show(state, best)
}

/** Shows one image in the card, or hides it. */
function show(state: State, point: number): void {
  if (point === state.shown) return
  state.shown = point
  state.card.hidden = point < 0
  if (point >= 0) fillCard(state, point)
  moveCard(state)
  redraw(state)
}

function fillCard(state: State, point: number): void {
  const { card, data } = state
  const path = data.path[point]
  const title = document.createElement(data.href[point] ? 'a' : 'b')
  title.textContent = path
  if (title instanceof HTMLAnchorElement) title.href = data.href[point]
  const facts = data.colourings.map(({ name, names, of }) => name && `${name} ${names[of[point]]}`)
  const sure = data.probability?.[point]
  if (sure !== undefined) facts[0] += `, ${Math.min(99.9, sure * 100).toFixed(1)} %`
  const text = document.createElement('span')
  text.textContent = facts.join(' · ')
  const picture = pictureOf(state, point)
  card.replaceChildren(...(picture ? [picture] : []), title, text)
}

/** The larger picture of the page where it has one, else the cloud's own; undefined without either. */
function pictureOf(state: State, point: number): HTMLElement | undefined {
  const { large, data, sprites } = state
  const path = data.path[point]
  const known = large.get(path)
  if (known) {
    const image = new Image(known.width, known.height)
    image.src = known.src
    image.alt = path
    return image
  }
  if (!data.sprites || !sprites?.complete || data.sprites.of[point] < 0) return undefined
  const canvas = document.createElement('canvas')
  canvas.width = canvas.height = 128
  canvas.setAttribute('role', 'img')
  canvas.setAttribute('aria-label', path)
  const context = canvas.getContext('2d')
  if (context) {
    context.imageSmoothingQuality = 'high'
    drawTile(state, context, point, 0, 0, 128)
  }
  return canvas
}

/** Beside the point, on the side with more room. */
function moveCard(state: State): void {
  const { card, shown, width, height } = state
  if (shown < 0) return
  const [x, y] = placeOf(state, shown)
  const gap = 14 + pictureSize(state) / 2
  const left = x < width / 2 ? x + gap : x - gap - card.offsetWidth
  const top = y < height / 2 ? y + 4 : y - card.offsetHeight - 4
  const within = (value: number, size: number, room: number): number =>
    Math.max(4, Math.min(value, room - size - 4))
  card.style.left = `${within(left, card.offsetWidth, width)}px`
  card.style.top = `${within(top, card.offsetHeight, height)}px`
}

function listenToControls(state: State): void {
  const middle = (): [number, number] => [state.width / 2, state.height / 2]
  document.querySelectorAll<HTMLButtonElement>('#cloud [data-do]').forEach((button) => {
    button.addEventListener('click', () => {
      if (button.dataset.do === 'reset') reset(state)
      else zoomAt(state, button.dataset.do === 'in' ? 1.6 : 1 / 1.6, ...middle())
    })
  })
  document.querySelectorAll<HTMLInputElement>('#cloud [name=cloud-by]').forEach((choice) => {
    choice.addEventListener('change', () => {
      state.by = Number(choice.value)
      state.only = -1
      makeKey(state)
      redraw(state)
    })
  })
}

/** The colours' meanings; choosing one dims the others. */
function makeKey(state: State): void {
  const { names, of } = state.data.colourings[state.by]
  const sizes = names.map(() => 0)
  for (const category of of) sizes[category]++
  const buttons = names.map((name, category) => {
    const button = document.createElement('button')
    const swatch = document.createElement('i')
    swatch.style.background = colourOf(category)
    button.type = 'button'
    button.setAttribute('aria-pressed', String(state.only === category))
    button.append(swatch, `${name} (${sizes[category].toLocaleString('en')})`)
    button.addEventListener('click', () => {
      state.only = state.only === category ? -1 : category
      Array.from(state.key.children).forEach((other, i) => {
        other.setAttribute('aria-pressed', String(state.only === i))
      })
      redraw(state)
    })
    return button
  })
  state.key.replaceChildren(...buttons)
}

const functions = [
  startCloud,
  resize,
  redraw,
  scaleOf,
  placeOf,
  pictureSize,
  isDark,
  colourOf,
  draw,
  drawPicture,
  drawTile,
  ring,
  pointAt,
  zoomAt,
  pan,
  reset,
  reachOf,
  listenToPointers,
  drag,
  listenToKeys,
  choose,
  show,
  fillCard,
  pictureOf,
  moveCard,
  listenToControls,
  makeKey,
]

/** The script's text. `__name` is what some compilers leave in functions to keep their names. */
export const cloudScript = [
  '(() => {"use strict";',
  'const __name = (value) => value;',
  ...functions.map(String),
  `${startCloud.name}();`,
  '})();',
].join('\n')
