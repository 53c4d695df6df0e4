import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'

/** What goes wrong with one answer. */
export interface Fault {
  /** Answers with this status and no body. */
  readonly status?: number
  readonly headers?: Readonly<Record<string, string>>
  /** Ends the connection after so many bytes of the body. */
  readonly cutAfter?: number
  /** Sends nothing of the body for so long. */
  readonly stallMs?: number
  /** Announces this range. */
  readonly contentRange?: string
  /** Bytes sent beyond the range. */
  readonly tooMany?: number
}

export interface SeenRequest {
  readonly path: string
  readonly range: string | undefined
  readonly headers: IncomingHttpHeaders
}

export interface RangeServer {
  readonly url: string
  readonly requests: SeenRequest[]
  /** Taken by the next answers, in order. */
  readonly faults: Fault[]
  /** From path to address. */
  readonly redirects: Map<string, string>
  readonly files: Map<string, Uint8Array>
  /** Bytes of bodies that were sent. */
  sent: number
  /** Answers 200 with everything, with or without a length. */
  ignoresRange: false | 'length' | 'chunked'
  etag: string | undefined
  /** Of every answer. */
  readonly headers: Record<string, string>
  close(): Promise<void>
}

/** A small server of files in memory that takes Range, and whatever misbehaviour a test asks for. */
export async function serveRanges(): Promise<RangeServer> {
  const server = createServer((request, response) => {
    const path = request.url ?? '/'
    const range = request.headers.range
    if (request.method === 'OPTIONS') return void response.writeHead(204, state.headers).end()
    state.requests.push({ path, range, headers: request.headers })
    answer(state, path, range, response).catch(() => response.destroy())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const state: RangeServer = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests: [],
    faults: [],
    redirects: new Map(),
    files: new Map(),
    sent: 0,
    ignoresRange: false,
    etag: '"one"',
    headers: {},
    close: () =>
      new Promise<void>((resolve) => {
        server.closeAllConnections()
        server.close(() => resolve())
      }),
  }
  return state
}

async function answer(
  state: RangeServer,
  path: string,
  range: string | undefined,
  response: ServerResponse,
): Promise<void> {
  for (const [name, value] of Object.entries(state.headers)) response.setHeader(name, value)
  const to = state.redirects.get(path)
  if (to !== undefined) return void response.writeHead(302, { location: to }).end()
  const file = state.files.get(path)
  if (!file) return void response.writeHead(404).end()
  const fault = state.faults.shift() ?? {}
  if (fault.status !== undefined) {
    return void response.writeHead(fault.status, fault.headers).end()
  }
  const found = /^bytes=(\d+)-(\d+)$/.exec(range ?? '')
  const partial = found && !state.ignoresRange
  const begin = partial ? Number(found[1]) : 0
  const end = partial ? Math.min(Number(found[2]) + 1, file.length) : file.length
  if (partial && begin >= file.length) {
    return void response.writeHead(416, { 'content-range': `bytes */${file.length}` }).end()
  }
  const tooMany = fault.tooMany ?? 0
  const body = new Uint8Array(end - begin + tooMany)
  body.set(file.subarray(begin, end))
  const headers: Record<string, string | number> = { ...fault.headers }
  if (state.ignoresRange !== 'chunked') headers['content-length'] = body.length
  if (state.etag !== undefined) headers['etag'] = state.etag
  if (partial)
    headers['content-range'] = fault.contentRange ?? `bytes ${begin}-${end - 1}/${file.length}`
  response.writeHead(partial ? 206 : 200, headers)
  response.flushHeaders()
  if (fault.stallMs !== undefined) await pause(fault.stallMs)
  // In pieces, so that a client that has enough can end it in between.
  const stop = Math.min(body.length, fault.cutAfter ?? body.length)
  for (let at = 0; at < stop && !response.destroyed; at += 1 << 16) {
    const piece = body.subarray(at, Math.min(stop, at + (1 << 16)))
    if (!response.write(piece)) {
      await new Promise<void>((resolve) => {
        const go = (): void => {
          response.off('drain', go).off('close', go)
          resolve()
        }
        response.on('drain', go).on('close', go)
      })
    }
    state.sent += piece.length
  }
  if (fault.cutAfter === undefined) response.end()
  else {
    // What was written must leave before the connection does.
    await pause(20)
    response.destroy()
  }
}
