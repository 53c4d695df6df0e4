import { allocate, checkRange, throwIfAborted, type ByteSource } from './byteRange.ts'
import { ForwardSource } from './forwardSource.ts'
import {
  Connection,
  MAX_WHOLE,
  bodyOf,
  contentLength,
  type HttpSourceOptions,
} from './httpConnection.ts'

export type { HttpSourceOptions } from './httpConnection.ts'

/** Bytes of the first request, which tells the size and mostly holds a weight file's whole header. */
const HEAD = 1 << 16
/** Requests that run at the same time. */
const LANES = 3

/**
 * A file behind an http address, read by Range requests in a page and in Node.
 *
 * A server that ignores Range is read once from the beginning, and what was not asked for is dropped
 * on the way. A connection that is cut goes on where it stopped, after a short wait. Headers, a
 * token among them, go to the address's own origin alone and never along with a redirect.
 *
 * @throws KeeplightError `input` naming address, status and remedy; `aborted`
 */
export async function httpSource(
  address: string | URL,
  options: HttpSourceOptions = {},
): Promise<ByteSource> {
  const connection = new Connection(address, options)
  const { signal } = options
  return connection.retrying(signal, async (attempt) => {
    const response = await connection.request(`bytes=0-${HEAD - 1}`, attempt)
    if (response.status === 206) {
      const { begin, total } = connection.contentRange(response)
      if (begin !== 0) throw connection.error(`it answered with bytes from ${begin}, not from 0`)
      const head = await readAll(connection, response, Math.min(HEAD, total), attempt)
      return new RangeSource(connection, total, head, response.headers.get('etag'))
    }
    if (
      response.status === 416 &&
      /^bytes \*\/0$/.test(response.headers.get('content-range') ?? '')
    ) {
      await response.body?.cancel()
      return new RangeSource(connection, 0, new Uint8Array(0), null)
    }
    if (response.status !== 200) throw await connection.refusal(response)
    const size = contentLength(response)
    if (size !== undefined) return new ForwardSource(connection, size, response)
    return wholeSource(connection, response, attempt)
  })
}

async function readAll(
  connection: Connection,
  response: Response,
  size: number,
  attempt: AbortController,
): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(size)
  let have = 0
  for await (const chunk of bodyOf(connection, response, attempt)) {
    if (have + chunk.length > size)
      throw connection.error(`it sent more than the ${size} bytes it announced`)
    bytes.set(chunk, have)
    have += chunk.length
  }
  if (have < size) throw connection.cut(have, size)
  return bytes
}

/** A body of unknown length, from a server without Range: into memory, up to a bound. */
async function wholeSource(
  connection: Connection,
  response: Response,
  attempt: AbortController,
): Promise<ByteSource> {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of bodyOf(connection, response, attempt)) {
    size += chunk.length
    if (size > MAX_WHOLE) {
      throw connection.error(
        `it neither takes Range nor tells the length, and sent over ${MAX_WHOLE} bytes`,
        'Download the file and give its path',
      )
    }
    chunks.push(chunk)
  }
  const all = new Uint8Array(size)
  let offset = 0
  for (const chunk of chunks) {
    all.set(chunk, offset)
    offset += chunk.length
  }
  const { name } = connection
  return {
    name,
    size,
    read: async (begin, end, signal) => {
      throwIfAborted(signal, name)
      checkRange(name, size, begin, end)
      return all.slice(begin, end)
    },
  }
}

class RangeSource implements ByteSource {
  readonly name: string
  readonly size: number
  readonly lanes = LANES
  readonly #connection: Connection
  readonly #head: Uint8Array<ArrayBuffer>
  readonly #etag: string | null

  constructor(
    connection: Connection,
    size: number,
    head: Uint8Array<ArrayBuffer>,
    etag: string | null,
  ) {
    this.#connection = connection
    this.name = connection.name
    this.size = size
    this.#head = head
    this.#etag = etag?.startsWith('W/') ? null : etag
  }

  async read(begin: number, end: number, signal?: AbortSignal): Promise<Uint8Array<ArrayBuffer>> {
    throwIfAborted(signal, this.name)
    checkRange(this.name, this.size, begin, end)
    const bytes = allocate(this.name, end - begin)
    bytes.set(this.#head.subarray(begin, end))
    let have = Math.max(0, Math.min(end, this.#head.length) - begin)
    if (have >= bytes.length) return bytes
    const connection = this.#connection
    await connection.retrying(
      signal,
      async (attempt) => {
        const from = begin + have
        const response = await connection.request(`bytes=${from}-${end - 1}`, attempt)
        if (response.status !== 206) throw await connection.refusal(response)
        const range = connection.contentRange(response)
        const etag = response.headers.get('etag')
        const changed = this.#etag !== null && etag !== null && etag !== this.#etag
        if (changed || range.total !== this.size) {
          throw connection.error('the file was changed while it was read', 'Load it again')
        }
        if (range.begin !== from || range.end > end) {
          throw connection.error(
            `it answered with bytes ${range.begin} to ${range.end}, not ${from} to ${end}`,
          )
        }
        for await (const chunk of bodyOf(connection, response, attempt)) {
          if (have + chunk.length > bytes.length) {
            throw connection.error(`it sent more than the bytes ${from} to ${end}`)
          }
          bytes.set(chunk, have)
          have += chunk.length
        }
        if (have < bytes.length) throw connection.cut(have, bytes.length)
      },
      () => have,
    )
    return bytes
  }
}
