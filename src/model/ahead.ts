import { KeeplightError } from '../runtime/errors.ts'

/**
 * Maps what `items` gives, in order, with at most `limit` results pending: the next item is asked for
 * while earlier ones are worked on, and nothing piles up however many there are. An item is handed to
 * `map` before the next one is asked for.
 *
 * @throws what `items` or `map` throws, in the order of the items; KeeplightError `aborted` after `signal`
 */
export async function* mapAhead<T, R>(
  items: Iterable<T> | AsyncIterable<T>,
  limit: number,
  map: (item: T, index: number) => Promise<R>,
  signal?: AbortSignal,
): AsyncGenerator<R> {
  const iterator =
    Symbol.asyncIterator in items ? items[Symbol.asyncIterator]() : items[Symbol.iterator]()
  const pending: Promise<R>[] = []
  let index = 0
  let open = true
  try {
    for (;;) {
      while (open && pending.length < limit) {
        const next = await unlessAborted(Promise.resolve(iterator.next()), signal)
        if (next.done) {
          open = false
          break
        }
        const result = map(next.value, index++)
        // Looked at in its turn; until then its failure is nobody's.
        result.catch(() => {})
        pending.push(result)
      }
      const oldest = pending.shift()
      if (!oldest) return
      yield await unlessAborted(oldest, signal)
    }
  } finally {
    // An iterator that hangs must not keep an abort from being told.
    if (open) void Promise.resolve(iterator.return?.()).catch(() => {})
    await Promise.allSettled(pending)
  }
}

/** The value, or an `aborted` error as soon as the signal says so. */
async function unlessAborted<T>(value: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return value
  // Nobody waits for it after an abort.
  value.catch(() => {})
  assertNotAborted(signal)
  let stop = (): void => {}
  const aborted = new Promise<never>((_, reject) => {
    stop = () => reject(abortError())
    signal.addEventListener('abort', stop, { once: true })
  })
  try {
    return await Promise.race([value, aborted])
  } finally {
    signal.removeEventListener('abort', stop)
  }
}

const abortError = (): KeeplightError => new KeeplightError('aborted', 'embed: stopped')

/** @throws KeeplightError `aborted` when the signal says so */
export function assertNotAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw abortError()
}

/** Arrays of `size` items, the last one of what is left. */
export async function* inBatches<T>(items: AsyncIterable<T>, size: number): AsyncGenerator<T[]> {
  let batch: T[] = []
  for await (const item of items) {
    batch.push(item)
    if (batch.length === size) {
      yield batch
      batch = []
    }
  }
  if (batch.length > 0) yield batch
}
