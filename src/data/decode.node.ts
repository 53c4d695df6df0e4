import { existsSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { KeeplightError } from '../runtime/errors.ts'
import type { PreprocessConfig } from '../model/preprocess.ts'
import { everyIndex, type ImageCollection, type ImageContent } from './collection.ts'
import type { Thumbnail } from './decodeImage.node.ts'
import { DecodePool } from './decodePool.node.ts'
import type { PoolOutcome } from './decodePool.node.ts'
import type { LookResult, ViewsResult, WorkerConfig } from './decodeMessages.node.ts'

export interface PoolSettings {
  /** Decoding threads; default: one less than the processor's cores, 1 to 4. */
  readonly workers?: number
  /** Results that may wait for the reader before decoding pauses; default 64. */
  readonly window?: number
  /** Longest time for one image in milliseconds; default 30,000. */
  readonly fileTimeout?: number
  readonly signal?: AbortSignal
  /**
   * The thread's compiled script. Default: `decodeWorker.node.js` beside this module, where the
   * build puts it. Code that runs from TypeScript sources names its own compiled copy.
   */
  readonly workerUrl?: URL
  /** Images to decode, ascending; default all. */
  readonly indices?: readonly number[]
  /** Outcomes in the order of the collection, not of completion. */
  readonly ordered?: boolean
}

export interface DecodeOptions extends PoolSettings {
  readonly preprocess: PreprocessConfig
  /** Augmented views of each image beside the clean one. */
  readonly views: number
  /** Seed of the augmentations; each image's own stream comes from its content. */
  readonly seed?: number
  /** Content hashes that are not decoded, only recognised. */
  readonly known?: ReadonlySet<string>
  /**
   * Photos that are larger than 4 times the model's own resize are reduced to that while they are decoded:
   * faster, and moves pixels by well under a level on average. Default true.
   */
  readonly reduce?: boolean
  /** Makes the small picture of raw-pixel k-means too. Default true. */
  readonly raw?: boolean
  /** Looks at the picture too: figures of its quality, and the print that finds copies. Default false. */
  readonly look?: boolean
  /** Makes the pictures that fresh views are cut from, and no views. Default false. */
  readonly pictures?: boolean
}

/** One image's outcome; `index` is its place in the collection, `path` its name there. */
export type Outcome<T> =
  | ({ readonly index: number; readonly path: string; readonly ok: true } & T)
  | { readonly index: number; readonly path: string; readonly ok: false; readonly message: string }

export type DecodedImage = Outcome<ViewsResult>

/** Bytes of images that may be in memory at once, beside the one that goes over it. */
const maximumHeldBytes = 256 * 1024 * 1024

/**
 * Decodes a collection's images on worker threads and prepares the model's views there, in order of
 * completion unless `ordered` says otherwise.
 *
 * At most `window` images are under way or waiting for the reader, so memory stays constant however
 * large the collection is. An image that can't be decoded comes back with its reason; it never ends
 * the run.
 *
 * @throws KeeplightError `aborted` after `signal`, `internal` when no thread can start, `input` when
 *   the collection itself can't be read
 */
export function decodeCollection(
  collection: ImageCollection,
  options: DecodeOptions,
): AsyncGenerator<DecodedImage> {
  const { preprocess, views, seed = 0, known = new Set<string>() } = options
  const { reduce = true, raw = true, look = false, pictures = false } = options
  return runPool<ViewsResult>(collection, options, {
    ...{ kind: 'views', preprocess, views, seed, known, reduce, raw, look, pictures },
  })
}

/**
 * Looks at images without a model, except those of known content; see `appearance.ts` and
 * {@link decodeCollection}.
 */
export function decodeAppearances(
  collection: ImageCollection,
  options: PoolSettings & { readonly known?: ReadonlySet<string> },
): AsyncGenerator<Outcome<LookResult>> {
  const { known = new Set<string>() } = options
  return runPool<LookResult>(collection, options, { kind: 'appearance', reduceTo: 512, known })
}

/** Makes contact-sheet pictures, at most `height` pixels high; see {@link decodeCollection}. */
export function decodeThumbnails(
  collection: ImageCollection,
  options: PoolSettings & { readonly height: number },
): AsyncGenerator<Outcome<Thumbnail>> {
  return runPool<Thumbnail>(collection, options, { kind: 'thumbnail', height: options.height })
}

/** How many decoding threads suit this machine: one core is left to the engine. */
export function defaultWorkers(): number {
  return Math.min(4, Math.max(1, availableParallelism() - 1))
}

async function* runPool<T extends object>(
  collection: ImageCollection,
  settings: PoolSettings,
  config: WorkerConfig,
): AsyncGenerator<Outcome<T>> {
  const { window = 64, fileTimeout = 30_000, signal, ordered = false } = settings
  const { indices = everyIndex(collection) } = settings
  if (indices.length === 0) return
  const workers = Math.min(settings.workers ?? defaultWorkers(), indices.length)
  const workerUrl = settings.workerUrl ?? compiledWorker()
  const pool = new DecodePool({ workers, workerUrl, config, fileTimeout })
  const done: Outcome<T>[] = []
  const early = new Map<number, Outcome<T>>()
  const reading = new AbortController()
  let failure: unknown
  let hasAll = false
  let held = 0
  let started = 0
  let given = 0
  // Two wait for each other's progress: the reader of results below, and the reader of contents.
  let wake = (): void => {}
  let wakeFeed = (): void => {}
  const fail = (error: unknown): void => {
    failure ??= error
    wake()
  }
  const abort = (): void => {
    reading.abort()
    void pool.close()
    fail(new KeeplightError('aborted', 'decoding was stopped'))
  }

  let released = 0
  const put = (outcome: Outcome<T>): void => {
    if (!ordered) {
      done.push(outcome)
      return
    }
    early.set(outcome.index, outcome)
    for (;;) {
      const next = early.get(indices[released]!)
      if (!next) return
      early.delete(next.index)
      done.push(next)
      released++
    }
  }

  const start = (index: number, content: ImageContent): void => {
    started++
    const finish = (outcome: PoolOutcome<T>): void => {
      put(label(index, collection.files[index]!, outcome))
      wake()
    }
    if ('unreadable' in content) return finish({ error: content.unreadable })
    const bytes = sizeOf(content)
    held += bytes
    pool
      .run<T>(content)
      .then(finish, fail)
      .finally(() => {
        held -= bytes
        wakeFeed()
      })
  }

  const feed = async (): Promise<void> => {
    const source = collection.read(indices, reading.signal)[Symbol.asyncIterator]()
    try {
      for (;;) {
        while (!reading.signal.aborted && (started - given >= window || held >= maximumHeldBytes)) {
          await new Promise<void>((resolve) => (wakeFeed = resolve))
        }
        if (reading.signal.aborted) return
        const next = await source.next()
        if (next.done || reading.signal.aborted) return
        start(next.value.index, next.value.content)
      }
    } finally {
      await source.return?.()
    }
  }

  signal?.addEventListener('abort', abort)
  if (signal?.aborted) abort()
  const feeding = feed().then(() => {
    hasAll = true
    wake()
  }, fail)
  try {
    for (;;) {
      if (failure !== undefined) throw failure as Error
      const outcome = done.shift()
      if (outcome) {
        yield outcome
        given++
        wakeFeed()
      } else if (hasAll && given === started) {
        return
      } else {
        await new Promise<void>((resolve) => (wake = resolve))
      }
    }
  } finally {
    signal?.removeEventListener('abort', abort)
    reading.abort()
    wakeFeed()
    await pool.close()
    await feeding
  }
}

function sizeOf(content: ImageContent): number {
  if ('bytes' in content) return content.bytes.length
  return 'pixels' in content ? content.pixels.data.length : 0
}

function label<T extends object>(index: number, path: string, outcome: PoolOutcome<T>): Outcome<T> {
  return 'error' in outcome
    ? { index, path, ok: false, message: outcome.error }
    : { index, path, ok: true, ...outcome.result }
}

function compiledWorker(): URL {
  const url = new URL('./decodeWorker.node.js', import.meta.url)
  if (!existsSync(url)) {
    throw new KeeplightError(
      'internal',
      `${url.href} is missing, expected the compiled decoding thread beside this module. ` +
        'Run "npm run build" and use dist/, or give workerUrl.',
    )
  }
  return url
}
