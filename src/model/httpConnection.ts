import { KeeplightError } from '../runtime/errors.ts'
import { abortedError, throwIfAborted } from './byteRange.ts'

/** Most bytes that are taken into memory from a server which tells no length. */
export const MAX_WHOLE = 2 ** 30
const MAX_REDIRECTS = 5
/** Waits that a server asks for are cut to this. */
const MAX_WAIT_MS = 10_000
const REDIRECTS = [301, 302, 303, 307, 308]

export interface HttpSourceOptions {
  /**
   * Sent to the address's own origin alone: a token, for instance. Redirects to another origin get
   * none of them. In a page an address that redirects is refused when there are any, as no page can
   * keep the browser from passing them on.
   */
  readonly headers?: Readonly<Record<string, string>>
  /** Default the global one. */
  readonly fetch?: typeof fetch
  /** For opening; each read takes its own. */
  readonly signal?: AbortSignal
  /** Attempts after one that brought nothing. Default 4. */
  readonly retries?: number
  /** Milliseconds before the first of them, doubled for each. Default 250. */
  readonly waitMs?: number
  /** Milliseconds without a byte after which a connection counts as cut. Default 30,000. */
  readonly stallMs?: number
}

/** Something that another attempt may mend. */
class Transient extends Error {
  readonly waitMs: number
  constructor(message: string, waitMs = 0) {
    super(message)
    this.waitMs = waitMs
  }
}

/** Requests to one address: redirects, time limits, attempts, and errors that say what to do. */
export class Connection {
  /** The address without its query, which may hold a signature. */
  readonly name: string
  readonly #url: URL
  readonly #options: HttpSourceOptions

  constructor(address: string | URL, options: HttpSourceOptions) {
    const base = typeof location === 'undefined' ? undefined : location.href
    const url = URL.canParse(String(address), base) ? new URL(address, base) : undefined
    if (!url || !/^https?:$/.test(url.protocol) || url.username || url.password) {
      throw new KeeplightError(
        'input',
        `${url?.protocol ?? 'the address'} can't be read: expected an http or https address without a user name`,
      )
    }
    this.name = url.origin + url.pathname
    if (options.headers && Object.keys(options.headers).length > 0 && !isPrivate(url)) {
      throw this.error('headers would be sent over plain http', 'Give an https address')
    }
    this.#url = url
    this.#options = options
  }

  error(
    problem: string,
    remedy = 'Get the file from another address',
    cause?: unknown,
  ): KeeplightError {
    return new KeeplightError('input', `${this.name}: ${problem}. ${remedy}.`, { cause })
  }

  cut(have: number, size: number): Error {
    return new Transient(`the connection ended after ${have} of ${size} bytes`)
  }

  /** The error of a status that is no success; one that may pass is transient. */
  async refusal(response: Response): Promise<Error> {
    await response.body?.cancel().catch(() => {})
    const { status } = response
    const answered = `the server answered ${status}`
    if (status === 408 || status === 429 || status >= 500) {
      const seconds = Number(response.headers.get('retry-after'))
      return new Transient(answered, Number.isFinite(seconds) ? seconds * 1000 : 0)
    }
    if (status === 401 || status === 403) {
      return this.error(answered, 'Does it need a token, or an account that accepted its terms?')
    }
    if (status === 404 || status === 410)
      return this.error(answered, 'Check the address and the revision')
    if (status === 416)
      return this.error(answered, 'The file is shorter than it was; load it again')
    if (status === 200)
      return this.error(`${answered} where it had answered by ranges`, 'Load it again')
    return this.error(answered)
  }

