import { FeatureCache, FileIndex } from '../data/cache.node.ts'
import type { CacheOptions, CacheRecord, FileStamp } from '../data/cache.node.ts'
import type { ImageCollection } from '../data/collection.ts'
import { decodeCollection } from '../data/decode.node.ts'
import type { PoolSettings } from '../data/decode.node.ts'
import { rawEdge } from '../data/decodeMessages.node.ts'
import { Stamps } from '../data/stamps.node.ts'
import type { PreprocessConfig } from '../model/preprocess.ts'
import { KeeplightError } from '../runtime/errors.ts'
import type { Features } from '../model/features.ts'
import type { Looks } from './looks.ts'
import { joinCollected } from './mixedModel.ts'
import type { Terminal } from './terminal.ts'

/** Images that are saved together, and views that go through the encoder together. */
const batchImages = 32
const batchViews = 32
const rawBytes = rawEdge * rawEdge * 3
/** Every run draws the same views of the same image, so that cached features stay valid. */
const viewSeed = 0

/** What collecting needs of a model; a `VisionModel` has it. */
export interface Encoder {
  readonly dimension: number
  readonly hash: string
  readonly preprocess: PreprocessConfig
  embedPixels(pixels: Uint8Array): Promise<Float32Array>
}

export interface CollectOptions {
  /** Augmented views of each image beside the clean one. */
  readonly views: number
  /** Folder of the feature cache; undefined: none is read or written. */
  readonly cacheFolder: string | undefined
  readonly terminal: Terminal
  readonly signal?: AbortSignal
  readonly decoding?: PoolSettings
  /** Is told what images look like, as far as they are decoded. */
  readonly looks?: Looks
}

export interface BrokenFile {
  readonly path: string
  readonly message: string
}

/** The features of a collection's readable images, in its order. */
export interface Collected {
  readonly features: Features
  /** Indices into the collection's files of the images that were read. */
  readonly kept: readonly number[]
  /** N · 32 · 32 · 3 bytes for raw-pixel k-means; none where features came without pictures. */
  readonly raw: Uint8Array
  readonly broken: readonly BrokenFile[]
  /** How many images came from the cache, and how many were decoded and embedded. */
  readonly reused: number
  readonly embedded: number
  readonly cache: { readonly folder: string; readonly bytes: number } | undefined
}

/**
 * Turns a collection of images into features: those known from the cache at once, the others decoded on
 * threads while the GPU embeds the batch before. Each finished batch is saved before the next, so a
 * killed run loses no more than one. Of several encoders, each has its cache; their features stand side
 * by side.
 *
 * @throws KeeplightError `input` when no image can be read, `aborted` after `signal`
 */
export async function collectFeatures(
  collection: ImageCollection,
  model: Encoder | { readonly encoders: readonly (Encoder & { readonly name: string })[] },
  options: CollectOptions,
): Promise<Collected> {
  if (!('encoders' in model)) return collectOne(collection, model, options, 'embedding')
  const parts: Collected[] = []
  for (const encoder of model.encoders) {
    parts.push(await collectOne(collection, encoder, options, `embedding by ${encoder.name}`))
  }
  return joinCollected(parts)
}

async function collectOne(
  collection: ImageCollection,
  model: Encoder,
  options: CollectOptions,
  label: string,
): Promise<Collected> {
  const { files } = collection
  const store = new FeatureStore(files.length, options.views, model.dimension)
  const cache = Cache.open(collection, model, options)
  try {
    const missing = await fillFromCache(collection, store, cache, options.looks)
    const reused = files.length - missing.length
    const progress = options.terminal.progress(label, files.length, 'images', reused)
    progress.update(reused)
    const { broken, recognised } = await embedMissing(
      collection,
      missing,
      store,
      cache,
      model,
      options,
      (done, recognised) => progress.update(reused + done, undefined, reused + recognised),
    ).finally(() => progress.stop())
    if (broken.length === files.length) throw noneReadable(collection.root, broken)
    const dead = new Set(broken.map(({ path }) => path))
    const kept = files.flatMap((path, i) => (dead.has(path) ? [] : [i]))
    const cacheInfo = cache && { folder: cache.folder, bytes: cache.bytes }
    const embedded = missing.length - broken.length - recognised
    return {
      ...{ ...store.take(kept), kept, broken, embedded },
      ...{ reused: reused + recognised, cache: cacheInfo },
    }
  } finally {
    cache?.close()
  }
}

