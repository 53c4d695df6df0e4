/** The page: choose pictures, embed them, train, look at the clusters. */
import { cluster, KeeplightError, sceneKinds, type Preset } from '../src/index.ts'
import { collect, type Collection } from './collect.ts'
import { byId } from './dom.ts'
import { adapterName, openEngine } from './engine.ts'
import { count, duration } from './format.ts'
import { advance, beginPhase, endProgress } from './progress.ts'
import { showResults } from './results.ts'
import { chooseDrawn, chooseDropped, chooseFiles, type Choice } from './sources.ts'

const form = byId('settings', HTMLFormElement)
const start = byId('start', HTMLButtonElement)
const results = byId('results', HTMLElement)
const problem = byId('problem', HTMLElement)
const drop = byId('drop', HTMLElement)

let choice: Choice | undefined
let running: AbortController | undefined
/** Features depend on the pictures and the number of views only: other settings reuse them. */
let known: { choice: Choice; views: number; collection: Collection } | undefined

const field = (name: string): HTMLInputElement | HTMLSelectElement =>
  form.elements.namedItem(name) as HTMLInputElement | HTMLSelectElement

/** An empty field leaves the value to the library. */
function numberOf(name: string): number | undefined {
  const { value } = field(name)
  return value === '' ? undefined : Number(value)
}

function setChoice(chosen: Choice): void {
  problem.textContent = ''
  if (chosen.sources.length === 0) {
    const others = chosen.ignored > 0 ? ` among ${count(chosen.ignored, 'file')}` : ''
    showProblem(
      `There are no pictures${others}: expected names that end in .jpg, .png, .webp, .avif or .gif.`,
    )
    return
  }
  if (chosen.sources.length === 1) {
    showProblem('One picture makes no clusters: choose two or more, better hundreds.')
    return
  }
  choice = chosen
  const k = field('k') as HTMLInputElement
  k.max = String(chosen.sources.length)
  if (Number(k.value) > chosen.sources.length) k.value = k.max
  const from = chosen.folder === undefined ? '' : ` from “${chosen.folder}”`
  const others = chosen.ignored > 0 ? ` · ${count(chosen.ignored, 'other file')} passed over` : ''
  byId('chosen', HTMLElement).textContent =
    `${count(chosen.sources.length, 'picture')}${from}${others}`
  drop.classList.add('filled')
  setBusy()
}

/** Puts the controls into the state that `running` and `choice` ask for. */
function setBusy(): void {
  start.disabled = running !== undefined || choice === undefined
  for (const id of ['choose-folder', 'choose-files', 'choose-drawn']) {
    byId(id, HTMLButtonElement).disabled = running !== undefined
  }
}

function showProblem(message: string): void {
  problem.textContent = message
}

/** Runs the whole way on what was chosen, and shows its outcome whichever it is. */
async function run(chosen: Choice): Promise<void> {
  const stop = new AbortController()
  running = stop
  problem.textContent = ''
  results.hidden = true
  setBusy()
  try {
    const begun = performance.now()
    beginPhase('Loading the model', '', 0)
    const { device, model } = await openEngine()
    const views = numberOf('views')!
    if (known?.choice !== chosen || known.views !== views) {
      known = undefined
      beginPhase('Looking at pictures', 'pictures', chosen.sources.length)
      const options = { views, signal: stop.signal, onProgress: advance }
      known = { choice: chosen, views, collection: await collect(chosen.sources, model, options) }
    }
    const { collection } = known
    beginPhase('Training', 'steps', 0)
    let training = false
    const result = await cluster(collection.features, {
      device,
      k: numberOf('k')!,
      preset: field('preset').value as Preset,
      seed: numberOf('seed'),
      restarts: numberOf('restarts'),
      minSteps: numberOf('steps'),
      signal: stop.signal,
      onProgress({ restart, runs, restarts, step, steps }) {
        if (!training) beginPhase('Training', 'steps', restarts * steps)
        training = true
        advance(restart * steps + runs * step)
      },
    })
    const seconds = duration((performance.now() - begun) / 1000)
    const title = `${count(result.k, 'cluster')} in ${seconds}`
    showResults(results, collection, result, title)
    endProgress(`Done: ${title}`)
    results.hidden = false
    results.focus({ preventScroll: true })
    results.scrollIntoView()
  } catch (error) {
    const stopped = error instanceof KeeplightError && error.code === 'aborted'
    endProgress(stopped ? 'Stopped' : '')
    showProblem(stopped ? 'Stopped. Nothing was changed.' : describe(error))
  } finally {
    running = undefined
    setBusy()
  }
}

function describe(error: unknown): string {
  if (!(error instanceof KeeplightError)) return `Something went wrong: ${String(error)}`
  if (error.code !== 'device') return error.message
  return (
    `${error.message}. Chrome and Edge have WebGPU from version 113 on, Safari from 26, Firefox on ` +
    'Windows from 141; on Linux it may have to be switched on (chrome://flags/#enable-unsafe-webgpu).'
  )
}

/** Values from the page's address, such as `?k=4&views=1`, so that a link can carry settings. */
function fillFromAddress(): void {
  for (const [name, value] of new URLSearchParams(location.search)) {
    const input = form.elements.namedItem(name)
    if (input instanceof HTMLInputElement || input instanceof HTMLSelectElement) input.value = value
  }
}

function wireChoice(buttonId: string, inputId: string): void {
  const input = byId(inputId, HTMLInputElement)
  byId(buttonId, HTMLButtonElement).addEventListener('click', () => input.click())
  input.addEventListener('change', () => {
    if (input.files && input.files.length > 0) setChoice(chooseFiles(input.files))
    // The same choice once more must be a change again.
    input.value = ''
  })
}

function wireDrop(): void {
  // The whole page takes what is dropped: missing the frame must not make the browser leave for it.
  addEventListener('dragover', (event) => {
    event.preventDefault()
    drop.classList.toggle('over', !running)
  })
  addEventListener('dragleave', (event) => {
    if (event.relatedTarget === null) drop.classList.remove('over')
  })
  addEventListener('drop', (event) => {
    event.preventDefault()
    drop.classList.remove('over')
    const items = event.dataTransfer?.items
    if (!items || running) return
    chooseDropped(items).then(setChoice, (error: unknown) => {
      showProblem(`What was dropped can't be read: ${String(error)}`)
    })
  })
}

async function showAdapter(): Promise<void> {
  const line = byId('adapter', HTMLElement)
  try {
    const { device } = await openEngine()
    line.textContent = `Runs on ${adapterName(device)}`
    const drawn = field('drawn') as HTMLInputElement
    if (device.adapter.software && drawn.value === drawn.defaultValue) drawn.value = '6'
  } catch (error) {
    line.textContent = 'No GPU'
    showProblem(describe(error))
  }
}

wireChoice('choose-folder', 'folder-input')
wireChoice('choose-files', 'files-input')
wireDrop()
byId('choose-drawn', HTMLButtonElement).addEventListener('click', () => {
  if (!form.reportValidity()) return
  const drawn = chooseDrawn(numberOf('drawn')!)
  setChoice(drawn)
  field('k').value = String(sceneKinds.length)
  void run(drawn)
})
form.addEventListener('submit', (event) => {
  event.preventDefault()
  if (choice && !running) void run(choice)
})
byId('cancel', HTMLButtonElement).addEventListener('click', () => {
  running?.abort()
  beginPhase('Stopping', '', 0)
})
fillFromAddress()
void showAdapter()
