import { KeeplightError } from '../runtime/errors.ts'
import { allocate, checkRange, throwIfAborted, type ByteSource } from './byteRange.ts'
import { bodyOf, type Connection } from './httpConnection.ts'

/**
 * A file from a server that ignores Range: one body, read forwards, of which only the ranges asked for
 * are kept. A range that lies behind begins the download again.
 */
export class ForwardSource implements ByteSource {
  readonly name: string
  readonly size: number
  readonly #connection: Connection
  #chunks: AsyncGenerator<Uint8Array> | undefined
  #attempt: AbortController | undefined
  /** What is left of the chunk that was read last, and where it begins. */
  #rest: Uint8Array = new Uint8Array(0)
  #position = 0
  #turn: Promise<unknown> = Promise.resolve()
  #first: Response | undefined

  /** @param response the answer to a request for the whole file */
  constructor(connection: Connection, size: number, response: Response) {
    this.#connection = connection
    this.name = connection.name
    this.size = size
    this.#first = response
  }

  read(begin: number, end: number, signal?: AbortSignal): Promise<Uint8Array<ArrayBuffer>> {
    const result = this.#turn.then(() => this.#read(begin, end, signal))
    this.#turn = result.catch(() => {})
    return result
  }

  async #read(
    begin: number,
    end: number,
    signal: AbortSignal | undefined,
  ): Promise<Uint8Array<ArrayBuffer>> {
    throwIfAborted(signal, this.name)
    checkRange(this.name, this.size, begin, end)
    const bytes = allocate(this.name, end - begin)
    let have = 0
    let furthest = 0
    const connection = this.#connection
    await connection.retrying(
      signal,
      async (attempt) => {
        const stop = (): void => this.#attempt?.abort()
        attempt.signal.addEventListener('abort', stop, { once: true })
        try {
          // After a cut the body starts again at 0, and what came of the range before comes again.
          if (!this.#chunks || begin + have < this.#position) await this.#open(attempt)
          while (have < bytes.length) {
            if (this.#rest.length === 0) await this.#next()
            const from = begin + have
            const skip = Math.min(from - this.#position, this.#rest.length)
            const take = this.#rest.subarray(skip, skip + bytes.length - have)
            bytes.set(take, have)
            have += take.length
            this.#position += skip + take.length
            this.#rest = this.#rest.subarray(skip + take.length)
            furthest = Math.max(furthest, this.#position)
          }
        } catch (error) {
          await this.close()
          throw error
        } finally {
          attempt.signal.removeEventListener('abort', stop)
        }
      },
      () => furthest,
    )
    return bytes
  }

  async #open(attempt: AbortController): Promise<void> {
    let response = this.#first
    this.#first = undefined
    // The body lives longer than the read that opens it.
    const own = new AbortController()
    if (!response) {
      await this.close()
      response = await this.#connection.request(undefined, attempt)
      if (response.status !== 200) throw await this.#connection.refusal(response)
    }
    this.#attempt = own
    this.#chunks = bodyOf(this.#connection, response, own)
    this.#rest = new Uint8Array(0)
    this.#position = 0
  }

  async #next(): Promise<void> {
    const next = await this.#chunks!.next()
    if (next.done) throw this.#connection.cut(this.#position, this.size)
    this.#rest = next.value
    if (this.#position + this.#rest.length > this.size) {
      throw new KeeplightError(
        'input',
        `${this.name}: the server sent more than the ${this.size} bytes it announced; get the file from another address`,
      )
    }
  }

  async close(): Promise<void> {
    const chunks = this.#chunks
    this.#chunks = undefined
    this.#attempt?.abort()
    this.#attempt = undefined
    await chunks?.return(undefined).catch(() => {})
    await this.#first?.body?.cancel().catch(() => {})
    this.#first = undefined
  }
}
