import { createHash } from 'node:crypto'
import { open, type FileHandle } from 'node:fs/promises'
import { KeeplightError } from '../runtime/errors.ts'
import { allocate, checkRange, throwIfAborted, type ByteSource } from './byteRange.ts'

/** Bytes of one call to the system, which takes less than 2 GiB. */
const STEP = 1 << 30
/** Bytes that are hashed at a time. */
const HASH_STEP = 1 << 22

/**
 * A file of this machine, of any size, read at positions. Nothing of it is kept in memory.
 *
 * @throws KeeplightError `input` when there is no such file or it can't be read
 */
export async function fileSource(path: string | URL): Promise<ByteSource> {
  const source = new FileSource(String(path), path)
  await source.open()
  return source
}

class FileSource implements ByteSource {
  readonly name: string
  readonly lanes = 2
  readonly durable = true
  readonly #path: string | URL
  #size = 0
  #modified: number | undefined
  #file: Promise<FileHandle> | undefined

  constructor(name: string, path: string | URL) {
    this.name = name
    this.#path = path
  }

  get size(): number {
    return this.#size
  }

  open(): Promise<FileHandle> {
    this.#file ??= this.#open().catch((error: unknown) => {
      this.#file = undefined
      throw error
    })
    return this.#file
  }

  async #open(): Promise<FileHandle> {
    const file = await open(this.#path, 'r').catch((cause: NodeJS.ErrnoException) => {
      const reason = cause.code === 'ENOENT' ? 'there is no such file' : cause.message
      throw this.#error(`${reason}; give the path of a file that can be read`, cause)
    })
    try {
      const about = await file.stat()
      if (!about.isFile()) throw this.#error('it is no file; give the path of a file')
      const again = this.#modified !== undefined
      if (again && (about.size !== this.#size || about.mtimeMs !== this.#modified)) {
        throw this.#error('it was changed since it was first read; load it again')
      }
      this.#size = about.size
      this.#modified = about.mtimeMs
      return file
    } catch (error) {
      await file.close()
      throw error
    }
  }

  async read(begin: number, end: number, signal?: AbortSignal): Promise<Uint8Array<ArrayBuffer>> {
    throwIfAborted(signal, this.name)
    checkRange(this.name, this.#size, begin, end)
    const bytes = allocate(this.name, end - begin)
    await this.#fill(bytes, begin, signal)
    return bytes
  }

  async #fill(bytes: Uint8Array, begin: number, signal: AbortSignal | undefined): Promise<void> {
    const file = await this.open()
    for (let have = 0; have < bytes.length;) {
      throwIfAborted(signal, this.name)
      const { bytesRead } = await file
        .read(bytes, have, Math.min(STEP, bytes.length - have), begin + have)
        .catch((cause: Error) => {
          throw this.#error(`it can't be read: ${cause.message}; is the disk sound?`, cause)
        })
      if (bytesRead === 0) {
        throw this.#error(
          `it ends at byte ${begin + have}, it had ${this.#size}; was it cut while it was read? Load it again`,
        )
      }
      have += bytesRead
    }
  }

  async sha256(signal?: AbortSignal): Promise<string> {
    const hash = createHash('sha256')
    const step = new Uint8Array(Math.min(HASH_STEP, this.#size))
    for (let begin = 0; begin < this.#size; begin += step.length) {
      const part = step.subarray(0, Math.min(step.length, this.#size - begin))
      await this.#fill(part, begin, signal)
      hash.update(part)
    }
    return hash.digest('hex')
  }

  async close(): Promise<void> {
    const file = this.#file
    this.#file = undefined
    await (await file)?.close()
  }

  #error(problem: string, cause?: unknown): KeeplightError {
    return new KeeplightError('input', `${this.name}: ${problem}`, { cause })
  }
}
