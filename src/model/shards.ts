import { KeeplightError } from '../runtime/errors.ts'
import type { ByteSource } from './byteRange.ts'
import { someOf } from './misfit.ts'
import {
  MAX_HEADER_BYTES,
  MAX_TENSORS,
  checkHeaderText,
  show,
  type TensorInfo,
} from './safetensorsHeader.ts'

/** A checkpoint in several files, described by a `model.safetensors.index.json`. */
export interface ShardedSource {
  /** What errors call it: the index's path or address. */
  readonly name: string
  /** The index's text: `{ "weight_map": { tensor: file, … }, … }`. */
  readonly index: string
  /** Opens a file by its name in the index, which is relative to the index. */
  open(file: string): Promise<ByteSource>
}

const MAX_SHARDS = 1000
/** Headers that are read at the same time. */
const LANES = 4

/**
 * Opens every file of an index and checks that each tensor lies where the index says and nowhere else.
 *
 * @returns the files in the order of their names
 * @throws KeeplightError `format` with the names of the tensors that don't fit
 */
export async function openShards<Part extends { tensors: ReadonlyMap<string, TensorInfo> }>(
  name: string,
  index: string,
  open: (file: string) => Promise<ByteSource>,
  openPart: (source: ByteSource, signal?: AbortSignal) => Promise<Part>,
  signal?: AbortSignal,
): Promise<Part[]> {
  const places = parseIndex(name, index)
  const files = [...new Set(places.values())].sort()
  if (files.length > MAX_SHARDS) {
    throw malformed(name, `${files.length} files, at most ${MAX_SHARDS} are read`)
  }
  const sources: ByteSource[] = []
  const parts = new Map<string, Part>()
  try {
    for (let start = 0; start < files.length; start += LANES) {
      const opened = files.slice(start, start + LANES).map(async (file) => {
        const source = await open(file)
        sources.push(source)
        parts.set(file, await openPart(source, signal))
      })
      // All are waited for, so that none is left open after an error.
      const failed = (await Promise.allSettled(opened)).find(({ status }) => status === 'rejected')
      if (failed) throw (failed as PromiseRejectedResult).reason
    }
    checkPlaces(name, places, parts)
  } catch (error) {
    await Promise.all(sources.map(async (source) => source.close?.()))
    throw error
  }
  return files.map((file) => parts.get(file)!)
}

function checkPlaces(
  name: string,
  places: ReadonlyMap<string, string>,
  parts: ReadonlyMap<string, { tensors: ReadonlyMap<string, TensorInfo> }>,
): void {
  const found = new Map<string, string[]>()
  for (const [file, { tensors }] of parts) {
    for (const tensor of tensors.keys()) {
      const files = found.get(tensor)
      if (files) files.push(file)
      else found.set(tensor, [file])
    }
  }
  const nowhere: string[] = []
  const elsewhere: string[] = []
  for (const [tensor, file] of places) {
    const files = found.get(tensor)
    if (!files) nowhere.push(`${show(tensor)} (${file})`)
    else if (!files.includes(file)) elsewhere.push(`${show(tensor)} (${files[0]!}, not ${file})`)
  }
  const twice = [...found].filter(([, files]) => files.length > 1)
  const unlisted = [...found.keys()].filter((tensor) => !places.has(tensor))
  const problems = [
    someOf('in no file though the index lists them', nowhere),
    someOf('in another file than the index says', elsewhere),
    someOf(
      'in two files',
      twice.map(([tensor, files]) => `${show(tensor)} (${files.slice(0, 2).join(' and ')})`),
    ),
    someOf('in a file but not in the index', unlisted.map(show)),
  ].filter((problem) => problem !== undefined)
  if (problems.length > 0) throw malformed(name, `tensors do not fit it: ${problems.join('; ')}`)
}

function parseIndex(name: string, index: string): Map<string, string> {
  if (index.length > MAX_HEADER_BYTES) {
    throw malformed(name, `${index.length} characters, at most ${MAX_HEADER_BYTES} are read`)
  }
  let value: unknown
  try {
    checkHeaderText(index, { anyValues: true })
    value = JSON.parse(index)
  } catch (cause) {
    const why = cause instanceof KeeplightError ? cause.message : 'it is not valid JSON'
    throw malformed(name, why.replace(/^safetensors: /, '').replace(/\. .*$/, ''), cause)
  }
  const map = isObject(value) ? value['weight_map'] : undefined
  if (!isObject(map)) throw malformed(name, 'expected an object "weight_map" from tensors to files')
  const places = new Map<string, string>()
  for (const [tensor, file] of Object.entries(map)) {
    if (typeof file !== 'string' || !isPlainPath(file)) {
      throw malformed(
        name,
        `tensor ${show(tensor)} lies in ${show(file)}, expected the name of a file beside the index`,
      )
    }
    places.set(tensor, file)
  }
  if (places.size === 0 || places.size > MAX_TENSORS) {
    throw malformed(name, `${places.size} tensors, expected 1 to ${MAX_TENSORS}`)
  }
  return places
}

/** A path below the index: nothing that leads out of its folder or to another host. */
const isPlainPath = (path: string): boolean =>
  path.split('/').every((part) => part !== '' && part !== '.' && part !== '..') &&
  // Besides separators of Windows and addresses: what makes a query or an escape of an address.
  !/[\\:?#%\p{Cc}]/u.test(path)

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const malformed = (name: string, problem: string, cause?: unknown): KeeplightError =>
  new KeeplightError(
    'format',
    `${name}: the index of a sharded checkpoint does not hold: ${problem}. ` +
      'Get the index and its files again, from one revision.',
    { cause },
  )
