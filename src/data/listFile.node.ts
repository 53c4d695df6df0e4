import { readFile, stat } from 'node:fs/promises'
import { dirname, isAbsolute, normalize, resolve, sep } from 'node:path'
import { KeeplightError } from '../runtime/errors.ts'
import { labelsOf } from './classes.ts'
import type { ImageCollection } from './collection.ts'
import { readError, type DiskFile } from './diskFile.node.ts'
import { fileCollection } from './folder.node.ts'
import { parsePathList, type ListedPath } from './pathList.ts'

/** A list of more bytes than this is no list. */
const maximumListBytes = 512 * 1024 * 1024
/** How many files are looked up at once, and how many of the missing are named. */
const lookUps = 64
const namedAtMost = 5

/**
 * The images that a text file lists, in its order; relative paths start at the list's folder.
 *
 * @throws KeeplightError `input` naming lines that repeat an image, and files that are missing
 */
export async function openListFile(file: DiskFile): Promise<ImageCollection> {
  if (file.size > maximumListBytes) {
    throw new KeeplightError(
      'input',
      `${file.path}: has ${file.size} bytes, a list of images has at most ${maximumListBytes}. Split it.`,
    )
  }
  const text = await readFile(file.path, 'utf8').catch((cause: unknown) => {
    throw readError(file.path, cause)
  })
  if (text.slice(0, 4096).includes('\0')) {
    throw new KeeplightError('input', `${file.path}: is no text, expected a list of image files.`)
  }
  const listed = parsePathList(text, file.path)
  const folder = dirname(file.path)
  const paths = listed.map(({ path }) => resolve(folder, path))
  refuseRepeats(file.path, listed, paths)
  await refuseMissing(file.path, listed, paths)
  const files = listed.map(({ path }) =>
    (isAbsolute(path) ? path : normalize(path)).split(sep).join('/'),
  )
  const labels = listed[0]!.label === undefined ? undefined : listed.map(({ label }) => label!)
  const images = { root: file.path, files, ignored: 0, ...labelsOf(labels) }
  return fileCollection(images, 'list', (index) => paths[index]!)
}

function refuseRepeats(
  source: string,
  listed: readonly ListedPath[],
  paths: readonly string[],
): void {
  const lineOf = new Map<string, number>()
  const repeats: string[] = []
  for (const [i, path] of paths.entries()) {
    const { line } = listed[i]!
    const before = lineOf.get(path)
    if (before === undefined) lineOf.set(path, line)
    else repeats.push(`line ${line} repeats line ${before} (${listed[i]!.path})`)
  }
  if (repeats.length === 0) return
  throw new KeeplightError('input', `${source}: ${some(repeats)}. Remove them.`)
}

async function refuseMissing(
  source: string,
  listed: readonly ListedPath[],
  paths: readonly string[],
): Promise<void> {
  const missing: number[] = []
  let next = 0
  const look = async (): Promise<void> => {
    while (next < paths.length) {
      const i = next++
      const isFile = await stat(paths[i]!).then(
        (entry) => entry.isFile(),
        () => false,
      )
      if (!isFile) missing.push(i)
    }
  }
  await Promise.all(Array.from({ length: lookUps }, look))
  if (missing.length === 0) return
  missing.sort((a, b) => a - b)
  const named = missing.map((i) => `line ${listed[i]!.line} (${listed[i]!.path})`)
  throw new KeeplightError(
    'input',
    `${source}: ${missing.length} of ${paths.length} files are missing: ${some(named)}. Paths are ` +
      "absolute, or start at the list's folder. Correct or remove these lines.",
  )
}

function some(items: readonly string[]): string {
  const rest = items.length - namedAtMost
  return items.slice(0, namedAtMost).join(', ') + (rest > 0 ? ` and ${rest} more` : '')
}
