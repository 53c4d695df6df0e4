import { stat } from 'node:fs/promises'
import type { FileStamp } from './cache.node.ts'
import type { ImageCollection } from './collection.ts'

/** By what each image is known without being read: size and time of the file that it is, or lies in. */
export class Stamps {
  private readonly shared = new Map<string, FileStamp | undefined>()

  constructor(private readonly collection: ImageCollection) {}

  async of(index: number): Promise<FileStamp | undefined> {
    const holder = this.collection.holder?.(index)
    if (!holder) return undefined
    if (this.shared.has(holder.path)) return this.shared.get(holder.path)
    const entry = await stat(holder.path).catch(() => undefined)
    const stamp = entry && { size: entry.size, mtimeMs: entry.mtimeMs }
    if (!holder.own) this.shared.set(holder.path, stamp)
    return stamp
  }
}
