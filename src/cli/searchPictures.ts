import { basename, dirname } from 'node:path'
import { fileCollection } from '../data/folder.node.ts'
import { linkTo, loadThumbnails, type SheetOptions } from './contactSheets.ts'
import type { ReportPicture } from './report/data.ts'
import type { SearchList, SearchResult } from './report/searchPage.ts'
import type { Query } from './searchQueries.ts'

/** Puts thumbnails and links into what a search found; `out` is the page's path. */
export async function searchPictures(
  results: readonly SearchResult[],
  queries: readonly Query[],
  options: SheetOptions,
): Promise<SearchResult[]> {
  const { collection } = options
  const sheet = { ...options, out: dirname(options.out) }
  const indexOf = new Map(collection.files.map((path, index) => [path, index]))
  const shown = results.flatMap(({ features, clusters }) =>
    [features, clusters].flatMap((list) => list?.hits.map(({ path }) => indexOf.get(path)!) ?? []),
  )
  const members = queries.flatMap(({ base }) => (base.kind === 'member' ? [base.index] : []))
  const thumbnails = await loadThumbnails([...new Set([...members, ...shown])], sheet)
  const pictureAt = (index: number): ReportPicture => ({
    href: linkTo(collection, index, sheet.out),
    thumbnail: thumbnails.get(collection.files[index]),
  })
  const filled = (list: SearchList): SearchList => ({
    ...list,
    hits: list.hits.map((hit) => ({ ...hit, ...pictureAt(indexOf.get(hit.path)!) })),
  })
  const others = await outsidePictures(queries, sheet)
  return results.map((result, i) => {
    const { base } = queries[i]
    const own =
      base.kind === 'member'
        ? pictureAt(base.index)
        : base.kind === 'image'
          ? others.get(base.path)
          : undefined
    const { features, clusters } = result
    return {
      ...result,
      ...(own && { picture: own }),
      features: filled(features),
      ...(clusters && { clusters: filled(clusters) }),
    }
  })
}

/** Thumbnails of queries that lie outside the collection, by their paths. */
async function outsidePictures(
  queries: readonly Query[],
  options: SheetOptions,
): Promise<ReadonlyMap<string, ReportPicture>> {
  const files = [
    ...new Set(queries.flatMap(({ base }) => (base.kind === 'image' ? [base.path] : []))),
  ]
  const images = { root: basename(options.out), files, labels: undefined, classes: [], ignored: 0 }
  const collection = fileCollection(images, 'list', (index) => files[index])
  const every = files.map((_, index) => index)
  const thumbnails = files.length > 0 ? await loadThumbnails(every, { ...options, collection }) : []
  return new Map(Array.from(thumbnails, ([path, thumbnail]) => [path, { thumbnail }]))
}
