import { readdir, realpath } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { changed, diskFile, openUnchanged, readError, readRange } from './diskFile.node.ts'
import type { DiskFile } from './diskFile.node.ts'
import type { FilePart, FileSet } from './fileSet.ts'
import { byCodeUnits } from './imageNames.ts'

/** Files that can belong to a data set in binary form. */
const belongs = /\.(bin|txt)$/i

/**
 * The binary files and texts directly in a folder, as those of CIFAR and STL-10.
 *
 * @throws KeeplightError `input` when the folder can't be read
 */
export async function openFolderFiles(path: string): Promise<FileSet> {
  const entries = await readdir(path, { withFileTypes: true }).catch((cause: unknown) => {
    throw readError(path, cause)
  })
  const root = await realpath(path)
  const found: DiskFile[] = []
  const names: string[] = []
  for (const name of entries.map((entry) => entry.name).sort(byCodeUnits)) {
    if (name.startsWith('.') || !belongs.test(name)) continue
    const file = await diskFile(join(root, name)).catch(() => undefined) // a folder, or gone
    if (!file) continue
    found.push(file)
    names.push(name)
  }
  return {
    root,
    kind: 'folder',
    names,
    sizes: found.map(({ size }) => size),
    holder: (index) => found[index]!.path,
    read: (indices, signal) => readFiles(found, indices, signal),
  }
}

/** The set of the folder that a file lies in, and the file's place there. */
export async function openBesideFile(file: DiskFile): Promise<{ set: FileSet; index: number }> {
  const set = await openFolderFiles(dirname(file.path))
  const index = set.names.indexOf(basename(file.path))
  if (index < 0) throw changed(file.path)
  return { set: { ...set, root: file.path }, index }
}

async function* readFiles(
  found: readonly DiskFile[],
  indices: readonly number[],
  signal: AbortSignal | undefined,
): AsyncGenerator<FilePart> {
  for (const index of indices) {
    const { path, size } = found[index]!
    if (size === 0) yield { index, data: new Uint8Array(0), last: true }
    const handle = await openUnchanged(found[index]!)
    try {
      let left = size
      for await (const data of readRange(handle, path, 0, size, signal)) {
        left -= data.length
        yield { index, data, last: left === 0 }
      }
    } finally {
      await handle.close()
    }
  }
}
