import { KeeplightError } from '../runtime/errors.ts'
import { hubToken, type HubEnvironment } from './hubEnvironment.node.ts'

/** What a request needs to know besides its address. */
export interface HubClient {
  readonly hub: HubEnvironment
  readonly fetch: typeof fetch
  readonly signal: AbortSignal | undefined
  /** Milliseconds before the first repetition of a request that failed; doubles from then on. */
  readonly retryDelay: number
}

/** A request that may succeed when it is repeated: no connection, a cut or silent one, a busy server. */
export class TransientError extends Error {
  override readonly name = 'TransientError'
}

/** The hub has no such repository, revision or file, or shows it to nobody without the right token. */
export class AbsentError extends Error {
  override readonly name = 'AbsentError'
}

/** What the hub says of a file before it sends its bytes. */
export interface HubFacts {
  /** Hash of the commit that the revision names. */
  readonly commit: string | undefined
  /** Name of the content: its SHA-256 for large files, git's SHA-1 of it for others. */
  readonly etag: string | undefined
  readonly size: number | undefined
}

const MAX_REDIRECTS = 10

/** An address for messages: without its query, which on a content server is a signature. */
const shown = ({ origin, pathname }: URL): string => origin + pathname

/** Asks the hub for commit, hash and size of a file. */
export async function requestFacts(url: URL, client: HubClient): Promise<HubFacts> {
  const facts: { -readonly [name in keyof HubFacts]: HubFacts[name] } = {
    ...{ commit: undefined, etag: undefined, size: undefined },
  }
  const watch = new Watch(client)
  try {
    // The hub states them with its redirect; the content server behind it knows nothing of them.
    const response = await follow(url, { method: 'HEAD' }, client, watch, ({ status, headers }) => {
      if (status >= 400) return false
      const commit = headers.get('x-repo-commit') ?? ''
      if (/^[0-9a-f]{40}$/.test(commit)) facts.commit ??= commit
      facts.etag ??= plainEtag(headers.get('x-linked-etag'))
      facts.size ??= count(headers.get('x-linked-size'))
      return facts.commit !== undefined && facts.etag !== undefined
    })
    if (response.ok) {
      facts.etag ??= plainEtag(response.headers.get('etag'))
      facts.size ??= count(response.headers.get('content-length'))
    }
    return facts
  } finally {
    watch.end()
  }
}

/** The bytes that a server sends, and where in the file they begin. */
export interface HubBytes {
  readonly begin: number
  readonly chunks: AsyncIterable<Uint8Array>
}

/**
 * Asks for a file from byte `offset` on.
 *
 * @param size of the whole file
 * @returns bytes from `offset`, or from 0 where the server ignores ranges or has another size in mind
 */
export async function requestBytes(
  url: URL,
  offset: number,
  size: number,
  client: HubClient,
): Promise<HubBytes> {
  const watch = new Watch(client)
  try {
    const range: Record<string, string> = offset > 0 ? { Range: `bytes=${offset}-` } : {}
    const response = await follow(url, { headers: range }, client, watch)
    const isPart = response.status === 206
    if (isPart && response.headers.get('content-range') !== `bytes ${offset}-${size - 1}/${size}`) {
      await response.body?.cancel()
      throw new TransientError(`${shown(url)}: the server sent another range than was asked for`)
    }
    return { begin: isPart ? offset : 0, chunks: chunksOf(response, url, watch) }
  } catch (error) {
    watch.end()
    throw error
  }
}

async function* chunksOf(response: Response, url: URL, watch: Watch): AsyncIterable<Uint8Array> {
  try {
    const reader = response.body?.getReader()
    for (;;) {
      const part = await reader?.read().catch((cause: unknown) => {
        throw watch.explain(url, cause)
      })
      if (!part || part.done) return
      watch.rest() // the time that writing takes is not the server's
      yield part.value
      watch.beat()
    }
  } finally {
    watch.end()
  }
}

/**
 * Follows redirects by hand, so that the token goes to the endpoint's own host and no further.
 *
 * @param enough ends the walk at a redirect whose headers already say what is wanted
 */
async function follow(
  start: URL,
  init: RequestInit,
  { hub, fetch, signal }: HubClient,
  watch: Watch,
  enough: (response: Response) => boolean = () => false,
): Promise<Response> {
  const home = new URL(hub.endpoint).origin
  let token = await hubToken(hub)
  let url = start
  for (let hop = 0; hop <= MAX_REDIRECTS; hop++) {
    if (url.origin !== home) token = undefined
    const headers = {
      ...(init.headers as Record<string, string> | undefined),
      // Sizes, ranges and hashes are of the file, not of a compressed copy.
      'Accept-Encoding': 'identity',
      'User-Agent': 'keeplight',
      ...(token && { Authorization: `Bearer ${token}` }),
    }
    const options = { ...init, headers, redirect: 'manual', signal: watch.signal } as const
    const response = await fetch(url, options).catch((cause: unknown) => {
      throw watch.explain(url, cause)
    })
    watch.beat()
    if (enough(response)) {
      await response.body?.cancel()
      return response
    }
    const location = response.headers.get('location')
    if (response.status < 300 || response.status >= 400 || !location) {
      if (response.ok) return response
      await response.body?.cancel()
      throw refusal(response, url, token !== undefined)
    }
    await response.body?.cancel()
    const next = URL.canParse(location, url) ? new URL(location, url) : undefined
    const safe =
      next?.protocol === 'https:' || (next?.protocol === 'http:' && url.protocol === 'http:')
    if (!next || !safe) {
      throw new KeeplightError('input', `${shown(url)} redirects to where nothing is fetched from`)
    }
    url = next
  }
  if (signal?.aborted) throw aborted()
  throw new KeeplightError('input', `${shown(start)}: more than ${MAX_REDIRECTS} redirects`)
}

