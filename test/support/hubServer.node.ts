import { createHash } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

/** A file that the hub has. */
export interface HostedFile {
  readonly repository: string
  readonly revision: string
  readonly commit: string
  readonly file: string
  readonly bytes: Uint8Array
  /** What the hub states instead of the truth. */
  readonly stated?: { etag?: string; size?: number; commit?: string }
  /** Only who gives this token is answered. */
  readonly token?: string
  /** Sent by the hub itself, without a content server. */
  readonly direct?: boolean
}

/** What goes wrong with the next answer of the content server. */
export interface Fault {
  /** The connection is cut after so many bytes of the answer. */
  readonly cutAfter?: number
  /** Nothing more comes after so many bytes. */
  readonly silentAfter?: number
  readonly status?: number
  /** The whole file, whatever range was asked for. */
  readonly ignoreRange?: boolean
  readonly bytes?: Uint8Array
}

export interface Asked {
  readonly host: 'hub' | 'content'
  readonly method: string
  readonly url: string
  readonly authorization: string | undefined
  /** First byte that was asked for. */
  readonly begin: number
}

/** A hub on one port and its content server on another, which is another host to a client. */
export class HubServer {
  readonly asked: Asked[] = []
  /** Faults of the next answers with content, in turn; then all goes well. */
  readonly faults: Fault[] = []
  files: HostedFile[] = []
  /** Statuses of the next answers of the hub itself, in turn. */
  readonly refusals: number[] = []
  readonly #hub: Server
  readonly #content: Server
  #onSilent: (() => void) | undefined

  private constructor() {
    this.#hub = createServer((request, response) => this.#answerHub(request, response))
    this.#content = createServer((request, response) => this.#answerContent(request, response))
  }

  static async start(): Promise<HubServer> {
    const server = new HubServer()
    for (const each of [server.#hub, server.#content]) {
      await new Promise<void>((done) => each.listen(0, '127.0.0.1', done))
    }
    return server
  }

  get endpoint(): string {
    return `http://127.0.0.1:${(this.#hub.address() as AddressInfo).port}`
  }

  get contentOrigin(): string {
    return `http://127.0.0.1:${(this.#content.address() as AddressInfo).port}`
  }

  /** First bytes of the answers with content that were asked for since the last `reset`. */
  get begins(): number[] {
    return this.asked
      .filter(({ method, host }) => method === 'GET' && host === 'content')
      .map(({ begin }) => begin)
  }

  /** Resolves when an answer falls silent as its fault wants. */
  silent(): Promise<void> {
    return new Promise((done) => (this.#onSilent = done))
  }

  reset(...files: HostedFile[]): void {
    this.asked.length = this.faults.length = this.refusals.length = 0
    this.files = files
  }

  async close(): Promise<void> {
    for (const each of [this.#hub, this.#content]) {
      each.closeAllConnections()
      await new Promise((done) => each.close(done))
    }
  }

  #note(host: Asked['host'], { method = '', url = '', headers }: IncomingMessage): number {
    const begin = Number(/^bytes=(\d+)-$/.exec(headers.range ?? '')?.[1] ?? 0)
    this.asked.push({ host, method, url, authorization: headers.authorization, begin })
    return begin
  }

  #answerHub(request: IncomingMessage, response: ServerResponse): void {
    const begin = this.#note('hub', request)
    const refusal = this.refusals.shift()
    if (refusal) return void response.writeHead(refusal).end()
    const found = this.files.find(
      ({ repository, revision, file }) =>
        request.url === `/${repository}/resolve/${encodeURIComponent(revision)}/${file}`,
    )
    if (!found) {
      const known = this.files.some(({ repository }) => request.url?.startsWith(`/${repository}/`))
      const code = known ? 'EntryNotFound' : 'RepoNotFound'
      return void response.writeHead(known ? 404 : 401, { 'X-Error-Code': code }).end()
    }
    if (found.token && request.headers.authorization !== `Bearer ${found.token}`) {
      return void response.writeHead(403, { 'X-Error-Code': 'GatedRepo' }).end()
    }
    const sha256 = createHash('sha256').update(found.bytes).digest('hex')
    const { etag = sha256, size = found.bytes.length, commit = found.commit } = found.stated ?? {}
    response.setHeader('X-Repo-Commit', commit)
    response.setHeader('X-Linked-Size', size)
    if (etag) response.setHeader('X-Linked-Etag', `"${etag}"`)
    if (found.direct) return this.#send(request, response, found.bytes, begin)
    const place = `${this.contentOrigin}/${this.files.indexOf(found)}?signature=secret`
    response.writeHead(302, { Location: place }).end()
  }

  #answerContent(request: IncomingMessage, response: ServerResponse): void {
    const begin = this.#note('content', request)
    const { bytes } = this.files[Number(/^\/(\d+)/.exec(request.url ?? '')?.[1])]!
    this.#send(request, response, bytes, begin)
  }

  #send(
    request: IncomingMessage,
    response: ServerResponse,
    whole: Uint8Array,
    begin: number,
  ): void {
    if (request.method === 'HEAD') return void response.writeHead(200).end()
    const fault = this.faults.shift() ?? {}
    if (fault.status) return void response.writeHead(fault.status).end()
    const bytes = fault.bytes ?? whole
    if (begin >= bytes.length && begin > 0) return void response.writeHead(416).end()
    const from = fault.ignoreRange ? 0 : begin
    const part = bytes.subarray(from)
    response.writeHead(from > 0 ? 206 : 200, {
      'Content-Length': part.length,
      ...(from > 0 && { 'Content-Range': `bytes ${from}-${bytes.length - 1}/${bytes.length}` }),
    })
    const { cutAfter, silentAfter } = fault
    if (cutAfter === undefined && silentAfter === undefined) return void response.end(part)
    response.flushHeaders()
    response.write(part.subarray(0, cutAfter ?? silentAfter), () => {
      // What was written before should arrive before the connection goes.
      if (cutAfter !== undefined) setTimeout(() => response.destroy(), 50)
      else setTimeout(() => this.#onSilent?.(), 50)
    })
  }
}
