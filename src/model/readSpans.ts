import { allocate, type ByteSource } from './byteRange.ts'

/** Bytes of one request at most. */
export const REQUEST_BYTES = 32 * 2 ** 20
/** Bytes that nobody asked for between two spans, below which one request reads both. */
const GAP_BYTES = 1 << 16

export interface Span {
  readonly begin: number
  readonly end: number
}

/**
 * The requests for ascending spans: neighbours in one, up to 32 MiB; longer spans in several.
 *
 * @param spans sorted, without overlap
 */
export function requestsFor(spans: readonly Span[]): Span[] {
  const requests: Span[] = []
  for (const { begin, end } of spans) {
    if (begin === end) continue
    const last = requests.at(-1)
    if (last && begin - last.end <= GAP_BYTES && end - last.begin <= REQUEST_BYTES) {
      requests[requests.length - 1] = { begin: last.begin, end }
      continue
    }
    for (let from = begin; from < end; from += REQUEST_BYTES) {
      requests.push({ begin: from, end: Math.min(end, from + REQUEST_BYTES) })
    }
  }
  return requests
}

/**
 * The bytes of each span, one after the other, with as many requests under way as the source gains
 * from: host memory holds one span and those requests.
 *
 * @param spans sorted, without overlap
 * @param onRequest is told the bytes of each request that has come
 */
export async function* readSpans(
  source: ByteSource,
  spans: readonly Span[],
  { signal, onRequest }: { signal?: AbortSignal; onRequest?: (bytes: number) => void } = {},
): AsyncGenerator<Uint8Array<ArrayBuffer>, void, undefined> {
  const requests = requestsFor(spans)
  const own = new AbortController()
  const stop = (): void => own.abort(signal?.reason)
  if (signal?.aborted) stop()
  signal?.addEventListener('abort', stop, { once: true })
  const pending = new Map<number, Promise<Uint8Array<ArrayBuffer>>>()
  const lanes = source.lanes ?? 1
  const start = (index: number): void => {
    const request = requests[index]
    if (!request || pending.has(index)) return
    const read = source.read(request.begin, request.end, own.signal)
    // Who waits for it gets the error; when nobody does any more, nobody needs it.
    read.catch(() => {})
    pending.set(index, read)
  }
  let index = -1
  let data: Uint8Array<ArrayBuffer> | undefined
  try {
    for (const span of spans) {
      const bytes = allocate(source.name, span.end - span.begin)
      for (let at = span.begin; at < span.end;) {
        if (!data || at >= requests[index]!.end) {
          data = undefined
          pending.delete(index)
          index++
          for (let ahead = 0; ahead < lanes; ahead++) start(index + ahead)
          data = await pending.get(index)!
          onRequest?.(data.length)
        }
        const { begin, end } = requests[index]!
        const upTo = Math.min(end, span.end)
        bytes.set(data.subarray(at - begin, upTo - begin), at - span.begin)
        at = upTo
      }
      yield bytes
    }
  } finally {
    own.abort()
    signal?.removeEventListener('abort', stop)
  }
}
