import type { ReportCluster, ReportData, ReportImage, ReportPicture } from './data.ts'
import { count, percent } from './format.ts'
import { hrefOf, markup, webpAddress, type Html } from './html.ts'

/** All clusters at a glance: four pictures, name and size of each. */
export function overview({ clusters, imageCount }: ReportData): Html {
  return markup`<h2 id="overview">Clusters</h2>
    <ul class="overview">
      ${clusters.map(
        (cluster) =>
          markup`<li>
            <a href="#cluster-${cluster.id}">
              <span class="mosaic">
                ${cluster.surest.slice(0, 4).map((image) => picture(image, ''))}
              </span>
              <span class="text">
                <b>${clusterName(cluster)}</b>
                <span>${count(cluster.size, 'image')} · ${percent(cluster.size / imageCount)}</span>
              </span>
            </a>
          </li>`,
      )}
    </ul>`
}

function clusterName({ id, majority }: ReportCluster): string {
  return majority ? `${id} · ${majority.label}` : `Cluster ${id}`
}

/** One cluster's contact sheet, the surest pictures first. */
export function clusterSection(cluster: ReportCluster, data: ReportData): Html {
  const { id, size, majority, confidence, surest, omitted, leastSure } = cluster
  const facts = [count(size, 'image')]
  if (size > 0) facts.push(`median confidence ${percent(confidence)}`)
  if (majority) facts.push(`${percent(majority.share)} are ${majority.label}`)
  const tile = (image: ReportImage): Html => tileOf(image, majority?.label)
  return markup`<section class="cluster" id="cluster-${id}" aria-labelledby="name-${id}">
    <header>
      <h3 id="name-${id}">Cluster ${id}</h3>
      <span>${facts.join(' · ')}</span>
      <a href="#overview" aria-label="Back to all ${data.clusters.length} clusters">↑ all</a>
    </header>
    ${size === 0 ? markup`<p class="soft">No image fell into this cluster.</p>` : undefined}
    <ul class="sheet">
      ${surest.map(tile)}
      ${omitted > 0 && markup`<li class="gap">${omitted.toLocaleString('en')} more,<br />then the least sure</li>`}
      ${leastSure.map(tile)}
      <li class="end" aria-hidden="true"></li>
    </ul>
  </section>`
}

function tileOf(image: ReportImage, majority: string | undefined): Html {
  const { path, probability, runnerUp, runnerUpProbability, label } = image.assignment
  const other = majority !== undefined && label !== majority
  const about =
    `${path} — ${percent(probability)}, then cluster ${runnerUp} with ` +
    `${percent(runnerUpProbability)}${other ? ` — its folder says ${label}` : ''}`
  const shown = markup`${picture(image, path)}<span class="p">${percent(probability)}</span>`
  const kind = image.thumbnail ? (other ? 'other' : '') : 'lost'
  return markup`<li class="${kind}" title="${about}">
    ${image.href === undefined ? shown : markup`<a href="${hrefOf(image.href)}">${shown}</a>`}
  </li>`
}

/** An image's thumbnail, or its name where there is none. */
export function picture({ thumbnail }: ReportPicture, alt: string): Html {
  if (!thumbnail) return markup`<span>${alt}</span>`
  const { width, height, bytes } = thumbnail
  return markup`<img src="${webpAddress(bytes)}" width="${width}" height="${height}" alt="${alt}" />`
}
