import { relative, sep } from 'node:path'
import type { ImageCollection } from '../data/collection.ts'
import { decodeThumbnails } from '../data/decode.node.ts'
import type { PoolSettings } from '../data/decode.node.ts'
import type { Thumbnail } from '../data/decodeImage.node.ts'
import type { Assignment } from '../train/assignments.ts'
import type { ReportCluster, ReportImage, ReportPicture } from './report/data.ts'
import type { Terminal } from './terminal.ts'

/** Height of a thumbnail in pixels. */
const thumbnailHeight = 112
/** Thumbnails in a report: at most these, so that it stays a file that opens at once. */
const thumbnailsInAll = 2_400
const largestSheet = 60
const smallestSheet = 2
/** And at most these bytes of them, before base64 makes four of three. */
const thumbnailBytesInAll = 24 * 1024 * 1024

export interface SheetOptions {
  readonly collection: ImageCollection
  /** Absolute folder of the report. */
  readonly out: string
  readonly terminal: Terminal
  readonly signal?: AbortSignal
  readonly decoding?: PoolSettings
}

/** A picture as the report shows it. */
export type Picture = ReportPicture

export interface ContactSheets {
  readonly clusters: readonly ReportCluster[]
  /** Pictures of the sheets, and of the further images that were asked for. */
  readonly pictureOf: (path: string) => Picture
}

/**
 * Makes the clusters' contact sheets: images by falling probability, with the middle left out.
 *
 * @param more paths of further images to draw, so that the collection is read once
 */
export async function makeContactSheets(
  assignments: readonly Assignment[],
  k: number,
  options: SheetOptions,
  more: readonly string[] = [],
): Promise<ContactSheets> {
  const sheet = Math.floor(thumbnailsInAll / k)
  const limit = Math.max(smallestSheet, Math.min(largestSheet, sheet))
  const members: Assignment[][] = Array.from({ length: k }, () => [])
  for (const assignment of assignments) members[assignment.cluster].push(assignment)
  const chosen = members.map((all) => choose(all.sort(bySureness), limit))
  const indexOf = new Map(options.collection.files.map((path, index) => [path, index]))
  const onSheets = chosen.flatMap(({ surest, leastSure }) => [...surest, ...leastSure])
  const wanted = new Set([...onSheets.map(({ path }) => path), ...more])
  const thumbnails = await loadThumbnails(
    [...wanted].map((path) => indexOf.get(path)!),
    options,
  )
  const pictureOf = (path: string): Picture => ({
    href: linkTo(options.collection, indexOf.get(path)!, options.out),
    thumbnail: thumbnails.get(path),
  })
  const toImage = (assignment: Assignment): ReportImage => ({
    assignment,
    ...pictureOf(assignment.path),
  })
  const clusters = chosen.map(({ surest, leastSure }, id) => {
    const all = members[id]
    return {
      id,
      size: all.length,
      confidence: all.length === 0 ? 0 : all[Math.floor(all.length / 2)].probability,
      surest: surest.map(toImage),
      omitted: all.length - surest.length - leastSure.length,
      leastSure: leastSure.map(toImage),
      majority: majorityOf(all),
    }
  })
  return { clusters, pictureOf }
}

function bySureness(a: Assignment, b: Assignment): number {
  return b.probability - a.probability || (a.path < b.path ? -1 : 1)
}

function choose<T>(all: readonly T[], limit: number): { surest: T[]; leastSure: T[] } {
  if (all.length <= limit) return { surest: [...all], leastSure: [] }
  const last = Math.floor(limit / 5)
  return { surest: all.slice(0, limit - last), leastSure: all.slice(-last) }
}

function majorityOf(all: readonly Assignment[]): ReportCluster['majority'] {
  const counts = new Map<string, number>()
  for (const { label } of all) {
    if (label !== undefined) counts.set(label, (counts.get(label) ?? 0) + 1)
  }
  let best: { label: string; share: number } | undefined
  for (const [label, count] of counts) {
    const share = count / all.length
    if (!best || share > best.share) best = { label, share }
  }
  return best
}

/** Thumbnails of chosen images by their names; of those that can't be read, none. */
export async function loadThumbnails(
  chosen: readonly number[],
  { collection, terminal, signal, decoding }: SheetOptions,
): Promise<Map<string, Thumbnail>> {
  const progress = terminal.progress('report', chosen.length, 'thumbnails')
  const indices = [...chosen].sort((a, b) => a - b)
  const settings = { ...decoding, signal, indices, height: thumbnailHeight }
  const thumbnails = new Map<string, Thumbnail>()
  let bytes = 0
  let done = 0
  try {
    for await (const outcome of decodeThumbnails(collection, settings)) {
      progress.update(++done)
      if (!outcome.ok || bytes + outcome.bytes.length > thumbnailBytesInAll) continue
      bytes += outcome.bytes.length
      const { width, height, bytes: file } = outcome
      thumbnails.set(outcome.path, { width, height, bytes: file })
    }
  } finally {
    progress.stop()
  }
  return thumbnails
}

/**
 * The way from the report to an image's file with `/` between parts; undefined when it has no file of
 * its own, and across Windows drives.
 */
export function linkTo(
  collection: ImageCollection,
  index: number,
  out: string,
): string | undefined {
  const holder = collection.holder?.(index)
  if (!holder?.own) return undefined
  const way = relative(out, holder.path)
  return way.includes(':') && sep === '\\' ? undefined : way.split(sep).join('/')
}