/** The error when a collection has images, and not one that can be read. */
export function noneReadable(root: string, broken: readonly BrokenFile[]): KeeplightError {
  return new KeeplightError(
    'input',
    `${root}: none of the ${broken.length} images can be read; the first, ` +
      `${broken[0].path}: ${broken[0].message}. Give intact images.`,
  )
}

interface MissingFile {
  readonly index: number
  readonly path: string
  readonly stamp: FileStamp | undefined
}

async function fillFromCache(
  collection: ImageCollection,
  store: FeatureStore,
  cache: Cache | undefined,
  looks: Looks | undefined,
): Promise<MissingFile[]> {
  const missing: MissingFile[] = []
  const stamps = new Stamps(collection)
  for (const [index, path] of collection.files.entries()) {
    const stamp = cache && (await stamps.of(index))
    const found = stamp && cache.lookup(path, stamp)
    if (found) {
      store.set(index, found.record)
      looks?.note(index, found.hash)
    } else missing.push({ index, path, stamp })
  }
  return missing
}

async function embedMissing(
  collection: ImageCollection,
  missing: readonly MissingFile[],
  store: FeatureStore,
  cache: Cache | undefined,
  model: Encoder,
  { views, signal, decoding, looks }: CollectOptions,
  onProgress: (done: number, recognised: number) => void,
): Promise<{ readonly broken: BrokenFile[]; readonly recognised: number }> {
  const broken: BrokenFile[] = []
  let recognised = 0
  const { size } = model.preprocess
  const imageBytes = (1 + views) * size * size * 3
  const pixels = new Uint8Array(batchImages * imageBytes)
  let batch: { file: MissingFile; hash: string; raw: Uint8Array }[] = []
  let done = 0

  const flush = async (): Promise<void> => {
    if (batch.length === 0) return
    const prepared = pixels.subarray(0, batch.length * imageBytes)
    const all = await embedAll(model, prepared, signal)
    const length = (1 + views) * model.dimension
    batch.forEach(({ file, hash, raw }, i) => {
      const record = { features: all.slice(i * length, (i + 1) * length), raw }
      store.set(file.index, record)
      cache?.add(file, hash, record)
    })
    cache?.flush()
    looks?.flush()
    onProgress((done += batch.length), recognised)
    batch = []
  }

  // A second round takes what turned out damaged in the cache.
  for (let todo = missing; todo.length > 0;) {
    const damaged: MissingFile[] = []
    const byIndex = new Map(todo.map((file) => [file.index, file]))
    const indices = [...byIndex.keys()]
    const known = cache?.hashes()
    const settings = {
      ...{ ...decoding, signal, preprocess: model.preprocess, views, seed: viewSeed },
      look: looks !== undefined,
    }
    for await (const outcome of decodeCollection(collection, { ...settings, indices, known })) {
      if (signal?.aborted) break
      const file = byIndex.get(outcome.index)!
      if (!outcome.ok) {
        broken.push({ path: file.path, message: outcome.message })
        onProgress(++done, recognised)
      } else if (outcome.image) {
        pixels.set(outcome.image.views, batch.length * imageBytes)
        batch.push({ file, hash: outcome.hash, raw: outcome.image.raw })
        looks?.note(file.index, outcome.hash, outcome.image.look)
        if (batch.length === batchImages) await flush()
      } else if (cache?.reuse(file, outcome.hash, store)) {
        looks?.note(file.index, outcome.hash)
        onProgress(++done, ++recognised)
      } else {
        damaged.push(file)
      }
    }
    todo = damaged.sort((a, b) => a.index - b.index)
  }
  if (signal?.aborted) throw stopped()
  await flush()
  return { broken: broken.sort((a, b) => (a.path < b.path ? -1 : 1)), recognised }
}

/** Features of prepared views, a few at a time, so that a stop takes effect soon. */
async function embedAll(
  model: Encoder,
  pixels: Uint8Array,
  signal: AbortSignal | undefined,
): Promise<Float32Array> {
  const viewBytes = model.preprocess.size ** 2 * 3
  const features = new Float32Array((pixels.length / viewBytes) * model.dimension)
  for (let start = 0; start * viewBytes < pixels.length; start += batchViews) {
    if (signal?.aborted) throw stopped()
    const part = pixels.subarray(start * viewBytes, (start + batchViews) * viewBytes)
    features.set(await model.embedPixels(part), start * model.dimension)
  }
  return features
}

function stopped(): KeeplightError {
  return new KeeplightError('aborted', 'stopped; the images that were finished are cached')
}

/** Features as they come in, by the image's place in the collection. */
class FeatureStore {
  private readonly features: Float32Array
  private readonly raw: Uint8Array
  private readonly length: number

