import { qualityKinds } from '../data/quality.ts'
import { oneLine } from './exitCodes.ts'
import { count } from './report/format.ts'
import { surveyCounts, type Survey } from './survey.ts'

/** Entries of a list that a terminal shows. */
const shown = 20

/** A survey as lines for a terminal. */
export function describeSurvey(survey: Survey): string {
  const { files, copies, lookAlikes, issues, broken } = survey
  const parts = [summaryLine(survey)]
  const add = (title: string, entries: readonly string[]): void => {
    if (entries.length === 0) return
    const left = entries.length - shown
    const more = left > 0 ? [`  and ${left} more; --out writes all`] : []
    parts.push('', title, ...entries.slice(0, shown), ...more)
  }
  const line = (path: string, about: string): string => `  ${oneLine(path)}  ${oneLine(about)}`
  add(
    'copies: the first of each group has most pixels, then most bytes',
    copies.map(({ best, others }) =>
      [line(files[best], sizeOf(survey, best))]
        .concat(
          others.map(
            ({ image, relation, similarity }) =>
              `  ${line(files[image], `${relation}${similarity < 1 ? ` (${similarity.toFixed(2)})` : ''}, ${sizeOf(survey, image)}`)}`,
          ),
        )
        .join('\n'),
    ),
  )
  if (lookAlikes) {
    const { background, threshold } = lookAlikes
    add(
      `look-alikes: cosine from ${threshold.toFixed(3)}; two images of this collection have ${background.toFixed(3)}`,
      lookAlikes.groups.map(({ best, others }) =>
        [line(files[best], '')]
          .concat(
            others.map(({ image, similarity }) => `  ${line(files[image], similarity.toFixed(3))}`),
          )
          .join('\n'),
      ),
    )
  }
  for (const kind of qualityKinds) {
    const own = issues.filter((issue) => issue.kind === kind)
    add(
      kind,
      own.map(({ image, reason }) => line(files[image], reason)),
    )
  }
  add(
    'broken',
    broken.map(({ path, message }) => line(path, message)),
  )
  return parts.join('\n')
}

/** One line with the number of everything that was found. */
function summaryLine(survey: Survey): string {
  return `${count(survey.files.length, 'image')}: ${countsLine(surveyCounts(survey))}`
}

/** What was found, in a few words. */
export function countsLine(found: ReturnType<typeof surveyCounts>): string {
  const counts: Readonly<Record<string, number | undefined>> = found
  const parts = [
    found.copies > 0 && `${count(found.copies, 'copy', 'copies')} (${megabytes(found.copyBytes)})`,
    found.lookAlikeGroups && `${count(found.lookAlikeGroups, 'group')} of look-alikes`,
    ...qualityKinds.map((kind) => counts[kind] && `${counts[kind]} ${kind}`),
    found.broken > 0 && `${found.broken} broken`,
  ].filter((text) => text)
  return parts.join(', ') || 'nothing'
}

function sizeOf({ looks }: Survey, image: number): string {
  const { width, height, bytes } = looks[image].appearance
  return `${width}×${height}, ${bytes < 1e6 ? `${(bytes / 1e3).toFixed(1)} kB` : megabytes(bytes)}`
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`
}
