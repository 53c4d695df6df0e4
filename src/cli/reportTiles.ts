import { qualityKinds } from '../data/quality.ts'
import type { Assignment } from '../train/assignments.ts'
import { isUncertain } from '../train/assignments.ts'
import type { Picture } from './contactSheets.ts'
import type { ReportData, ReportGroup, ReportTile } from './report/data.ts'
import { percent } from './report/format.ts'
import type { Survey } from './survey.ts'

/** How much of each finding a report shows. */
const groupsShown = 24
const groupTiles = 6
const issueTiles = 12
const certainTiles = 24

/** What the report shows beside the clusters' contact sheets, before its pictures are there. */
export interface TilePlan {
  /** Paths of all pictures that it needs. */
  readonly paths: readonly string[]
  /** Puts the pictures in. */
  fill(pictureOf: (path: string) => Picture): Pick<ReportData, 'toLook' | 'certainty'>
}

/** Chooses the images of the report's sections on findings and certainty. */
export function planTiles(assignments: readonly Assignment[], survey?: Survey): TilePlan {
  const findings = survey && findingsOf(survey)
  const certainty = certaintyOf(assignments)
  const groups = [...(findings?.copies.groups ?? []), ...(findings?.lookAlikes?.groups ?? [])]
  const tiles = [
    ...groups.flatMap((group) => group.tiles),
    ...(findings?.issues ?? []).flatMap((issue) => issue.tiles),
    ...certainty.most,
    ...certainty.least,
  ]
  return {
    paths: tiles.map(({ path }) => path),
    fill(pictureOf) {
      const fillAll = (some: readonly ReportTile[]): ReportTile[] =>
        some.map((tile) => ({ ...tile, ...pictureOf(tile.path) }))
      const fillGroups = (some: readonly ReportGroup[]): ReportGroup[] =>
        some.map((group) => ({ ...group, tiles: fillAll(group.tiles) }))
      return {
        certainty: {
          ...certainty,
          most: fillAll(certainty.most),
          least: fillAll(certainty.least),
        },
        toLook: findings && {
          copies: { ...findings.copies, groups: fillGroups(findings.copies.groups) },
          lookAlikes: findings.lookAlikes && {
            ...findings.lookAlikes,
            groups: fillGroups(findings.lookAlikes.groups),
          },
          issues: findings.issues.map((issue) => ({ ...issue, tiles: fillAll(issue.tiles) })),
        },
      }
    },
  }
}

function findingsOf(survey: Survey): NonNullable<ReportData['toLook']> {
  const { files, looks, copies, lookAlikes, issues } = survey
  const sizeOf = (image: number): string => {
    const { width, height } = looks[image].appearance
    return `${width}×${height}`
  }
  const copyGroups = copies.slice(0, groupsShown).map(({ best, others }): ReportGroup => {
    const tiles = others.slice(0, groupTiles - 1).map(({ image, relation }) => ({
      ...{ path: files[image], note: relation, about: `${relation}, ${sizeOf(image)}` },
    }))
    const first = { path: files[best], note: sizeOf(best), about: 'the largest', best: true }
    return { tiles: [first, ...tiles], omitted: others.length - tiles.length }
  })
  const alikeGroups = lookAlikes?.groups.slice(0, groupsShown).map(({ best, others }) => {
    const tiles = others.slice(0, groupTiles - 1).map(({ image, similarity }) => ({
      ...{ path: files[image], note: similarity.toFixed(3) },
      about: `cosine ${similarity.toFixed(3)}, ${sizeOf(image)}`,
    }))
    const first = { path: files[best], note: sizeOf(best) }
    return { tiles: [first, ...tiles], omitted: others.length - tiles.length }
  })
  return {
    copies: {
      total: copies.length,
      spare: copies.reduce((sum, { others }) => sum + others.length, 0),
      groups: copyGroups,
    },
    lookAlikes: lookAlikes && {
      total: lookAlikes.groups.length,
      threshold: lookAlikes.threshold,
      background: lookAlikes.background,
      groups: alikeGroups!,
    },
    issues: qualityKinds.flatMap((kind) => {
      const own = issues.filter((issue) => issue.kind === kind)
      const tiles = own.slice(0, issueTiles).map(({ image, figure, reason }) => ({
        ...{ path: files[image], about: reason },
        note: kind.startsWith('odd') ? sizeOf(image) : figure.toFixed(kind === 'blurry' ? 3 : 2),
      }))
      return own.length === 0 ? [] : [{ kind, total: own.length, tiles }]
    }),
  }
}

function certaintyOf(assignments: readonly Assignment[]): NonNullable<ReportData['certainty']> {
  const sorted = [...assignments].sort(
    (a, b) => b.probability - a.probability || (a.path < b.path ? -1 : 1),
  )
  const tile = ({ path, cluster, probability, ...then }: Assignment): ReportTile => ({
    ...{ path, note: `${cluster} · ${percent(probability)}` },
    about:
      `cluster ${cluster} with ${percent(probability)}, then ${then.runnerUp} with ` +
      percent(then.runnerUpProbability),
  })
  const shown = Math.min(certainTiles, Math.floor(sorted.length / 2))
  return {
    uncertain: assignments.filter(isUncertain).length,
    most: sorted.slice(0, shown).map(tile),
    least: sorted
      .slice(sorted.length - shown)
      .reverse()
      .map(tile),
  }
}
