import type { ReportData } from './data.ts'
import { count, percent } from './format.ts'
import { markup, type Html } from './html.ts'
import { tileOf } from './quality.ts'

/** The images of the whole collection that the head is most and least sure of. */
export function certaintySection({ certainty, imageCount }: ReportData): Html | undefined {
  if (!certainty) return undefined
  const { uncertain, most, least } = certainty
  return markup`<h2 id="certainty">Most and least certain</h2>
    <p class="soft">
      ${count(uncertain, 'image')} (${percent(uncertain / imageCount)}) uncertain: the cluster is
      less than twice as probable as the runner-up.
    </p>
    <h3 class="finding">Least certain</h3>
    <ul class="sheet">
      ${least.map(tileOf)}
      <li class="end" aria-hidden="true"></li>
    </ul>
    <h3 class="finding">Most certain</h3>
    <ul class="sheet">
      ${most.map(tileOf)}
      <li class="end" aria-hidden="true"></li>
    </ul>`
}
