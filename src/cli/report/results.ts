import { linePlot, thinned } from '../plot/plots.ts'
import type { ReportData, Score, TracePoint } from './data.ts'
import { count, percent } from './format.ts'
import { describeRestarts } from '../restarts.ts'
import { markup, type Html } from './html.ts'

/** Larger confusion matrices stand in metrics.json only: nobody reads them on a page. */
const largestMatrix = 64

/** The trained partition's scores beside k-means'. */
export function scoreSection({ scores }: ReportData): Html {
  const labelled = scores.some((score) => score.accuracy !== undefined)
  const columns: [string, (score: Score) => number | undefined, 'high' | 'low' | 'none'][] = [
    ...(labelled
      ? ([
          ['ACC', (score) => score.accuracy, 'high'],
          ['NMI', (score) => score.nmi, 'high'],
          ['ARI', (score) => score.ari, 'high'],
        ] satisfies [string, (score: Score) => number | undefined, 'high'][])
      : []),
    ['inertia', (score) => score.inertia, 'none'],
    [`agrees with ${scores[0]?.method ?? 'SCP'} (ARI)`, (score) => score.agreement, 'none'],
  ]
  return markup`<h2>Beside k-means</h2>
    <p class="soft">
      ${
        labelled
          ? 'ACC, NMI and ARI compare a partition with the folders’ names, which no method saw.'
          : 'Without labels no partition can be called right; these say how tight each is, and how far they agree.'
      }
      Inertia: mean squared distance of an image’s feature to its cluster’s mean.
    </p>
    <div class="scroll" tabindex="0" role="region" aria-label="Scores">
      <table>
        <thead>
          <tr>
            <th scope="col">method</th>
            ${columns.map(([name]) => markup`<th scope="col">${name}</th>`)}
          </tr>
        </thead>
        <tbody>
          ${scores.map(
            (score) =>
              markup`<tr>
                <th scope="row">${score.method}</th>
                ${columns.map(([name, get, better]) => {
                  const value = get(score)
                  const best =
                    better === 'high' && value === Math.max(...scores.map((s) => get(s) ?? 0))
                  const text =
                    value === undefined
                      ? ''
                      : name === 'inertia'
                        ? value.toFixed(4)
                        : percent(value)
                  return markup`<td class="${best ? 'best' : ''}">${text}</td>`
                })}
              </tr>`,
          )}
        </tbody>
      </table>
    </div>`
}

/** How many images of each class are in each cluster; nothing without labels. */
export function confusionSection({ confusion, clusters }: ReportData): Html | undefined {
  if (!confusion) return undefined
  const { classes, counts } = confusion
  const heading = markup`<h2>Classes and clusters</h2>`
  if (Math.max(classes.length, clusters.length) > largestMatrix) {
    return markup`${heading}
      <p class="soft">
        The table of ${classes.length} classes by ${clusters.length} clusters is in metrics.json.
      </p>`
  }
  // Columns in the order of the class that they hold most of: the diagonal shows itself.
  const strongest = clusters.map((_, j) => counts.map((row) => row[j]))
  const order = clusters
    .map((_, j) => j)
    .sort((a, b) => argmax(strongest[a]) - argmax(strongest[b]) || a - b)
  return markup`${heading}
    <p class="soft">Images of each class (row) in each cluster (column).</p>
    <div class="scroll fit" tabindex="0" role="region" aria-label="Classes and clusters">
      <table class="matrix">
        <thead>
          <tr>
            <th scope="col">class</th>
            ${order.map((j) => markup`<th scope="col"><a href="#cluster-${j}">${j}</a></th>`)}
          </tr>
        </thead>
        <tbody>
          ${classes.map((name, i) => {
            const total = counts[i].reduce((sum, value) => sum + value, 0) || 1
            return markup`<tr>
              <th scope="row">${name}</th>
              ${order.map(
                (j) =>
                  markup`<td class="h${Math.ceil((counts[i][j] / total) * 10)}">${counts[i][j]}</td>`,
              )}
            </tr>`
          })}
        </tbody>
      </table>
    </div>`
}

/** Columns of a trace that are no part of the loss. */
const UNCHARTED: ReadonlySet<string> = new Set(['step', 'learningRate'])

