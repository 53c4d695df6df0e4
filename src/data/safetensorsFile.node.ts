import { type FileHandle, open, rename, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { MAX_HEADER_BYTES, parseHeader, show } from '../model/safetensorsHeader.ts'
import type { Header, TensorInfo } from '../model/safetensorsHeader.ts'
import { layoutSafetensors } from '../model/safetensorsLayout.ts'
import type { SafetensorsLayout, TensorSpec } from '../model/safetensorsLayout.ts'
import { KeeplightError } from '../runtime/errors.ts'

/** Safetensors files on disk that need not fit into memory: written piece by piece, read by rows. */

/** A file under a temporary name, which has its own name only when it is complete and on disk. */
export class PendingFile {
  readonly handle: FileHandle
  readonly #path: string
  readonly #temporary: string

  private constructor(path: string, temporary: string, handle: FileHandle) {
    this.#path = path
    this.#temporary = temporary
    this.handle = handle
  }

  static async create(path: string): Promise<PendingFile> {
    const temporary = temporaryName(path)
    return new PendingFile(path, temporary, await open(temporary, 'w'))
  }

  /** Gives the file its name, once every byte is on disk. */
  async finish(): Promise<void> {
    await this.handle.sync()
    await this.handle.close()
    await rename(this.#temporary, this.#path)
  }

  /** Removes what was written. */
  async abandon(): Promise<void> {
    await this.handle.close().catch(() => undefined)
    await rm(this.#temporary, { force: true })
  }
}

/** A name beside `path` that no other process uses. */
export function temporaryName(path: string): string {
  return join(dirname(path), `.${basename(path)}.${process.pid}.tmp`)
}

/** A file that is written piece by piece: its tensors side by side, each from its first byte to its last. */
export class SafetensorsWriter {
  readonly #file: PendingFile
  readonly #layout: SafetensorsLayout
  readonly #next: Map<string, number>

  private constructor(file: PendingFile, layout: SafetensorsLayout) {
    this.#file = file
    this.#layout = layout
    this.#next = new Map([...layout.places].map(([name, { begin }]) => [name, begin]))
  }

  static async create(
    path: string,
    tensors: Readonly<Record<string, TensorSpec>>,
    metadata?: Readonly<Record<string, string>>,
  ): Promise<SafetensorsWriter> {
    const layout = layoutSafetensors(tensors, metadata)
    const writer = new SafetensorsWriter(await PendingFile.create(path), layout)
    await writer.#write(layout.header, 0)
    return writer
  }

  /** Writes the next bytes of a tensor. */
  async append(name: string, data: ArrayBufferView): Promise<void> {
    const begin = this.#next.get(name)
    const end = this.#layout.places.get(name)?.end
    if (begin === undefined || end === undefined || begin + data.byteLength > end) {
      throw new RangeError(`SafetensorsWriter: tensor ${show(name)} has no place for more bytes`)
    }
    this.#next.set(name, begin + data.byteLength)
    await this.#write(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), begin)
  }

  /** Gives the file its name, once every byte of every tensor is on disk. */
  async finish(): Promise<void> {
    for (const [name, { end }] of this.#layout.places) {
      if (this.#next.get(name) !== end) {
        throw new RangeError(`SafetensorsWriter: tensor ${show(name)} is not complete`)
      }
    }
    await this.#file.finish()
  }

  /** Removes what was written. */
  abandon(): Promise<void> {
    return this.#file.abandon()
  }

  async #write(bytes: Uint8Array, position: number): Promise<void> {
    for (let done = 0; done < bytes.length;) {
      const rest = bytes.length - done
      done += (await this.#file.handle.write(bytes, done, rest, position + done)).bytesWritten
    }
  }
}

/** A safetensors file on disk of which ranges of rows are read. */
export class SafetensorsRows {
  readonly path: string
  readonly tensors: ReadonlyMap<string, TensorInfo>
  readonly metadata: ReadonlyMap<string, string>
  readonly #file: FileHandle
  readonly #dataStart: number

  private constructor(path: string, file: FileHandle, header: Header) {
    this.path = path
    this.#file = file
    this.tensors = header.tensors
    this.metadata = header.metadata
    this.#dataStart = header.dataStart
  }

  /** @throws KeeplightError `input` when it can't be opened, `format` when it is damaged */
  static async open(path: string): Promise<SafetensorsRows> {
    const file = await open(path).catch((cause: NodeJS.ErrnoException) => {
      const reason = cause.code === 'ENOENT' ? 'there is no such file' : cause.message
      throw new KeeplightError('input', `${path}: ${reason}`, { cause })
    })
    try {
      const { size } = await file.stat()
      const head = await readExactly(file, 0, Math.min(8, size))
      const announced = head.length < 8 ? 0 : Number(head.readBigUInt64LE())
      const length = Math.min(8 + Math.min(announced, MAX_HEADER_BYTES), size)
      return new SafetensorsRows(path, file, parseHeader(await readExactly(file, 0, length), size))
    } catch (error) {
      await file.close()
      throw error instanceof KeeplightError
        ? new KeeplightError(error.code, `${path}: ${error.message}`, { cause: error })
        : error
    }
  }

  /** Rows of a tensor, the first axis counting: none for a tensor that isn't there. */
  rows(name: string): number {
    return this.tensors.get(name)?.shape[0] ?? 0
  }

  /** The bytes of rows [first, last) of a tensor. */
  read(name: string, first = 0, last = this.rows(name)): Promise<Buffer> {
    const info = this.tensors.get(name)
    if (!info || first < 0 || last < first || last > this.rows(name)) {
      throw new RangeError(`${this.path}: no rows ${first} to ${last} of a tensor ${show(name)}`)
    }
    const bytes = last === first ? 0 : (info.end - info.begin) / this.rows(name)
    return readExactly(
      this.#file,
      this.#dataStart + info.begin + first * bytes,
      (last - first) * bytes,
    )
  }

  async close(): Promise<void> {
    await this.#file.close()
  }
}

async function readExactly(file: FileHandle, position: number, length: number): Promise<Buffer> {
  const bytes = Buffer.alloc(length)
  for (let done = 0; done < length;) {
    const { bytesRead } = await file.read(bytes, done, length - done, position + done)
    if (bytesRead === 0)
      throw new KeeplightError('input', 'the file became shorter while it was read')
    done += bytesRead
  }
  return bytes
}
