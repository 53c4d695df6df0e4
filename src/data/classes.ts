import { byCodeUnits } from './imageNames.ts'

/**
 * The class of each picture: its first-level folder, when every picture lies in one and there are at
 * least two. Without classes, undefined.
 *
 * @param paths relative to the collection's folder, with `/` between parts
 */
export function classesOf(paths: readonly string[]): string[] | undefined {
  const tops = paths.map((path) => path.slice(0, Math.max(0, path.indexOf('/'))))
  return tops.includes('') || new Set(tops).size < 2 ? undefined : tops
}

/** Paths without the folders that all of them lie in, as an archive of one folder has. */
export function withoutCommonTop(paths: readonly string[]): string[] {
  const [first = ''] = paths
  let cut = 0
  for (let end = first.indexOf('/'); end >= 0; end = first.indexOf('/', end + 1)) {
    const top = first.slice(0, end + 1)
    if (!paths.every((path) => path.startsWith(top))) break
    cut = end + 1
  }
  return paths.map((path) => path.slice(cut))
}

/** Labels as indices into the names of the classes, which are sorted by code units. */
export interface Labelling {
  readonly labels: Int32Array | undefined
  readonly classes: readonly string[]
}

/** @param names the class of each image; undefined without classes */
export function labelsOf(names: readonly string[] | undefined): Labelling {
  if (!names) return { labels: undefined, classes: [] }
  const classes = [...new Set(names)].sort(byCodeUnits)
  const indexOf = new Map(classes.map((name, index) => [name, index]))
  return { labels: Int32Array.from(names, (name) => indexOf.get(name)!), classes }
}
