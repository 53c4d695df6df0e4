import {
  adjustedRandIndex,
  assignmentsCsv,
  assignmentsJson,
  classesOf,
  clusteringAccuracy,
  normalizedMutualInformation,
  toAssignments,
  type Assignment,
  type ClusterResult,
} from '../src/index.ts'
import type { Collection, Picture } from './collect.ts'
import { make } from './dom.ts'
import { count, percent } from './format.ts'
import { view, type Viewable } from './viewer.ts'

/** Pictures of a cluster that are shown at first; the others come when they are asked for. */
const SHEET = 200

/** A picture and where it went. */
interface Member {
  readonly picture: Picture
  readonly assignment: Assignment
}

let addresses: string[] = []

/** Replaces what `section` shows by the clusters, their contact sheets and the downloads. */
export function showResults(
  section: HTMLElement,
  { pictures, broken }: Collection,
  { k, assignments, probabilities }: ClusterResult,
  title: string,
): void {
  addresses.forEach((address) => URL.revokeObjectURL(address))
  addresses = []
  const paths = pictures.map(({ path }) => path)
  const labels = classesOf(paths)
  const rows = toAssignments(paths, assignments, probabilities, k, labels)
  const members = rows.map((assignment, i) => ({ assignment, picture: pictures[i]! }))
  const clusters = Array.from({ length: k }, (_, id) => {
    const own = members.filter(({ assignment }) => assignment.cluster === id)
    return own.sort((a, b) => b.assignment.probability - a.assignment.probability)
  })
  section.replaceChildren(
    make('h2', { id: 'results-title' }, title),
    keyFigures(rows, clusters.length, broken.length),
    make(
      'p',
      { class: 'buttons' },
      download('assignments.csv', 'text/csv', assignmentsCsv(rows)),
      download('assignments.json', 'application/json', assignmentsJson(rows)),
    ),
    ...brokenList(broken),
    make('ul', { class: 'overview' }, ...clusters.map((own, id) => card(id, own, rows.length))),
    ...clusters.map((own, id) => sheet(id, own)),
  )
}

function keyFigures(rows: readonly Assignment[], k: number, broken: number): HTMLElement {
  const figures: [string, string, boolean?][] = [
    ['pictures', rows.length.toLocaleString('en')],
    ['clusters', String(k)],
  ]
  if (rows.every(({ label }) => label !== undefined)) {
    const names = [...new Set(rows.map(({ label }) => label))]
    const labels = rows.map(({ label }) => names.indexOf(label))
    const found = rows.map(({ cluster }) => cluster)
    figures.push(
      ['accuracy (ACC)', percent(clusteringAccuracy(labels, found))],
      ['NMI', percent(normalizedMutualInformation(labels, found))],
      ['ARI', percent(adjustedRandIndex(labels, found))],
    )
  }
  if (broken > 0) figures.push(['left out', broken.toLocaleString('en'), true])
  return make(
    'dl',
    { class: 'figures' },
    ...figures.map(([name, value, warn]) =>
      make('div', { class: warn && 'warn' }, make('dt', {}, name), make('dd', {}, value)),
    ),
  )
}

function brokenList(broken: readonly string[]): HTMLElement[] {
  if (broken.length === 0) return []
  const summary = make('summary', {}, `${count(broken.length, 'picture')} left out`)
  const sentences = broken.map((sentence) => make('li', {}, sentence))
  return [make('details', { id: 'broken' }, summary, make('ul', {}, ...sentences))]
}

function card(id: number, own: readonly Member[], all: number): HTMLElement {
  const mosaic = make('span', { class: 'mosaic' }, ...own.slice(0, 4).map((m) => thumbnail(m, '')))
  const size = `${count(own.length, 'picture')} · ${percent(own.length / all)}`
  const text = make(
    'span',
    { class: 'text' },
    make('b', {}, `Cluster ${id}`),
    make('span', {}, size),
  )
  return make('li', {}, make('a', { href: `#cluster-${id}` }, mosaic, text))
}

function sheet(id: number, own: readonly Member[]): HTMLElement {
  const facts = [count(own.length, 'picture')]
  const middle = own[Math.floor(own.length / 2)]
  if (middle) facts.push(`median confidence ${percent(middle.assignment.probability)}`)
  const list = make('ul', { class: 'sheet' })
  const viewables = own.map(viewableOf)
  const extend = (from: number, to: number): void => {
    const tiles = own.slice(from, to).map((member, i) => tile(member, viewables, from + i))
    list.append(...tiles, make('li', { class: 'end', 'aria-hidden': 'true' }))
  }
  extend(0, SHEET)
  const rest = own.length - SHEET
  const more =
    rest > 0 &&
    make('button', { type: 'button', class: 'plain' }, `Show ${count(rest, 'more picture')}`)
  if (more) {
    more.addEventListener('click', () => {
      list.lastElementChild?.remove()
      extend(SHEET, own.length)
      list.querySelectorAll('button')[SHEET]?.focus()
      more.remove()
    })
  }
  return make(
    'section',
    { class: 'cluster', id: `cluster-${id}`, 'aria-labelledby': `name-${id}` },
    make(
      'header',
      {},
      make('h3', { id: `name-${id}` }, `Cluster ${id}`),
      make('span', {}, facts.join(' · ')),
      make('a', { href: '#results', 'aria-label': 'Back to all clusters' }, '↑ all'),
    ),
    own.length === 0 && make('p', { class: 'soft' }, 'No picture fell into this cluster.'),
    list,
    more,
  )
}

function tile(member: Member, all: readonly Viewable[], index: number): HTMLElement {
  const { path, probability } = member.assignment
  const button = make(
    'button',
    { type: 'button', title: path },
    thumbnail(member, path),
    make('span', { class: 'p' }, percent(probability)),
  )
  button.addEventListener('click', () => view(all, index))
  return make('li', {}, button)
}

function viewableOf({ picture, assignment }: Member): Viewable {
  const { path, probability, cluster, runnerUp, runnerUpProbability } = assignment
  const about =
    `Cluster ${cluster} with ${percent(probability)}, ` +
    `then cluster ${runnerUp} with ${percent(runnerUpProbability)}`
  return { path, about, picture: picture.file ?? picture.thumbnail.blob }
}

function thumbnail({ picture }: Member, alt: string): HTMLImageElement {
  const { width, height, blob } = picture.thumbnail
  const src = addressOf(blob)
  return make('img', { src, width, height, alt, loading: 'lazy', decoding: 'async' })
}

function download(name: string, type: string, text: string): HTMLElement {
  const href = addressOf(new Blob([text], { type }))
  return make('a', { class: 'button', href, download: name }, `Download ${name}`)
}

/** An address that lives until the next results. */
function addressOf(blob: Blob): string {
  const address = URL.createObjectURL(blob)
  addresses.push(address)
  return address
}
