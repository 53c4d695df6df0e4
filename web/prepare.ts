import { KeeplightError } from '../src/index.ts'
import type { PrepareSettings, PreparedPicture, WorkerJob, WorkerReply } from './messages.ts'
import type { Source } from './sources.ts'

/** One picture's outcome: prepared, or the reason why it can't be. */
export type Outcome = { readonly source: Source } & (
  { readonly picture: PreparedPicture } | { readonly error: string }
)

/** Pictures that a worker may have ready or in work before the page takes the next. */
const AHEAD = 8

/**
 * Prepares pictures on workers while the page waits for its GPU. Outcomes come in the order of
 * `sources`; only a few pictures are in memory at a time. Workers end with the loop that reads.
 */
export async function* prepareAll(
  sources: readonly Source[],
  settings: PrepareSettings,
): AsyncGenerator<Outcome> {
  const cores = navigator.hardwareConcurrency || 2
  const size = Math.max(1, Math.min(4, cores - 1, sources.length))
  const workers = Array.from({ length: size }, () => new PrepareWorker(settings))
  const pending: Promise<WorkerReply>[] = []
  try {
    for (const [index, source] of sources.entries()) {
      for (let next = index + pending.length; pending.length < size * AHEAD; next++) {
        const upcoming = sources[next]
        if (!upcoming) break
        const reply = workers[next % size]!.prepare(upcoming, next)
        // Handled where it is awaited; until then a rejection is not "unhandled".
        reply.catch(() => {})
        pending.push(reply)
      }
      const reply = await pending.shift()!
      if ('picture' in reply) yield { source, picture: reply.picture }
      else yield { source, error: reply.error }
    }
  } finally {
    workers.forEach((worker) => worker.end())
  }
}

class PrepareWorker {
  readonly #settings: PrepareSettings
  readonly #worker = new Worker(new URL('./prepareWorker.ts', import.meta.url), { type: 'module' })
  readonly #waiting = new Map<number, (reply: WorkerReply) => void>()
  readonly #failed: Promise<never>

  constructor(settings: PrepareSettings) {
    this.#settings = settings
    this.#worker.addEventListener('message', ({ data }: MessageEvent<WorkerReply>) => {
      this.#waiting.get(data.id)?.(data)
      this.#waiting.delete(data.id)
    })
    this.#failed = new Promise((_, reject) => {
      this.#worker.addEventListener('error', (event) => {
        const reason = event.message || 'its script could not be loaded'
        reject(new KeeplightError('internal', `the decoding worker stopped: ${reason}; reload`))
      })
    })
    this.#failed.catch(() => {})
  }

  prepare(source: Source, id: number): Promise<WorkerReply> {
    const reply = new Promise<WorkerReply>((resolve) => this.#waiting.set(id, resolve))
    this.#worker.postMessage({ ...this.#settings, id, source } satisfies WorkerJob)
    return Promise.race([reply, this.#failed])
  }

  end(): void {
    this.#worker.terminate()
  }
}
