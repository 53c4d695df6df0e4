import type { QualityKind } from '../../data/quality.ts'
import { picture } from './clusters.ts'
import type { ReportData, ReportGroup, ReportTile, ToLook } from './data.ts'
import { count } from './format.ts'
import { hrefOf, markup, type Html } from './html.ts'

/** Copies, look-alikes, and images of poor quality; nothing where there are none. */
export function qualitySection({ toLook }: ReportData): Html | undefined {
  if (!toLook) return undefined
  const { copies, lookAlikes, issues } = toLook
  if (copies.total + (lookAlikes?.total ?? 0) + issues.length === 0) return undefined
  return markup`<h2 id="to-look-at">To look at</h2>
    <p class="soft">
      Nothing was left out because of this, and nothing is moved or deleted. All of it is in
      quality.json and duplicates.csv.
    </p>
    ${copies.total > 0 && copySection(copies)}
    ${lookAlikes && lookAlikes.total > 0 && lookAlikeSection(lookAlikes)}
    ${issues.map(issueSection)}`
}

function copySection({ total, spare, groups }: ToLook['copies']): Html {
  return markup`<h3 class="finding">Copies</h3>
    <p class="soft">
      ${count(total, 'picture')} more than once, ${count(spare, 'file')} to spare: the same bytes, or
      the same picture in another encoding, size or orientation. The first of each group has most
      pixels, then most bytes.
    </p>
    ${groupList(groups, total)}`
}

function lookAlikeSection({
  total,
  threshold,
  background,
  groups,
}: NonNullable<ToLook['lookAlikes']>): Html {
  return markup`<h3 class="finding">Look-alikes</h3>
    <p class="soft">
      ${count(total, 'group')} of different pictures whose features have a cosine of
      ${threshold.toFixed(3)} or more; two images of this collection have
      ${background.toFixed(3)} in the mean.
    </p>
    ${groupList(groups, total)}`
}

function groupList(groups: readonly ReportGroup[], total: number): Html {
  return markup`<div class="groups">
      ${groups.map(
        ({ tiles, omitted }) =>
          markup`<ul class="sheet">
            ${tiles.map(tileOf)}
            ${omitted > 0 && markup`<li class="gap">${omitted.toLocaleString('en')} more</li>`}
          </ul>`,
      )}
    </div>
    ${
      total > groups.length &&
      markup`<p class="soft">And ${count(total - groups.length, 'group')} more.</p>`
    }`
}

const titles: Readonly<Record<QualityKind, string>> = {
  blurry: 'Blurry',
  dark: 'Dark',
  bright: 'Bright',
  'low-contrast': 'Low contrast',
  'odd-size': 'Odd size',
  'odd-shape': 'Odd shape',
}

function issueSection({ kind, total, tiles }: ToLook['issues'][number]): Html {
  const omitted = total - tiles.length
  return markup`<h3 class="finding">${titles[kind]} <span class="soft">${total.toLocaleString('en')}</span></h3>
    <ul class="sheet">
      ${tiles.map(tileOf)}
      ${omitted > 0 && markup`<li class="gap">${omitted.toLocaleString('en')} more</li>`}
      <li class="end" aria-hidden="true"></li>
    </ul>`
}

/** A picture with a few words on it. */
export function tileOf(tile: ReportTile): Html {
  const { path, href, note, best } = tile
  const shown = markup`${picture(tile, path)}<span class="p">${note}</span>`
  const kind = [tile.thumbnail ? '' : 'lost', best ? 'best' : ''].join(' ').trim()
  return markup`<li class="${kind}" title="${`${path} — ${tile.about ?? note}`}">
    ${href === undefined ? shown : markup`<a href="${hrefOf(href)}">${shown}</a>`}
  </li>`
}
