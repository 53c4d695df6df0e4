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
