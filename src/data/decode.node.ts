import { existsSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { KeeplightError } from '../runtime/errors.ts'
import type { PreprocessConfig } from '../model/preprocess.ts'
import type { Thumbnail } from './decodeImage.node.ts'
import { DecodePool } from './decodePool.node.ts'
import type { PoolOutcome } from './decodePool.node.ts'
import type { ViewsResult, WorkerConfig } from './decodeMessages.node.ts'

export interface PoolSettings {
  /** Decoding threads; default: one less than the processor's cores, 1 to 4. */
  readonly workers?: number
  /** Results that may wait for the reader before decoding pauses; default 64. */
  readonly window?: number
  /** Longest time for one file in milliseconds; default 30,000. */
  readonly fileTimeout?: number
  readonly signal?: AbortSignal
  /**
   * The thread's compiled script. Default: `decodeWorker.node.js` beside this module, where the
   * build puts it. Code that runs from TypeScript sources names its own compiled copy.
   */
  readonly workerUrl?: URL
}

export interface DecodeOptions extends PoolSettings {
  readonly preprocess: PreprocessConfig
  /** Augmented views of each image beside the clean one. */
  readonly views: number
  /** Seed of the augmentations; each image's own stream comes from its content. */
  readonly seed?: number
  /** Content hashes that are not decoded, only recognised. */
  readonly known?: ReadonlySet<string>
}

/** One file's outcome; `index` is its place in `paths`. */
export type Outcome<T> =
  | ({ readonly index: number; readonly path: string; readonly ok: true } & T)
  | { readonly index: number; readonly path: string; readonly ok: false; readonly message: string }

export type DecodedImage = Outcome<ViewsResult>

/**
 * Decodes files on worker threads and prepares the model's views there, in order of completion.
 *
 * At most `window` files are under way or waiting for the reader, so memory stays constant however
 * long `paths` is. A file that can't be decoded comes back with its reason; it never ends the run.
 *
 * @throws KeeplightError `aborted` after `signal`, `internal` when no thread can start
 */
export function decodeImages(
  paths: readonly string[],
  options: DecodeOptions,
): AsyncGenerator<DecodedImage> {
  const { preprocess, views, seed = 0, known = new Set<string>() } = options
  return runPool<ViewsResult>(paths, options, { kind: 'views', preprocess, views, seed, known })
}

/** Makes contact-sheet pictures of files, at most `height` pixels high; see {@link decodeImages}. */
export function decodeThumbnails(
  paths: readonly string[],
  options: PoolSettings & { readonly height: number },
): AsyncGenerator<Outcome<Thumbnail>> {
  return runPool<Thumbnail>(paths, options, { kind: 'thumbnail', height: options.height })
}

/** How many decoding threads suit this machine: one core is left to the engine. */
export function defaultWorkers(): number {
  return Math.min(4, Math.max(1, availableParallelism() - 1))
}

async function* runPool<T extends object>(
  paths: readonly string[],
  settings: PoolSettings,
  config: WorkerConfig,
): AsyncGenerator<Outcome<T>> {
  if (paths.length === 0) return
  const { window = 64, fileTimeout = 30_000, signal } = settings
  const workers = Math.min(settings.workers ?? defaultWorkers(), paths.length)
  const workerUrl = settings.workerUrl ?? compiledWorker()
  const pool = new DecodePool({ workers, workerUrl, config, fileTimeout })
  const done: Outcome<T>[] = []
  let failure: unknown
  let wake = (): void => {}
  const abort = (): void => void pool.close()
  signal?.addEventListener('abort', abort)
  if (signal?.aborted) abort()
  const start = (index: number): void => {
    const path = paths[index]
    pool
      .run<T>(path)
      .then(
        (outcome) => done.push(label(index, path, outcome)),
        (error: unknown) => (failure ??= error),
      )
      .finally(() => wake())
  }
  try {
    let next = 0
    for (let given = 0; given < paths.length;) {
      while (next < paths.length && next - given < window) start(next++)
      if (failure !== undefined) throw failure as Error
      const outcome = done.shift()
      if (outcome) {
        given++
        yield outcome
      } else {
        await new Promise<void>((resolve) => (wake = resolve))
      }
    }
  } finally {
    signal?.removeEventListener('abort', abort)
    await pool.close()
  }
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

export function decodeCollection(
  collection: import('./collection.ts').ImageCollection,
  options: DecodeOptions & { indices?: readonly number[]; ordered?: boolean },
): AsyncGenerator<DecodedImage> {
  const { indices = collection.files.map((_, i) => i) } = options
  return (async function* () {
    const waiting = new Map<number, DecodedImage>()
    let next = 0
    for await (const image of decodeImages(
      indices.map((i) => collection.root + '/' + collection.files[i]),
      options,
    )) {
      waiting.set(image.index, image)
      for (let o = waiting.get(next); o; o = waiting.get(next)) {
        waiting.delete(next)
        yield { ...o, index: indices[next++] }
      }
    }
  })()
}
