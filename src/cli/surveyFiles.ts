import { join } from 'node:path'
import type { Copy, CopyGroup, Look, LookAlikeGroup } from '../data/duplicates.ts'
import { qualityLimits } from '../data/quality.ts'
import { csvText, safePath } from '../data/csv.ts'
import { writeFileAtomic } from './files.ts'
import { surveyCounts, type Survey } from './survey.ts'

/** Writes quality.json and duplicates.csv into a folder. */
export async function writeSurvey(out: string, survey: Survey): Promise<Record<string, string>> {
  const texts = {
    'quality.json': `${JSON.stringify(surveyJson(survey), null, 2)}\n`,
    'duplicates.csv': duplicatesCsv(survey),
  }
  const paths: Record<string, string> = {}
  for (const [name, text] of Object.entries(texts)) {
    paths[name] = join(out, name)
    await writeFileAtomic(paths[name], text)
  }
  return paths
}

/** Everything, as quality.json holds it. */
export function surveyJson(survey: Survey) {
  const { files, looks, copies, lookAlikes, issues, broken } = survey
  const member = ({ image, relation, similarity }: Copy) => ({
    ...{ path: files[image], relation, similarity: rounded(similarity) },
    ...sizeOf(looks[image]),
  })
  const group = ({ kind, best, others }: CopyGroup | LookAlikeGroup) => ({
    kind,
    best: { path: files[best], ...sizeOf(looks[best]) },
    others: others.map(member),
  })
  return {
    counts: surveyCounts(survey),
    limits: qualityLimits,
    copies: copies.map(group),
    ...(lookAlikes && {
      lookAlikes: {
        background: rounded(lookAlikes.background),
        threshold: rounded(lookAlikes.threshold),
        groups: lookAlikes.groups.map(group),
      },
    }),
    issues: issues.map(({ image, kind, figure, reason }) => ({
      ...{ path: files[image], kind, figure: rounded(figure), reason },
    })),
    broken,
  }
}

/** All groups as CSV, a line for each image. */
export function duplicatesCsv({ files, looks, copies, lookAlikes }: Survey): string {
  const head = 'group,kind,path,keep,relation,similarity,width,height,bytes'.split(',')
  const groups = [...copies, ...(lookAlikes?.groups ?? [])]
  const lines = groups.flatMap(({ kind, best, others }, number) => {
    const first: Copy = { image: best, relation: 'best', similarity: 1 }
    return [first, ...others].map(({ image, relation, similarity }) => {
      const { width, height, bytes } = sizeOf(looks[image])
      // Look-alikes are other pictures: which of them to keep is not for a program to say.
      const keep = image === best || kind === 'look-alike' ? 'yes' : 'no'
      const what = kind === 'look-alike' && image === best ? 'largest' : relation
      const about = [number + 1, kind, safePath(files[image]), keep, what, rounded(similarity)]
      return [...about, width, height, bytes]
    })
  })
  return csvText([head, ...lines])
}

const sizeOf = ({ appearance: { width, height, bytes } }: Look) => ({ width, height, bytes })

const rounded = (value: number): number => Number(value.toFixed(4))
