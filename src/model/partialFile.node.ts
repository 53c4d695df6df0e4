import { createHash, type Hash } from 'node:crypto'
import { constants } from 'node:fs'
import { open, type FileHandle } from 'node:fs/promises'
import { aborted } from './hubRequest.node.ts'

/** A file that grows, and the hash of what is in it. */
export class PartialFile {
  length = 0
  #hash: Hash = createHash('sha256')

  private constructor(private readonly handle: FileHandle) {}

  /** Opens what is there, unless it is longer than `size`. */
  static async open(path: string, size: number, signal?: AbortSignal): Promise<PartialFile> {
    const part = new PartialFile(await open(path, constants.O_RDWR | constants.O_CREAT))
    try {
      const { size: length } = await part.handle.stat()
      if (length > size) await part.restart()
      else {
        const buffer = Buffer.allocUnsafe(1 << 20)
        while (part.length < length) {
          if (signal?.aborted) throw aborted()
          const { bytesRead } = await part.handle.read(buffer, 0, buffer.length, part.length)
          if (bytesRead === 0) break
          part.#hash.update(buffer.subarray(0, bytesRead))
          part.length += bytesRead
        }
      }
      return part
    } catch (error) {
      await part.close()
      throw error
    }
  }

  async append(chunk: Uint8Array): Promise<void> {
    const write = this.#write(chunk)
    this.#hash.update(chunk) // while the system writes
    await write
    this.length += chunk.length
  }

  async #write(chunk: Uint8Array): Promise<void> {
    for (let done = 0; done < chunk.length;) {
      const rest = chunk.length - done
      done += (await this.handle.write(chunk, done, rest, this.length + done)).bytesWritten
    }
  }

  async restart(): Promise<void> {
    await this.handle.truncate(0)
    this.length = 0
    this.#hash = createHash('sha256')
  }

  digest(): string {
    return this.#hash.copy().digest('hex')
  }

  /** After this a power cut leaves no hole in what is about to get its name. */
  async flush(): Promise<void> {
    await this.handle.sync()
  }

  async close(): Promise<void> {
    await this.handle.close()
  }
}
