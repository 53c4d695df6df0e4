import { open, readFile, stat } from 'node:fs/promises'
import { KeeplightError } from '../runtime/errors.ts'
import { imagesOf } from './archiveImages.ts'
import { findBinaryLayout } from './binaryLayout.ts'
import { openBinarySet, type LabelKind } from './binarySet.ts'
import type { ImageCollection } from './collection.ts'
import { diskFile, readError, type DiskFile } from './diskFile.node.ts'
import type { FileSet } from './fileSet.ts'
import { folderCollection, scanFolder } from './folder.node.ts'
import { openBesideFile, openFolderFiles } from './folderFiles.node.ts'
import { archiveLimits, type ArchiveLimits } from './limits.ts'
import { openListFile } from './listFile.node.ts'
import { namedSynsets, parseSynsets, synsetSubsets, type Synsets } from './synsets.ts'
import { openTar } from './tarFiles.node.ts'
import { checksumHolds } from './tarHeader.ts'
import { openZip } from './zipFiles.node.ts'

export interface OpenOptions {
  /** Which labelling of CIFAR-100 the classes are; default `fine`. */
  readonly labels?: LabelKind
  /** Images of these synsets alone: `imagenet-10`, `imagenet-dogs`, or the path of a list. */
  readonly synsets?: string
  /** What an archive may ask for; see `archiveLimits`. */
  readonly limits?: Partial<ArchiveLimits>
  readonly signal?: AbortSignal
}

/**
 * Opens a collection of images, of whatever kind it is: a folder, a `.tar`, `.tar.gz` or `.zip`
 * archive, a list of files (`.txt`, `.csv`, `.tsv`), CIFAR-10, CIFAR-100 or STL-10 in binary form (as
 * folder, archive or single `.bin` file), or a part of ImageNet. Files are told apart by content.
 *
 * @throws KeeplightError `input` naming what is wrong with it, `aborted` after `signal`
 */
export async function openCollection(
  path: string,
  { labels, synsets: list, limits, signal }: OpenOptions = {},
): Promise<ImageCollection> {
  const synsets = list === undefined ? undefined : await readSynsets(list)
  const entry = await stat(path).catch((cause: unknown) => {
    throw readError(path, cause)
  })
  const collection = entry.isDirectory()
    ? await openFolder(path, labels, synsets, signal)
    : await openFile(await diskFile(path), { ...archiveLimits, ...limits }, labels, synsets, signal)
  if (labels !== undefined && collection.kind !== 'cifar-100') {
    throw new KeeplightError(
      'input',
      `${path}: has one labelling (${collection.kind}), and ${labels} labels were asked for, which ` +
        'CIFAR-100 has. Leave them out.',
    )
  }
  return collection
}

async function readSynsets(list: string): Promise<Synsets> {
  const named = namedSynsets(list)
  if (named) return named
  const text = await readFile(list, 'utf8').catch((cause: unknown) => {
    const { message } = readError(list, cause)
    throw new KeeplightError(
      'input',
      `${message} Synsets are ${synsetSubsets.join(', ')} or a file that lists them.`,
      { cause },
    )
  })
  return parseSynsets(text, list)
}

async function openFolder(
  path: string,
  labels: LabelKind | undefined,
  synsets: Synsets | undefined,
  signal: AbortSignal | undefined,
): Promise<ImageCollection> {
  if (!synsets) {
    const binary = await openBinary(await openFolderFiles(path), undefined, labels, signal)
    if (binary) return binary
  }
  return folderCollection(await scanFolder(path, synsets), synsets ? 'synsets' : 'folder')
}

async function openFile(
  file: DiskFile,
  limits: ArchiveLimits,
  labels: LabelKind | undefined,
  synsets: Synsets | undefined,
  signal: AbortSignal | undefined,
): Promise<ImageCollection> {
  const format = await formatOf(file)
  if (format === 'zip' || format === 'tar' || format === 'tar.gz') {
    const set =
      format === 'zip'
        ? await openZip(file, limits, signal)
        : await openTar(file, format === 'tar.gz', limits, signal)
    const binary = synsets ? undefined : await openBinary(set, undefined, labels, signal)
    return binary ?? imagesOf(set, synsets)
  }
  if (synsets) {
    throw new KeeplightError(
      'input',
      `${file.path}: synsets choose from ImageNet's folder or an archive of it. Give one of these.`,
    )
  }
  if (format === 'list') return openListFile(file)
  const { set, index } = await openBesideFile(file)
  return (await openBinary(set, index, labels, signal)) ?? imagesOf(set)
}

async function openBinary(
  set: FileSet,
  only: number | undefined,
  labels: LabelKind | undefined,
  signal: AbortSignal | undefined,
): Promise<ImageCollection | undefined> {
  const layout = findBinaryLayout(set.names, set.sizes, only)
  return layout && openBinarySet(set, layout, labels ?? 'fine', signal)
}

/** What a file is, by its first bytes, and by its name where these say nothing. */
async function formatOf({
  path,
  size,
}: DiskFile): Promise<'zip' | 'tar' | 'tar.gz' | 'list' | 'bin'> {
  if (size === 0)
    throw new KeeplightError(
      'input',
      `${path}: the file is empty, expected a folder or an archive of images, or a list of them.`,
    )
  const head = new Uint8Array(512)
  const handle = await open(path).catch((cause: unknown) => {
    throw readError(path, cause)
  })
  try {
    await handle.read(head, 0, head.length, 0)
  } catch (cause) {
    throw readError(path, cause)
  } finally {
    await handle.close()
  }
  if (head[0] === 0x1f && head[1] === 0x8b) return 'tar.gz'
  // A file's header, or the end of an archive without files.
  if (head[0] === 0x50 && head[1] === 0x4b && head[2]! + 1 === head[3]! && head[2]! < 7)
    return 'zip'
  const isNamed = (pattern: RegExp): boolean => pattern.test(path)
  if (isNamed(/\.bin$/i)) return 'bin'
  if (isNamed(/\.tar$/i) || checksumHolds(head)) return 'tar'
  if (isNamed(/\.(tar\.gz|tgz)$/i)) {
    throw new KeeplightError('input', `${path}: is not gzip data, expected a .tar.gz archive.`)
  }
  if (isNamed(/\.zip$/i)) {
    throw new KeeplightError('input', `${path}: does not begin like a zip archive. Get it again.`)
  }
  if (isNamed(/\.(txt|csv|tsv)$/i)) return 'list'
  throw new KeeplightError(
    'input',
    `${path}: expected a folder of images, a .tar, .tar.gz or .zip archive of them, a list of files ` +
      '(.txt, .csv, .tsv), or the .bin files of CIFAR or STL-10. For a picture, give the folder that holds it.',
  )
}