/** `crossEntropy`: cross-entropy; other names of several words get spaces. */
function termTitle(name: string): string {
  if (name === 'total') return 'loss'
  if (name === 'crossEntropy') return 'cross-entropy'
  return name.replaceAll(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`)
}

/** Loss curves of the kept run, and all restarts. */
export function trainingSection({ trace, restarts: scores, kept }: ReportData): Html {
  const { restarts } = scores
  const labelled = scores.accuracy !== undefined
  const columns = Object.keys(trace[0] ?? {}).filter((name) => !UNCHARTED.has(name))
  const charts = columns.map((name) => chart(trace, termTitle(name), (point) => point[name]))
  return markup`<h2>Training</h2>
    <p class="soft">The run that was kept: the loss and its terms.</p>
    <div class="charts">${charts}</div>
    ${restarts.length > 1 && markup`<p class="soft">${describeRestarts(scores)}</p>`}
    <div class="scroll" tabindex="0" role="region" aria-label="Restarts">
      <table>
        <thead>
          <tr>
            <th scope="col">restart</th>
            <th scope="col">seed</th>
            <th scope="col">final loss</th>
            <th scope="col">inertia</th>
            ${labelled && markup`<th scope="col">ACC</th>`}
            <th scope="col"></th>
          </tr>
        </thead>
        <tbody>
          ${restarts.map(
            ({ seed, loss, inertia, accuracy, diverged }, i) =>
              markup`<tr class="${i === kept ? 'best' : ''}">
                <th scope="row">${i + 1}</th>
                <td>${seed}</td>
                <td>${diverged ? '–' : loss.toFixed(4)}</td>
                <td>${diverged ? '–' : inertia.toFixed(4)}</td>
                ${labelled && markup`<td>${accuracy === undefined ? '–' : percent(accuracy)}</td>`}
                <td>
                  ${i === kept && 'kept: lowest inertia'}
                  ${diverged && `diverged at step ${diverged.step}`}
                </td>
              </tr>`,
          )}
        </tbody>
      </table>
    </div>`
}

/** A small plot of one term over the steps, and what it came to. */
function chart(
  trace: readonly TracePoint[],
  title: string,
  valueOf: (point: TracePoint) => number,
): Html {
  const points = trace.map((point) => [point.step, valueOf(point)] as const)
  const shown = (value: number): string => String(Number(value.toPrecision(3))).replace('-', '−')
  const [first, last] = [points[0], points[points.length - 1]]
  const plot = linePlot({
    ...{ title, heading: false, width: 280, height: 150 },
    description: `from ${shown(first[1])} at step ${first[0]} to ${shown(last[1])} at step ${last[0]}`,
    series: [{ name: title, points: thinned(points) }],
    x: { label: 'step', ticks: 4, domain: [first[0], Math.max(last[0], first[0] + 1)] },
    y: { ticks: 4 },
  })
  return markup`<figure class="chart">
    <figcaption>${title} <b>${shown(last[1])}</b></figcaption>
    ${plot}
  </figure>`
}

/** The files that could not be read, and why. */
export function brokenSection({ broken }: ReportData): Html | undefined {
  if (broken.length === 0) return undefined
  const table = markup`<div class="scroll" tabindex="0" role="region" aria-label="Files left out">
    <table>
      <thead>
        <tr>
          <th scope="col">file</th>
          <th scope="col" class="text">reason</th>
        </tr>
      </thead>
      <tbody>
        ${broken.map(
          ({ path, message }) =>
            markup`<tr>
              <td class="text">${path}</td>
              <td class="text">${message}</td>
            </tr>`,
        )}
      </tbody>
    </table>
  </div>`
  return markup`<h2>Left out</h2>
    <p class="soft">${count(broken.length, 'file')} could not be read as an image.</p>
    ${
      broken.length > 20
        ? markup`<details>
            <summary>Show all</summary>
            ${table}
          </details>`
        : table
    }`
}

/** Settings and timings. */
export const factSection = ({ settings, timings }: ReportData): Html =>
  factLists([
    ['Settings', settings],
    ['Timings', timings],
  ])

/** Lists of names and values under headings, side by side. */
export function factLists(
  lists: readonly (readonly [string, readonly (readonly [string, string])[]])[],
): Html {
  return markup`<div class="facts">
    ${lists.map(
      ([title, facts]) =>
        markup`<section>
          <h2>${title}</h2>
          <dl>
            ${facts.map(
              ([name, value]) =>
                markup`<dt>${name}</dt>
                  <dd>${value || '–'}</dd>`,
            )}
          </dl>
        </section>`,
    )}
  </div>`
}

function argmax(values: readonly number[]): number {
  return values.reduce((best, value, i) => (value > values[best] ? i : best), 0)
}
