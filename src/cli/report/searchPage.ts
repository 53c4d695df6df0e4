import type { ReportPicture } from './data.ts'
import { picture } from './clusters.ts'
import { percent } from './format.ts'
import { hrefOf, markup, type Html } from './html.ts'
import { renderPage } from './page.ts'

/** One image that a search found. */
export interface SearchHit extends ReportPicture {
  readonly path: string
  readonly cosine: number
  /** In features: how far it stands out from the collection, in deviations of the background. */
  readonly score?: number
  readonly standsOut?: boolean
  /** In cluster space: whether the head puts it where it puts the query. */
  readonly sameCluster?: boolean
  readonly label?: string
  readonly cluster?: number
  readonly probability?: number
}

/** The nearest images in one space. */
export interface SearchList {
  readonly hits: readonly SearchHit[]
  /** In features: median cosine of the collection to the query, its deviation, and the score to stand out. */
  readonly background?: {
    readonly median: number
    readonly deviation: number
    readonly cutoff: number
  }
}

/** Whether a hit is more than the nearest of what there is. */
export const isMatch = ({ standsOut, sameCluster }: SearchHit): boolean =>
  standsOut ?? sameCluster ?? true

export interface SearchResult {
  /** What the query is called. */
  readonly query: string
  /** The query's own picture, where it is one. */
  readonly picture?: ReportPicture
  /** Where the head puts the query. */
  readonly cluster?: { readonly id: number; readonly probability: number }
  readonly features: SearchList
  /** Absent without a head. */
  readonly clusters?: SearchList
}

export interface SearchPage {
  readonly title: string
  readonly subtitle: string
  readonly results: readonly SearchResult[]
}

/** The nearest images of every query in features and in cluster space, as a page that opens offline. */
export function renderSearch({ title, subtitle, results }: SearchPage): string {
  return renderPage({
    ...{ title, subtitle },
    main: results.map((result, number) => querySection(result, number)),
  })
}

function querySection(result: SearchResult, number: number): Html {
  const { query, cluster, features, clusters } = result
  const where = cluster && `cluster ${cluster.id}, ${percent(cluster.probability)}`
  return markup`<section class="query" aria-labelledby="query-${number}">
    <header>
      ${result.picture?.thumbnail && markup`<span class="asked">${linked(result.picture, query)}</span>`}
      <div>
        <h2 id="query-${number}">${query}</h2>
        ${where && markup`<p class="soft">${where}</p>`}
      </div>
    </header>
    ${strip('Nearest in features', features)}
    ${clusters && strip('Nearest in cluster space', clusters)}
  </section>`
}

function strip(name: string, { hits, background }: SearchList): Html {
  const matches = hits.filter(isMatch).length
  const about = background
    ? `${matches} of ${hits.length} stand out from this collection, whose median cosine is ` +
      `${background.median.toFixed(3)}: score ${background.cutoff.toFixed(1)} or more`
    : `${matches} of ${hits.length} are in the query’s cluster`
  return markup`<h3>${name}</h3>
    <p class="soft">${about}${matches < hits.length && '; the others are pale'}</p>
    <ul class="sheet">
      ${hits.map(tile)}
      <li class="end" aria-hidden="true"></li>
    </ul>`
}

function tile(hit: SearchHit): Html {
  const { path, cosine, score, label, cluster, probability } = hit
  const facts = [
    path,
    `cosine ${cosine.toFixed(4)}`,
    ...(score === undefined ? [] : [`score ${score.toFixed(1)}`]),
    ...(cluster === undefined ? [] : [`cluster ${cluster}, ${percent(probability ?? 0)}`]),
    ...(label === undefined ? [] : [`its folder says ${label}`]),
  ]
  const kind = [hit.thumbnail ? '' : 'lost', isMatch(hit) ? '' : 'faint'].join(' ').trim()
  return markup`<li class="${kind}" title="${facts.join(' — ')}">
    ${linked(hit, path)}<span class="p">${cosine.toFixed(3)}</span>
  </li>`
}

function linked(image: ReportPicture, name: string): Html {
  const shown = picture(image, name)
  return image.href === undefined ? shown : markup`<a href="${hrefOf(image.href)}">${shown}</a>`
}
