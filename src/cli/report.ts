import { clusterSection, overview } from './report/clusters.ts'
import type { ReportData } from './report/data.ts'
import { percent } from './report/format.ts'
import { markup } from './report/html.ts'
import { kCurveSection } from './report/kCurve.ts'
import { renderPage, type PageParts } from './report/page.ts'
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
    main: markup`
          ${overview(data)}
          ${data.clusters.map((cluster) => clusterSection(cluster, data))}
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
}: ReportData): NonNullable<PageParts['figures']> {
  const scp = scores[0]
  const figures: [string, string, boolean?][] = [
    ['images', imageCount.toLocaleString('en')],
    ['clusters', String(clusters.length)],
  ]
  if (scp?.accuracy !== undefined) figures.push(['accuracy (ACC)', percent(scp.accuracy)])
  if (scp?.nmi !== undefined) figures.push(['NMI', percent(scp.nmi)])
  if (scp?.ari !== undefined) figures.push(['ARI', percent(scp.ari)])
  if (broken.length > 0) figures.push(['left out', broken.length.toLocaleString('en'), true])
  return figures
}