/** The error of an answer that is no file. */
function refusal({ status, headers }: Response, url: URL, hadToken: boolean): Error {
  const code = (headers.get('x-error-code') ?? '').replace(/[^\w-]/g, '').slice(0, 40)
  const reason = code ? `${status}, ${code}` : String(status)
  if (status === 416) return new RangeRefused(`${shown(url)}: ${reason}`)
  if (status === 408 || status === 429 || status >= 500) {
    return new TransientError(`${shown(url)}: the server answered ${reason}`)
  }
  if (status === 401 || status === 403) {
    const remedy =
      code === 'GatedRepo'
        ? 'accept its terms on the hub and give a token of that account in HF_TOKEN'
        : hadToken
          ? 'the token of HF_TOKEN does not open it'
          : 'if it is private, give a token in HF_TOKEN'
    return new AbsentError(`${shown(url)} is refused (${reason}): ${remedy}`)
  }
  return new AbsentError(`${shown(url)} is not there (${reason})`)
}

/** The server has no bytes from that offset on. */
export class RangeRefused extends Error {
  override readonly name = 'RangeRefused'
}

/** Gives up a connection that is silent for too long, or when the caller stops the work. */
class Watch {
  readonly #controller = new AbortController()
  readonly #caller: AbortSignal | undefined
  readonly #timeout: number
  readonly #stop = (): void => this.#controller.abort()
  #timer: NodeJS.Timeout | undefined
  #silent = false

  constructor({ hub, signal }: HubClient) {
    if (signal?.aborted) throw aborted()
    this.#caller = signal
    this.#timeout = hub.timeout
    signal?.addEventListener('abort', this.#stop)
    this.beat()
  }

  get signal(): AbortSignal {
    return this.#controller.signal
  }

  /** Something came: the clock starts anew. */
  beat(): void {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => {
      this.#silent = true
      this.#controller.abort()
    }, this.#timeout)
  }

  rest(): void {
    clearTimeout(this.#timer)
  }

  /** Lets go of the connection, if there still is one. */
  end(): void {
    this.rest()
    this.#controller.abort()
    this.#caller?.removeEventListener('abort', this.#stop)
  }

  /** What a failed fetch or read was about. */
  explain(url: URL, cause: unknown): Error {
    if (this.#caller?.aborted) return aborted()
    if (this.#silent) {
      const seconds = this.#timeout / 1000
      return new TransientError(`${shown(url)}: the server was silent for ${seconds} s`)
    }
    const { code, message } = ((cause as Error)?.cause ?? cause) as NodeJS.ErrnoException
    return new TransientError(
      `${url.origin} can't be reached, or cut the connection (${code ?? message})`,
    )
  }
}

/** The error of work that the caller stopped. */
export function aborted(): KeeplightError {
  return new KeeplightError('aborted', 'the download was stopped; what has come is kept')
}

/** Repeats what failed for a passing reason: `attempts` times in a row at most. */
export async function withRetries<T>(
  { retryDelay, signal }: HubClient,
  attempts: number,
  /** `passed` says that something was gained, so that the count begins anew. */
  run: (passed: () => void) => Promise<T>,
): Promise<T> {
  let failures = 0
  for (;;) {
    try {
      return await run(() => (failures = 0))
    } catch (error) {
      if (!(error instanceof TransientError)) throw error
      if (++failures >= attempts) {
        throw new KeeplightError('input', `${error.message}; tried ${failures} times`, {
          cause: error,
        })
      }
      await pause(Math.min(retryDelay * 2 ** (failures - 1), 8_000), signal)
    }
  }
}

/** @throws KeeplightError `aborted` as soon as the caller stops the work */
export function pause(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(aborted())
    const stop = (): void => {
      clearTimeout(timer)
      reject(aborted())
    }
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', stop)
      resolve()
    }, milliseconds)
    signal?.addEventListener('abort', stop, { once: true })
  })
}

function plainEtag(header: string | null): string | undefined {
  const tag = header?.replace(/^W\//, '').replaceAll('"', '')
  return tag && /^([0-9a-f]{40}|[0-9a-f]{64})$/.test(tag) ? tag : undefined
}

function count(header: string | null): number | undefined {
  return header && /^\d{1,15}$/.test(header) ? Number(header) : undefined
}
