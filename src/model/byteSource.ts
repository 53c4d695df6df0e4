import { KeeplightError } from '../runtime/errors.ts'
import { checkRange, sha256Hex, throwIfAborted, type ByteSource } from './byteRange.ts'

export type { ByteSource } from './byteRange.ts'
export { httpSource, type HttpSourceOptions } from './httpSource.ts'

/** Bytes in memory, which must not change while they are read. */
export function bufferSource(name: string, bytes: Uint8Array | ArrayBuffer): ByteSource {
  const all = bytes instanceof Uint8Array ? bytes : new Uint8Array(bytes)
  return {
    name,
    size: all.length,
    read: async (begin, end, signal) => {
      throwIfAborted(signal, name)
      checkRange(name, all.length, begin, end)
      return all.slice(begin, end) as Uint8Array<ArrayBuffer>
    },
    sha256: () => sha256Hex(all as Uint8Array<ArrayBuffer>),
  }
}

/**
 * A Blob or File, read where it lies: a file that a visitor chose is never whole in memory.
 *
 * @param name what errors call it; default the file's name
 */
export function blobSource(
  blob: Blob,
  name = blob instanceof File ? blob.name : 'blob',
): ByteSource {
  return {
    name,
    size: blob.size,
    durable: true,
    read: async (begin, end, signal) => {
      throwIfAborted(signal, name)
      checkRange(name, blob.size, begin, end)
      const buffer = await blob
        .slice(begin, end)
        .arrayBuffer()
        .catch((cause: unknown) => {
          throw new KeeplightError(
            'input',
            `${name}: its bytes can't be read; was the file moved or changed? Choose it again`,
            { cause },
          )
        })
      throwIfAborted(signal, name)
      return new Uint8Array(buffer)
    },
  }
}