  /**
   * One request, along redirects.
   *
   * @param attempt is aborted when the answer takes too long
   */
  async request(range: string | undefined, attempt: AbortController): Promise<Response> {
    const send = this.#options.fetch ?? fetch
    let headers: Record<string, string> = { ...this.#options.headers }
    const guarded = Object.keys(headers).length > 0
    let url = this.#url
    for (let hop = 0; hop <= MAX_REDIRECTS; hop++) {
      const response = await this.#timed(attempt, () =>
        send(url, {
          headers: { ...headers, ...(range && { Range: range }), 'Accept-Encoding': 'identity' },
          redirect: guarded ? 'manual' : 'follow',
          signal: attempt.signal,
        }),
      )
      if (response.type === 'opaqueredirect') {
        throw this.error(
          'it redirects, and a page would pass the headers on',
          'Give the address it leads to',
        )
      }
      if (!REDIRECTS.includes(response.status)) {
        const encoding = response.headers.get('content-encoding') ?? 'identity'
        if (response.ok && encoding !== 'identity') {
          throw this.error(`the server compresses it (${encoding}), so bytes have other places`)
        }
        return response
      }
      await response.body?.cancel().catch(() => {})
      const to = response.headers.get('location')
      if (to === null || !URL.canParse(to, url))
        throw this.error(`it redirects to ${to ?? 'nowhere'}`)
      url = new URL(to, url)
      if (!/^https?:$/.test(url.protocol)) throw this.error(`it redirects to ${url.protocol}`)
      if (url.origin !== this.#url.origin) headers = {}
    }
    throw this.error(`it redirects more than ${MAX_REDIRECTS} times`)
  }

  /** The range that a 206 announces: [begin, end) of total. */
  contentRange(response: Response): { begin: number; end: number; total: number } {
    const text = response.headers.get('content-range')
    const found = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(text ?? '')
    const [begin = NaN, last = NaN, total = NaN] = found?.slice(1).map(Number) ?? []
    if (![begin, last, total].every(Number.isSafeInteger) || begin > last || last >= total) {
      throw this.error(
        `it answered 206 with ${text === null ? 'no visible Content-Range' : `Content-Range ${JSON.stringify(text.slice(0, 80))}`}`,
        'From another origin a server must name Content-Range in Access-Control-Expose-Headers; else download the file and give it itself',
      )
    }
    return { begin, end: last + 1, total }
  }

  /** `work` within the time in which a byte must come. */
  async #timed<T>(attempt: AbortController, work: () => Promise<T>): Promise<T> {
    const { stallMs = 30_000 } = this.#options
    const stalled = new Transient(`nothing came for ${stallMs / 1000} s`)
    const timer = setTimeout(() => attempt.abort(stalled), stallMs)
    let stop = (): void => {}
    // A body may outlive the request whose signal would end it.
    const aborted = new Promise<never>((_, reject) => {
      stop = () => reject(attempt.signal.reason as Error)
      attempt.signal.addEventListener('abort', stop, { once: true })
    })
    try {
      return await Promise.race([work(), aborted])
    } finally {
      clearTimeout(timer)
      attempt.signal.removeEventListener('abort', stop)
    }
  }

  /** Bytes as they come. */
  next(
    reader: ReadableStreamDefaultReader<Uint8Array>,
    attempt: AbortController,
  ): Promise<ReadableStreamReadResult<Uint8Array>> {
    return this.#timed(attempt, () => reader.read())
  }

  /**
   * Runs `work` until it succeeds or a last attempt fails.
   *
   * @param progress counts attempts anew whenever it has grown
   */
  async retrying<T>(
    signal: AbortSignal | undefined,
    work: (attempt: AbortController) => Promise<T>,
    progress = (): number => 0,
  ): Promise<T> {
    const { retries = 4, waitMs = 250 } = this.#options
    let failures = 0
    // Progress by single bytes is none.
    for (let all = 0; ; all++) {
      throwIfAborted(signal, this.name)
      const attempt = new AbortController()
      const stop = (): void => attempt.abort(signal?.reason)
      signal?.addEventListener('abort', stop, { once: true })
      const before = progress()
      try {
        return await work(attempt)
      } catch (error) {
        if (signal?.aborted) throw abortedError(this.name, signal)
        if (error instanceof KeeplightError) throw error
        failures = progress() > before ? 1 : failures + 1
        if (failures > retries || all >= 8 * retries) {
          const reason = error instanceof Transient ? error.message : reasonOf(error)
          throw this.error(
            `it can't be read: ${reason}, after ${all + 1} attempts`,
            'Check the address and the network',
            error,
          )
        }
        const asked = error instanceof Transient ? error.waitMs : 0
        await pause(Math.min(MAX_WAIT_MS, Math.max(asked, waitMs * 2 ** (failures - 1))), signal)
      } finally {
        signal?.removeEventListener('abort', stop)
      }
    }
  }
}

/** Whether headers may go there: encrypted, or to this machine. */
const isPrivate = ({ protocol, hostname }: URL): boolean =>
  protocol === 'https:' || ['localhost', '127.0.0.1', '[::1]'].includes(hostname)

/** Node hides the reason of a failed fetch in the cause. */
function reasonOf(error: unknown): string {
  const { message, cause } = error as { message?: string; cause?: { message?: string } }
  return [message, cause?.message].filter(Boolean).join(': ') || String(error)
}

function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, ms)
    signal?.addEventListener('abort', done, { once: true })
  })
}

/** The length that a 200 announces. */
export function contentLength(response: Response): number | undefined {
  const text = response.headers.get('content-length')
  return text !== null && /^\d{1,15}$/.test(text) ? Number(text) : undefined
}

/** The chunks of a body; ending the iteration ends the download. */
export async function* bodyOf(
  connection: Connection,
  response: Response,
  attempt: AbortController,
): AsyncGenerator<Uint8Array, void, undefined> {
  const reader = response.body?.getReader()
  if (!reader) return
  let ended = false
  try {
    for (;;) {
      const { done, value } = await connection.next(reader, attempt)
      if (done) {
        ended = true
        return
      }
      if (value.length > 0) yield value
    }
  } finally {
    if (!ended) await reader.cancel().catch(() => {})
  }
}
