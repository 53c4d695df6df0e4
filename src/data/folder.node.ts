import { opendir, realpath, stat } from 'node:fs/promises'
import { resolve } from 'node:path'
import { KeeplightError } from '../runtime/errors.ts'
import { classesOf } from './classes.ts'

/** File name endings that are read as images, without the dot, in lower case. */
export const imageExtensions = ['jpg', 'jpeg', 'png', 'webp', 'avif', 'gif', 'tif', 'tiff'] as const

/** The images of a folder, in a stable order. */
export interface ImageFolder {
  /** Absolute path of the folder, symbolic links resolved. */
  readonly root: string
  /** Paths relative to `root`, with `/` between parts, sorted by UTF-16 code units. */
  readonly files: readonly string[]
  /** Class of each file as an index into `classes`; undefined when the folder has no classes. */
  readonly labels: Int32Array | undefined
  /** Names of the classes, sorted by code units; empty without classes. */
  readonly classes: readonly string[]
  /** How many files were passed over because their name doesn't end like an image's. */
  readonly ignored: number
}

const byCodeUnits = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)

function isImageName(name: string): boolean {
  const dot = name.lastIndexOf('.')
  const extension = name.slice(dot + 1).toLowerCase()
  return dot > 0 && (imageExtensions as readonly string[]).includes(extension)
}

/**
 * Lists the images below a folder.
 *
 * Classes: when every image lies in a subfolder and there are at least two first-level subfolders
 * with images, each image's class is the name of its first-level subfolder.
 * Names that start with a dot are skipped. A symbolic link to a file counts as that file; a link to
 * a folder is not entered, so that loops end and nothing outside the folder is read by accident.
 *
 * @throws KeeplightError `input` when the path is missing, unreadable, no folder, or has no images
 */
export async function scanFolder(path: string): Promise<ImageFolder> {
  const root = await resolveFolder(path)
  const files: string[] = []
  let ignored = 0
  const open = ['']
  for (let prefix = open.pop(); prefix !== undefined; prefix = open.pop()) {
    for await (const entry of await openFolder(resolve(root, prefix))) {
      if (entry.name.startsWith('.')) continue
      const relative = prefix + entry.name
      if (entry.isDirectory()) open.push(`${relative}/`)
      else if (entry.isSymbolicLink() && (await isFolder(resolve(root, relative)))) continue
      else if (isImageName(entry.name)) files.push(relative)
      else ignored++
    }
  }
  if (files.length === 0) {
    const others = ignored > 0 ? ` (${ignored} other files were found)` : ''
    throw new KeeplightError(
      'input',
      `${path}: no images here${others}; expected files ending in ${imageExtensions.join(', ')}. ` +
        'Give a folder of photos, or a folder with one subfolder per class.',
    )
  }
  files.sort(byCodeUnits)
  return { root, files, ignored, ...labelsOf(files) }
}

function labelsOf(files: readonly string[]): Pick<ImageFolder, 'labels' | 'classes'> {
  const names = classesOf(files)
  if (!names) return { labels: undefined, classes: [] }
  const classes = [...new Set(names)].sort(byCodeUnits)
  const indexOf = new Map(classes.map((name, index) => [name, index]))
  return { labels: Int32Array.from(names, (name) => indexOf.get(name) ?? -1), classes }
}

async function resolveFolder(path: string): Promise<string> {
  let isDirectory: boolean
  try {
    isDirectory = (await stat(path)).isDirectory()
  } catch (cause) {
    throw inputError(path, cause)
  }
  if (!isDirectory) {
    throw new KeeplightError(
      'input',
      `${path}: this is a file, expected a folder of images. Give the folder that holds it.`,
    )
  }
  return realpath(path)
}

async function openFolder(path: string): ReturnType<typeof opendir> {
  try {
    return await opendir(path)
  } catch (cause) {
    throw inputError(path, cause)
  }
}

async function isFolder(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory()
  } catch {
    return false // A dangling link: kept as a file, so that it is reported when it can't be read.
  }
}

function inputError(path: string, cause: unknown): KeeplightError {
  const code = (cause as NodeJS.ErrnoException).code
  const [problem, remedy] =
    code === 'ENOENT'
      ? ['no such folder', 'Check the spelling and the current directory.']
      : code === 'EACCES' || code === 'EPERM'
        ? ['no permission to read this folder', 'Change its permissions or choose another folder.']
        : [`cannot be read (${code ?? String(cause)})`, 'Choose another folder.']
  return new KeeplightError('input', `${path}: ${problem}. ${remedy}`, { cause })
}
