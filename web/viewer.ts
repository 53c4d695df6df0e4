import { byId } from './dom.ts'

/** A picture that the viewer can show. */
export interface Viewable {
  readonly path: string
  readonly about: string
  readonly picture: Blob
}

const dialog = byId('viewer', HTMLDialogElement)
const image = byId('viewer-image', HTMLImageElement)
const path = byId('viewer-path', HTMLElement)
const about = byId('viewer-about', HTMLElement)
const previous = byId('viewer-previous', HTMLButtonElement)
const next = byId('viewer-next', HTMLButtonElement)

let shown: readonly Viewable[] = []
let index = 0

/** Opens a picture large; arrows go through the others of `all`. */
export function view(all: readonly Viewable[], start: number): void {
  shown = all
  show(start)
  dialog.showModal()
}

function show(at: number): void {
  const viewable = shown[at]
  if (!viewable) return
  index = at
  release()
  image.src = URL.createObjectURL(viewable.picture)
  image.alt = viewable.path
  path.textContent = viewable.path
  about.textContent = viewable.about
  previous.disabled = at === 0
  next.disabled = at === shown.length - 1
}

function release(): void {
  if (image.src) URL.revokeObjectURL(image.src)
  image.removeAttribute('src')
}

previous.addEventListener('click', () => show(index - 1))
next.addEventListener('click', () => show(index + 1))
byId('viewer-close', HTMLButtonElement).addEventListener('click', () => dialog.close())
dialog.addEventListener('close', release)
dialog.addEventListener('click', (event) => {
  // Beside the picture is only the dialog itself.
  if (event.target === dialog) dialog.close()
})
dialog.addEventListener('keydown', (event) => {
  if (event.key === 'ArrowLeft') show(index - 1)
  if (event.key === 'ArrowRight') show(index + 1)
})
