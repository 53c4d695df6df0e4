import { mkdir, rename, rm, stat, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { OutputError } from './exitCodes.ts'

/**
 * Makes an output folder and proves that files can be written there, before hours of work.
 *
 * @throws OutputError naming the folder and the remedy
 */
export async function prepareOutput(folder: string): Promise<void> {
  const probe = join(folder, `.keeplight-${process.pid}.tmp`)
  try {
    await makeFolder(folder)
    await writeFile(probe, '')
    await rm(probe)
  } catch (cause) {
    throw outputError(folder, cause, await isKind(folder, 'file'))
  }
}

/** Writes a file under a temporary name, then renames it: readers see the old file or the new one. */
export async function writeFileAtomic(path: string, data: string | Uint8Array): Promise<void> {
  const temporary = join(dirname(path), `.${basename(path)}.${process.pid}.tmp`)
  try {
    await writeFile(temporary, data)
    await rename(temporary, path)
  } catch (cause) {
    await rm(temporary, { force: true }).catch(() => undefined)
    throw outputError(path, cause, false)
  }
}

/** Runs what writes to a path; what the system says against it becomes an error of the output. */
export async function writingTo<T>(path: string, write: () => Promise<T>): Promise<T> {
  try {
    return await write()
  } catch (cause) {
    const { syscall } = cause as NodeJS.ErrnoException
    throw syscall === undefined ? cause : outputError(path, cause, false)
  }
}

/** Node's own recursive mkdir never returns where the system takes no folders, as below /proc. */
async function makeFolder(path: string): Promise<void> {
  const parent = dirname(path)
  if (await isKind(path, 'folder')) return
  if (parent !== path && !(await isKind(parent, 'folder'))) await makeFolder(parent)
  await mkdir(path)
}

function outputError(path: string, cause: unknown, file: boolean): OutputError {
  const code = (cause as NodeJS.ErrnoException).code ?? String(cause)
  const problem = file
    ? 'this is a file, expected a folder for the results'
    : code === 'ENOSPC'
      ? 'the disk is full'
      : code === 'EROFS' || code === 'EACCES' || code === 'EPERM'
        ? `cannot be written (${code}: read-only or no permission)`
        : `cannot be written (${code})`
  return new OutputError(`${path}: ${problem}. Choose another folder with --out.`, { cause })
}

async function isKind(path: string, kind: 'file' | 'folder'): Promise<boolean> {
  return stat(path).then(
    (entry) => (kind === 'file' ? entry.isFile() : entry.isDirectory()),
    () => false,
  )
}
