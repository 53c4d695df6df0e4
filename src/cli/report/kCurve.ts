import type { ChooseKResult } from '../../train/chooseK.ts'
import { linePlot, type Mark } from '../plot/plots.ts'
import { percent } from './format.ts'
import { markup, type Html } from './html.ts'

/** How the number of clusters was chosen; nothing when it was given. */
export function kCurveSection(choice: ChooseKResult | undefined): Html | undefined {
  if (!choice) return undefined
  const { k, curve, candidates, structured, restarts, sample, partitions } = choice
  const others = candidates.filter((other) => other !== k)
  return markup`<h2>Number of clusters</h2>
    <p class="soft">
      Chosen: <b>${k}</b>.
      ${others.length > 0 && `The codes of ${others.join(', ')} clusters are about as short.`}
      Coding length: nats that describe the features by their clusters, shorter is better
      (${partitions === 'merged' ? 'clusters merged by coding length' : 'k-means'}, mean and deviation of
      ${restarts} restarts on ${sample.toLocaleString('en')} images).
      Stability: how far the restarts agree (ARI). ${
        structured
          ? ''
          : 'No number of clusters has a shorter code than one: this choice is a guess.'
      }
    </p>
    <div class="charts">
      ${chart('coding length', choice, (score) => score.codingLength, true)}
      ${chart('stability', choice, (score) => score.stability)}
      ${chart('silhouette', choice, (score) => score.silhouette)}
      ${chart('Calinski-Harabasz', choice, (score) => score.calinskiHarabasz)}
    </div>
    <details>
      <summary>Numbers</summary>
      <div class="scroll" tabindex="0" role="region" aria-label="Numbers of clusters">
        <table>
          <thead>
            <tr>
              <th scope="col">clusters</th>
              <th scope="col">coding length</th>
              <th scope="col">deviation</th>
              <th scope="col">stability</th>
              <th scope="col">silhouette</th>
              <th scope="col">Calinski-Harabasz</th>
            </tr>
          </thead>
          <tbody>
            ${curve.map(
              (score) =>
                markup`<tr class="${score.k === k && 'best'}">
                  <th scope="row">${score.k}</th>
                  <td>${score.codingLength.toFixed(0)}</td>
                  <td>${score.codingLengthDeviation.toFixed(0)}</td>
                  <td>${percent(score.stability)}</td>
                  <td>${fixed(score.silhouette, 3)}</td>
                  <td>${fixed(score.calinskiHarabasz, 1)}</td>
                </tr>`,
            )}
          </tbody>
        </table>
      </div>
    </details>`
}

const fixed = (value: number, digits: number): string =>
  Number.isFinite(value) ? value.toFixed(digits).replace('-', '−') : '–'

type Score = ChooseKResult['curve'][number]

function chart(
  title: string,
  { k, curve }: ChooseKResult,
  valueOf: (score: Score) => number,
  deviations = false,
): Html {
  const chosen = curve.find((score) => score.k === k)
  const mark: Mark = { x: k, label: String(k) }
  const plot = linePlot({
    ...{ title, heading: false, width: 280, height: 150 },
    description: `${title} of ${curve[0]!.k} to ${curve.at(-1)!.k} clusters; ${k} was chosen`,
    series: [
      {
        name: title,
        points: curve.map((score) =>
          deviations
            ? [score.k, valueOf(score), score.codingLengthDeviation]
            : [score.k, valueOf(score)],
        ),
      },
    ],
    marks: [mark],
    x: { label: 'clusters', ticks: 5 },
    y: { ticks: 4, ...(deviations && { format: short }) },
  })
  const value = chosen && valueOf(chosen)
  return markup`<figure class="chart">
    <figcaption>${title} <b>${value !== undefined && Number.isFinite(value) && short(value)}</b></figcaption>
    ${plot}
  </figure>`
}

/** Three digits, with k and M for thousands and millions. */
function short(value: number): string {
  const [scale, unit] = value >= 1e6 ? [1e6, 'M'] : value >= 1e4 ? [1e3, 'k'] : [1, '']
  return `${Number((value / scale).toPrecision(4))}${unit}`.replace('-', '−')
}
