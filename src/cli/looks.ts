import { appearanceBytes, unpackAppearance } from '../data/appearance.ts'
import { AppearanceCache, FileIndex } from '../data/cache.node.ts'
import type { ImageCollection } from '../data/collection.ts'
import { decodeAppearances } from '../data/decode.node.ts'
import type { PoolSettings } from '../data/decode.node.ts'
import type { Look } from '../data/duplicates.ts'
import { Stamps } from '../data/stamps.node.ts'
import { KeeplightError } from '../runtime/errors.ts'
import type { Terminal } from './terminal.ts'

/** Images that are saved together. */
const batchImages = 256

export interface LooksOptions {
  /** Folder of the feature cache; undefined: none is read or written. */
  readonly cacheFolder: string | undefined
  readonly terminal: Terminal
  readonly signal?: AbortSignal
  readonly decoding?: PoolSettings
}

/**
 * Hash and appearance of a collection's images. What embedding comes across is noted as it goes;
 * `complete` looks at the others: those whose features an older run left in the cache.
 */
export class Looks {
  private readonly hashes: (string | undefined)[]
  private readonly packed: Uint8Array
  private readonly seen: Uint8Array
  private readonly unreadable = new Map<number, string>()
  private cache: AppearanceCache | undefined

  constructor(
    private readonly collection: ImageCollection,
    private readonly options: LooksOptions,
  ) {
    const { length } = collection.files
    this.hashes = Array.from({ length })
    this.packed = new Uint8Array(length * appearanceBytes)
    this.seen = new Uint8Array(length)
    this.cache = this.guard(() => options.cacheFolder && new AppearanceCache(options.cacheFolder))
  }

  /** Notes an image's hash, and its appearance where it is at hand. */
  note(index: number, hash: string, look?: Uint8Array): void {
    this.hashes[index] = hash
    const known = look?.length ? look : this.cache?.get(hash)
    if (!known) return
    this.packed.set(known, index * appearanceBytes)
    this.seen[index] = 1
    if (look?.length) this.guard(() => this.cache?.put(hash, look))
  }

  /** Saves what was noted. */
  flush(): void {
    this.guard(() => this.cache?.flush())
  }

  /** Looks at those of these images that were not seen yet, which decodes them. */
  async complete(indices: readonly number[]): Promise<void> {
    const { terminal, signal, decoding } = this.options
    const files = this.guard(() => this.fileIndex())
    try {
      const stamps = new Stamps(this.collection)
      for (const index of files ? indices : []) {
        if (this.seen[index]) continue
        const stamp = await stamps.of(index)
        const hash = stamp && files?.lookup(this.collection.files[index], stamp)
        if (hash !== undefined) this.note(index, hash)
      }
      const todo = indices.filter((index) => !this.seen[index])
      if (todo.length === 0) return
      const progress = terminal.progress('looking', todo.length, 'images')
      let done = 0
      try {
        const known = this.cache?.hashes()
        const settings = { ...decoding, signal, indices: todo, known }
        for await (const outcome of decodeAppearances(this.collection, settings)) {
          const { index, path } = outcome
          if (!outcome.ok) this.unreadable.set(index, outcome.message)
          else {
            this.note(index, outcome.hash, outcome.look)
            const stamp = await stamps.of(index)
            if (stamp) files?.remember(path, stamp, outcome.hash)
          }
          if (++done % batchImages === 0) this.flush()
          progress.update(done)
        }
      } finally {
        progress.stop()
      }
      if (signal?.aborted) throw new KeeplightError('aborted', 'stopped')
      this.flush()
      this.guard(() => files?.flush())
    } finally {
      files?.close()
    }
  }

  /** Those of these images that were seen. */
  seenOf(indices: readonly number[]): number[] {
    return indices.filter((index) => this.seen[index])
  }

  /** Why an image could not be looked at. */
  failure(index: number): string | undefined {
    return this.unreadable.get(index)
  }

  /** An image that was seen. */
  at(index: number): Look {
    const start = index * appearanceBytes
    const appearance = unpackAppearance(this.packed.subarray(start, start + appearanceBytes))
    return { hash: this.hashes[index]!, appearance }
  }

  close(): void {
    this.flush()
    this.cache?.close()
    this.cache = undefined
  }

  private fileIndex(): FileIndex | undefined {
    const { cacheFolder } = this.options
    return cacheFolder === undefined ? undefined : new FileIndex(cacheFolder, this.collection.root)
  }

  /** Trouble with the cache ends its use, not the run. */
  private guard<T>(use: () => T | '' | undefined): T | undefined {
    try {
      return use() || undefined
    } catch (error) {
      this.options.terminal.warn(
        `the cache ${this.options.cacheFolder} can't be used for what images look like (${String(error)})`,
      )
      this.cache = undefined
      return undefined
    }
  }
}
