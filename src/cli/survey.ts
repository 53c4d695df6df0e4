import type { ImageCollection } from '../data/collection.ts'
import { findCopies, groupLookAlikes } from '../data/duplicates.ts'
import type { CopyGroup, Look, LookAlikeGroup } from '../data/duplicates.ts'
import { findQualityIssues, qualityKinds } from '../data/quality.ts'
import type { QualityIssue } from '../data/quality.ts'
import type { Device, Features } from '../index.node.ts'
import { findLookAlikes } from '../train/lookAlikes.ts'
import type { BrokenFile } from './collect.ts'
import type { Looks } from './looks.ts'

/** What a collection holds that somebody may want to look at or throw away. */
export interface Survey {
  /** Names of the images that were looked at; the numbers below are places in this list. */
  readonly files: readonly string[]
  /** Their places in the collection. */
  readonly indices: readonly number[]
  readonly looks: readonly Look[]
  readonly issues: readonly QualityIssue[]
  readonly copies: readonly CopyGroup[]
  /** Absent where no features were at hand. */
  readonly lookAlikes?: {
    readonly groups: readonly LookAlikeGroup[]
    /** Mean cosine of two images of the collection, and the one from which two look alike. */
    readonly background: number
    readonly threshold: number
  }
  readonly broken: readonly BrokenFile[]
}

export interface SurveyInput {
  readonly looks: Looks
  /** Places in the collection of the images that could be read, ascending. */
  readonly kept: readonly number[]
  readonly broken: readonly BrokenFile[]
  /** Features of the kept images, and what to compare them on. */
  readonly features?: Pick<Features, 'count' | 'dimension' | 'clean'>
  readonly device?: Device
  /** See `findLookAlikes`. */
  readonly share?: number
}

/** Looks for copies, look-alikes and images of poor quality. */
export async function surveyImages(
  collection: ImageCollection,
  { looks, kept, broken, features, device, share }: SurveyInput,
): Promise<Survey> {
  await looks.complete(kept)
  const indices = looks.seenOf(kept)
  const seen = indices.map((index) => looks.at(index))
  const copies = findCopies(seen)
  const survey: Survey = {
    ...{ indices, looks: seen, copies, broken },
    files: indices.map((index) => collection.files[index]),
    issues: findQualityIssues(seen.map(({ appearance }) => appearance)),
  }
  if (!features || !device || features.count < 2) return survey
  const placeOf = new Map(indices.map((index, place) => [index, place]))
  const { pairs, background, threshold } = await findLookAlikes(device, features, { share })
  const places = pairs.flatMap(({ a, b, cosine }) => {
    const [first, second] = [placeOf.get(kept[a]), placeOf.get(kept[b])]
    return first === undefined || second === undefined ? [] : [{ a: first, b: second, cosine }]
  })
  const groups = groupLookAlikes(places, copies, seen)
  return { ...survey, lookAlikes: { groups, background, threshold } }
}

/** The path of the copy to keep, for each image that is a copy of it. */
export function copiesByPath({ copies, files }: Survey): Map<string, string> {
  return new Map(
    copies.flatMap(({ best, others }) =>
      others.map(({ image }) => [files[image], files[best]] as const),
    ),
  )
}

/** Bytes of the files that copies take beside the best ones. */
export function spareBytes({ copies, looks }: Survey): number {
  const all = copies.flatMap(({ others }) => others)
  return all.reduce((sum, { image }) => sum + looks[image].appearance.bytes, 0)
}

/** How many there are of everything. */
export function surveyCounts(survey: Survey) {
  const { files, copies, lookAlikes, issues, broken } = survey
  return {
    images: files.length,
    copyGroups: copies.length,
    copies: copies.reduce((sum, { others }) => sum + others.length, 0),
    copyBytes: spareBytes(survey),
    ...(lookAlikes && { lookAlikeGroups: lookAlikes.groups.length }),
    ...Object.fromEntries(
      qualityKinds.map((kind) => [kind, issues.filter((issue) => issue.kind === kind).length]),
    ),
    broken: broken.length,
  }
}
