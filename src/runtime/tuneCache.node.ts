import { randomBytes } from 'node:crypto'
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { version } from '../../package.json'
import type { TuneStore } from './tuneCache.ts'

/** Tuned choices as files below `folder`: `tune/<version of Keeplight>/<key>.json`. */
export function fileTuneStore(folder: string): TuneStore {
  const place = join(folder, 'tune', version)
  const pathOf = (name: string): string => join(place, `${name}.json`)
  return {
    load: (name) => readFile(pathOf(name), 'utf8').catch(() => undefined),
    // Under a temporary name first, so that a reader meets the old file or the new one.
    async save(name, text) {
      await mkdir(place, { recursive: true })
      const temporary = `${pathOf(name)}.${randomBytes(4).toString('hex')}.tmp`
      try {
        await writeFile(temporary, text)
        await rename(temporary, pathOf(name))
      } catch (error) {
        await rm(temporary, { force: true })
        throw error
      }
    },
  }
}
