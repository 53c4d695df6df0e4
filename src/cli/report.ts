import { createHash } from 'node:crypto'
import { certaintySection } from './report/certain.ts'
import { clusterSection, overview } from './report/clusters.ts'
import type { ReportData } from './report/data.ts'
import { percent } from './report/format.ts'
import { markup, raw, type Html } from './report/html.ts'
import { qualitySection } from './report/quality.ts'
import {
  brokenSection,
  confusionSection,
  factSection,
  scoreSection,
  trainingSection,
} from './report/results.ts'
import { style } from './report/style.ts'

/**
 * One HTML file that needs no other file, no network and no script: pictures are data URIs, the
 * style sheet is inline, and a content security policy allows just these two.
 */
export function renderReport(data: ReportData): string {
  const hash = createHash('sha256').update(style).digest('base64')
  const policy =
    `default-src 'none'; img-src data:; style-src 'sha256-${hash}'; ` +
    "base-uri 'none'; form-action 'none'"
  return markup`<!doctype html>
    <html lang="en">
      <head>
        <meta http-equiv="Content-Security-Policy" content="${raw(policy)}" />
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta name="color-scheme" content="light dark" />
        <meta name="referrer" content="no-referrer" />
        <title>${data.title} · Keeplight</title>
        <link rel="icon" href="data:," />
        ${raw(`<style>${style}</style>`)}
      </head>
      <body>
        <header>
          <p class="brand">Keeplight</p>
          <h1>${data.title}</h1>
          <p class="lead">${data.subtitle}</p>
          ${keyFigures(data)}
        </header>
        <main>
          ${overview(data)}
          ${data.clusters.map((cluster) => clusterSection(cluster, data))}
          ${certaintySection(data)} ${qualitySection(data)}
          ${scoreSection(data)}
          ${confusionSection(data)}
          ${trainingSection(data)}
          ${brokenSection(data)}
          ${factSection(data)}
        </main>
        <footer>
          Made by Keeplight on this machine; this file holds everything that it shows.
        </footer>
      </body>
    </html>
`.text
}

function keyFigures({ imageCount, clusters, scores, broken, ...found }: ReportData): Html {
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
  return markup`<dl class="figures">
    ${figures.map(
      ([name, value, warn]) =>
        markup`<div class="${warn ? 'warn' : ''}">
          <dt>${name}</dt>
          <dd>${value}</dd>
        </div>`,
    )}
  </dl>`
}
