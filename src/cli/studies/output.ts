import { join } from 'node:path'
import { version } from '../../../package.json'
import { writeFileAtomic } from '../files.ts'
import { standaloneSvg } from '../plot/plots.ts'
import type { Html, HtmlValue } from '../report/html.ts'
import { renderPage } from '../report/page.ts'
import { factLists } from '../report/results.ts'
import { describeAdapter } from '../openModel.ts'
import type { Session, StudySettings } from './session.ts'

/** What a study wrote. */
export interface StudyFiles {
  readonly json: string
  readonly csv: string
  readonly html: string
  readonly plots: readonly string[]
}

export interface StudyResult {
  /** Of its files, without their endings. */
  readonly name: string
  readonly title: string
  readonly subtitle: string
  readonly csv: string
  /** Written to the study's JSON; left out where the store of its cells is that file. */
  readonly json?: object
  /** Plots by what follows the study's name in their files' names. */
  readonly plots: Readonly<Record<string, Html>>
  readonly main: HtmlValue
  /** See {@link PageParts.script}. */
  readonly script?: string
}

/** By what the figures of a study were made, for its JSON. */
export const madeBy = ({ device, modelName }: Session): object => ({
  version,
  adapter: device.adapter,
  model: modelName,
})

/** Writes a study's JSON, CSV, plots and page. */
export async function writeStudy(
  { out }: Session,
  { name, title, subtitle, csv, json, plots, main, script }: StudyResult,
): Promise<StudyFiles> {
  const at = (ending: string): string => join(out, `${name}${ending}`)
  if (json) await writeFileAtomic(at('.json'), `${JSON.stringify(json)}\n`)
  await writeFileAtomic(at('.csv'), csv)
  const figures: string[] = []
  for (const [suffix, plot] of Object.entries(plots)) {
    const path = at(`${suffix}.svg`)
    await writeFileAtomic(path, standaloneSvg(plot))
    figures.push(path)
  }
  await writeFileAtomic(at('.html'), renderPage({ title, subtitle, main, script }))
  return { json: at('.json'), csv: at('.csv'), html: at('.html'), plots: figures }
}

/** With what a study was made. */
export function factList({ device, modelName, datasets }: Session, settings: StudySettings): Html {
  const { seeds, seed, views, alpha, epochs, minSteps, batch, lr } = settings
  const given = { alpha, epochs, minSteps, batch, 'learning rate': lr }
  const facts: (readonly [string, string])[] = [
    ['model', modelName],
    ['adapter', describeAdapter(device)],
    ['seeds', `${seed} … ${seed + seeds - 1}`],
    ['views', String(views)],
    ...Object.entries(given).flatMap(([name, value]) =>
      value === undefined ? [] : [[name, String(value)] as const],
    ),
    ['version', version],
  ]
  const sets = datasets.map(({ name, labels, scoredLabels, onTest, k }) => {
    const images = labels.length.toLocaleString('en')
    const test = onTest ? `, ${scoredLabels.length.toLocaleString('en')} test images` : ''
    return [name, `${images} images${test}, ${k} classes`] as const
  })
  return factLists([
    ['Settings', facts],
    ['Data', sets],
  ])
}
