import { type FileHandle, open, realpath, stat } from 'node:fs/promises'
import { KeeplightError } from '../runtime/errors.ts'

const chunkBytes = 1024 * 1024

/** A file that a collection was made of, as it was then. */
export interface DiskFile {
  /** Absolute, symbolic links resolved. */
  readonly path: string
  readonly size: number
  readonly mtimeMs: number
}

/** @throws KeeplightError `input` when it is no file that can be read */
export async function diskFile(path: string): Promise<DiskFile> {
  const entry = await stat(path).catch((cause: unknown) => {
    throw readError(path, cause)
  })
  if (!entry.isFile()) throw new KeeplightError('input', `${path}: expected a file.`)
  return { path: await realpath(path), size: entry.size, mtimeMs: entry.mtimeMs }
}

/**
 * Opens a file that must be as it was.
 *
 * @throws KeeplightError `input` when it can't be opened, or its size or time differ
 */
export async function openUnchanged(file: DiskFile): Promise<FileHandle> {
  const handle = await open(file.path).catch((cause: unknown) => {
    throw readError(file.path, cause)
  })
  const { size, mtimeMs } = await handle.stat()
  if (size === file.size && mtimeMs === file.mtimeMs) return handle
  await handle.close()
  throw changed(file.path)
}

/** The error for a file that is not what it was when its images were listed. */
export function changed(path: string): KeeplightError {
  return new KeeplightError(
    'input',
    `${path}: was changed while it was in use; it must stay as it is. Run again.`,
  )
}

/** The bytes [begin, end) of a file in parts of their own. */
export async function* readRange(
  handle: FileHandle,
  path: string,
  begin: number,
  end: number,
  signal?: AbortSignal,
): AsyncGenerator<Buffer<ArrayBuffer>> {
  for (let at = begin; at < end;) {
    if (signal?.aborted) throw new KeeplightError('aborted', 'reading was stopped')
    const buffer = Buffer.allocUnsafeSlow(Math.min(chunkBytes, end - at))
    const { bytesRead } = await handle
      .read(buffer, 0, buffer.length, at)
      .catch((cause: unknown) => {
        throw readError(path, cause)
      })
    if (bytesRead === 0) throw changed(path)
    at += bytesRead
    yield buffer.subarray(0, bytesRead)
  }
}

/** Why a path can't be read, in plain words. */
export function readError(path: string, cause: unknown): KeeplightError {
  if (cause instanceof KeeplightError) return cause
  const code = (cause as NodeJS.ErrnoException).code
  const [problem, remedy] =
    code === 'ENOENT'
      ? ['no such file or folder', 'Check the spelling and the current directory.']
      : code === 'EACCES' || code === 'EPERM'
        ? ['no permission to read it', 'Change its permissions or choose another.']
        : [`cannot be read (${code ?? String(cause)})`, 'Choose another.']
  return new KeeplightError('input', `${path}: ${problem}. ${remedy}`, { cause })
}