  constructor(
    count: number,
    private readonly views: number,
    private readonly dimension: number,
  ) {
    this.length = (1 + views) * dimension
    this.features = new Float32Array(count * this.length)
    this.raw = new Uint8Array(count * rawBytes)
  }

  set(index: number, record: CacheRecord): void {
    this.features.set(record.features, index * this.length)
    this.raw.set(record.raw, index * rawBytes)
  }

  /** The chosen images' features, views outermost, as training takes them. */
  take(kept: readonly number[]): { features: Features; raw: Uint8Array } {
    const { views, dimension } = this
    const count = kept.length
    const clean = new Float32Array(count * dimension)
    const augmented = new Float32Array(views * count * dimension)
    kept.forEach((index, i) => {
      const start = index * this.length
      clean.set(this.features.subarray(start, start + dimension), i * dimension)
      for (let view = 0; view < views; view++) {
        const from = start + (1 + view) * dimension
        augmented.set(
          this.features.subarray(from, from + dimension),
          (view * count + i) * dimension,
        )
      }
      // In place, since `kept` ascends: a second copy would be most of the memory of a large run.
      this.raw.copyWithin(i * rawBytes, index * rawBytes, (index + 1) * rawBytes)
    })
    const raw = this.raw.subarray(0, count * rawBytes)
    return { features: { count, dimension, views, clean, augmented }, raw }
  }
}

/**
 * The feature cache and the collection's file index as one; failures to write end its use, not the run.
 * Where no views are wanted, the clean features of runs that had some serve as well.
 */
class Cache {
  private working = true
  private readonly dimension: number
  private readonly wider: readonly FeatureCache[]

  private constructor(
    readonly folder: string,
    private readonly features: FeatureCache,
    options: CacheOptions,
    private readonly files: FileIndex,
    private readonly terminal: Terminal,
  ) {
    this.dimension = options.dimension
    this.wider = options.views === 0 ? FeatureCache.wider(options) : []
  }

  static open(
    collection: ImageCollection,
    model: Encoder,
    options: CollectOptions,
  ): Cache | undefined {
    const { cacheFolder, views, terminal } = options
    if (cacheFolder === undefined) return undefined
    const { hash, preprocess, dimension } = model
    try {
      const about: CacheOptions = {
        folder: cacheFolder,
        model: hash,
        preprocess,
        views,
        seed: viewSeed,
        dimension,
        rawBytes,
      }
      const index = new FileIndex(cacheFolder, collection.root)
      return new Cache(cacheFolder, new FeatureCache(about), about, index, terminal)
    } catch (error) {
      terminal.warn(
        `the cache ${cacheFolder} can't be used (${String(error)}); going on without it`,
      )
      return undefined
    }
  }

  get bytes(): number {
    return this.features.size.bytes
  }

  hashes(): Set<string> {
    const all = [this.features, ...this.wider].map((cache) => [...cache.hashes()])
    return new Set(all.flat())
  }

  private get(hash: string): CacheRecord | undefined {
    const record = this.features.get(hash)
    if (record) return record
    for (const cache of this.wider) {
      const more = cache.get(hash)
      if (more) return { ...more, features: more.features.subarray(0, this.dimension) }
    }
    return undefined
  }

  lookup(
    path: string,
    stamp: FileStamp,
  ): { readonly hash: string; readonly record: CacheRecord } | undefined {
    const hash = this.files.lookup(path, stamp)
    const record = hash === undefined ? undefined : this.get(hash)
    return record && { hash: hash!, record }
  }

  /** Takes a file's features from an equal file's; false when they are damaged. */
  reuse({ index, path, stamp }: MissingFile, hash: string, store: FeatureStore): boolean {
    const record = this.get(hash)
    if (!record) return false
    store.set(index, record)
    if (stamp) this.files.remember(path, stamp, hash)
    return true
  }

  add({ path, stamp }: MissingFile, hash: string, record: CacheRecord): void {
    if (!this.working) return
    this.features.put(hash, record)
    if (stamp) this.files.remember(path, stamp, hash)
  }

  /** Features first: an entry of the file index must not promise what isn't there. */
  flush(): void {
    if (!this.working) return
    try {
      this.features.flush()
      this.files.flush()
    } catch (error) {
      this.working = false
      this.terminal.warn(`the cache ${this.folder} can't be written (${String(error)})`)
    }
  }

  close(): void {
    this.flush()
    for (const cache of [this.features, ...this.wider]) cache.close()
    this.files.close()
  }
}
