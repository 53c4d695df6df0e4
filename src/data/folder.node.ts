import { opendir, realpath, stat } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { KeeplightError } from '../runtime/errors.ts'
import { passesOver, synsetLabels } from './archiveImages.ts'
import { classesOf, labelsOf, type Labelling } from './classes.ts'
import { everyIndex, type ImageCollection } from './collection.ts'
import { readError } from './diskFile.node.ts'
import { byCodeUnits, imageExtensions, isImageName } from './imageNames.ts'
import { synsetOf, type Synsets } from './synsets.ts'

/** The images of a folder, in a stable order. */
export interface ImageFolder extends Labelling {
  /** Absolute path of the folder, symbolic links resolved. */
  readonly root: string
  /** Paths relative to `root`, with `/` between parts, sorted by UTF-16 code units. */
  readonly files: readonly string[]
  /** How many files were passed over because their name doesn't end like an image's. */
  readonly ignored: number
}

/**
 * Lists the images below a folder.
 *
 * Classes: when every image lies in a subfolder and there are at least two first-level subfolders
 * with images, each image's class is the name of its first-level subfolder.
 * Names that start with a dot are skipped. A symbolic link to a file counts as that file; a link to
 * a folder is not entered, so that loops end and nothing outside the folder is read by accident.
 *
 * @param synsets when given, images in folders of these alone, which are then the classes
 * @throws KeeplightError `input` when the path is missing, unreadable, no folder, or has no images
 */
export async function scanFolder(path: string, synsets?: Synsets): Promise<ImageFolder> {
  const root = await resolveFolder(path)
  const files: string[] = []
  let ignored = 0
  const open = ['']
  for (let prefix = open.pop(); prefix !== undefined; prefix = open.pop()) {
    for await (const entry of await openFolder(resolve(root, prefix))) {
      if (entry.name.startsWith('.')) continue
      const relative = prefix + entry.name
      if (entry.isDirectory()) {
        if (!passesOver(entry.name, synsets)) open.push(`${relative}/`)
      } else if (entry.isSymbolicLink() && (await isFolder(resolve(root, relative)))) continue
      else if (!isImageName(entry.name)) ignored++
      else if (!synsets || synsetOf(relative, synsets)) files.push(relative)
    }
  }
  if (files.length === 0) throw noImages(path, ignored, synsets)
  files.sort(byCodeUnits)
  const labelling = synsets ? synsetLabels(root, files, synsets) : labelsOf(classesOf(files))
  return { root, files, ignored, ...labelling }
}

/** The images of a scanned folder as a collection. */
export function folderCollection(folder: ImageFolder, kind = 'folder'): ImageCollection {
  return fileCollection(folder, kind, (index) => join(folder.root, folder.files[index]!))
}

/** Images that are files of their own. */
export function fileCollection(
  images: ImageFolder,
  kind: string,
  pathOf: (index: number) => string,
): ImageCollection {
  return {
    ...images,
    kind,
    holder: (index) => ({ path: pathOf(index), own: true }),
    async *read(indices = everyIndex(images), signal) {
      for (const index of indices) {
        if (signal?.aborted) throw new KeeplightError('aborted', 'reading was stopped')
        yield { index, content: { file: pathOf(index) } }
      }
    },
  }
}

function noImages(path: string, ignored: number, synsets?: Synsets): KeeplightError {
  const others = ignored > 0 ? ` (${ignored} other files were found)` : ''
  return new KeeplightError(
    'input',
    synsets
      ? `${path}: no images of these synsets here${others}; expected folders named like ` +
          `${[...synsets.keys()][0]}. Give ImageNet's folder of such folders.`
      : `${path}: no images here${others}; expected files ending in ${imageExtensions.join(', ')}. ` +
          'Give a folder of photos, or a folder with one subfolder per class.',
  )
}

async function resolveFolder(path: string): Promise<string> {
  const entry = await stat(path).catch((cause: unknown) => {
    throw readError(path, cause)
  })
  if (!entry.isDirectory()) {
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
    throw readError(path, cause)
  }
}

async function isFolder(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory()
  } catch {
    return false // A dangling link: kept as a file, so that it is reported when it can't be read.
  }
}
