import { certaintySection } from './report/certain.ts'
import { cloudSection } from './report/cloud.ts'
import { cloudScript } from './report/cloudScript.ts'
import { clusterSection, overview } from './report/clusters.ts'
import type { ReportData } from './report/data.ts'
import { percent } from './report/format.ts'
import { markup } from './report/html.ts'
import { kCurveSection } from './report/kCurve.ts'
import { renderPage, type PageParts } from './report/page.ts'
import { qualitySection } from './report/quality.ts'
import {
  brokenSection,
  confusionSection,
  factSection,
  scoreSection,
  trainingSection,
} from './report/results.ts'

/** The report of a clustering as one HTML file that opens offline. */
export function renderReport(data: ReportData): string {
  const { title, subtitle } = data
  return renderPage({
    ...{ title, subtitle, figures: keyFigures(data) },
    script: data.cloud && cloudScript,
    main: markup`
          ${overview(data)}
          ${data.cloud && cloudSection(data.cloud)}
          ${data.clusters.map((cluster) => clusterSection(cluster, data))}
          ${certaintySection(data)} ${qualitySection(data)}
          ${scoreSection(data)}
          ${confusionSection(data)}
          ${kCurveSection(data.choice)}
          ${trainingSection(data)}
          ${brokenSection(data)}
          ${factSection(data)}
        `,
  })
}

function keyFigures({
  imageCount,
  clusters,
  scores,
  broken,
  ...found
}: ReportData): NonNullable<PageParts['figures']> {
  const scp = scores[0]
  const figures: [string, string, boolean?][] = [
    ['images', imageCount.toLocaleString('en')],
    ['clusters', String(clusters.length)],
  ]
  if (scp?.accuracy !== undefined) figures.push(['accuracy (ACC)', percent(scp.accuracy)])
  if (scp?.nmi !== undefined) figures.push(['NMI', percent(scp.nmi)])
  if (scp?.ari !== undefined) figures.push(['ARI', percent(scp.ari)])
  if (found.certainty) figures.push(['uncertain', found.certainty.uncertain.toLocaleString('en')])
  if (found.toLook && found.toLook.copies.spare > 0) {
    figures.push(['copies', found.toLook.copies.spare.toLocaleString('en')])
  }
  if (broken.length > 0) figures.push(['left out', broken.length.toLocaleString('en'), true])
  return figures
}
