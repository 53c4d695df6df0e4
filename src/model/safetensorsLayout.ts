import { KeeplightError } from '../runtime/errors.ts'
import {
  DTYPES,
  MAX_HEADER_BYTES,
  MAX_TENSORS,
  METADATA,
  byteCount,
  hasLoneSurrogate,
  isDtype,
  show,
} from './safetensorsHeader.ts'
import type { SafetensorsDtype } from './safetensorsHeader.ts'

/** What a tensor of a file to be written is, without its bytes. */
export interface TensorSpec {
  readonly dtype: SafetensorsDtype
  readonly shape: readonly number[]
}

/** Where everything of a file to be written goes. */
export interface SafetensorsLayout {
  /** The file's first bytes: length, JSON, padding. */
  readonly header: Uint8Array<ArrayBuffer>
  /** First byte in the file and one past the last, by tensor, in the order of the file. */
  readonly places: ReadonlyMap<string, { readonly begin: number; readonly end: number }>
  /** Bytes of the whole file. */
  readonly size: number
}

/**
 * Lays a safetensors file out as the reference writer does: widest dtypes first, then by name, the
 * header padded with spaces so that the data is aligned.
 *
 * @throws KeeplightError `validation`: shapes or names that the format forbids
 */
export function layoutSafetensors(
  tensors: Readonly<Record<string, TensorSpec>>,
  metadata?: Readonly<Record<string, string>>,
): SafetensorsLayout {
  const encoder = new TextEncoder()
  const entries = Object.entries(tensors).map(([name, { dtype, shape }]) => {
    const bytes = bytesOf(name, { dtype, shape })
    return { name, dtype, shape, bytes, order: DTYPES.indexOf(dtype), key: encoder.encode(name) }
  })
  if (entries.length > MAX_TENSORS) {
    throw unwritable(`${entries.length} tensors, at most ${MAX_TENSORS} fit into one file`)
  }
  entries.sort((a, b) => b.order - a.order || compareBytes(a.key, b.key))

  const parts: string[] = []
  if (metadata !== undefined) parts.push(metadataJson(metadata))
  const offsets: [number, number][] = []
  let end = 0
  for (const { name, dtype, shape, bytes } of entries) {
    offsets.push([end, (end += bytes)])
    parts.push(
      `${JSON.stringify(name)}:{"dtype":"${dtype}",` +
        `"shape":[${shape.join(',')}],"data_offsets":[${offsets.at(-1)!.join(',')}]}`,
    )
  }
  const json = encoder.encode(`{${parts.join(',')}}`)
  const length = Math.ceil(json.length / 8) * 8
  if (length > MAX_HEADER_BYTES) {
    throw unwritable(`a header of ${length} bytes, at most ${MAX_HEADER_BYTES} are allowed`)
  }
  const header = new Uint8Array(8 + length).fill(0x20, 8)
  header.fill(0, 0, 8)
  new DataView(header.buffer).setUint32(0, length, true)
  header.set(json, 8)
  const places = entries.map(({ name }, i) => {
    const [begin, after] = offsets[i]
    return [name, { begin: header.length + begin, end: header.length + after }] as const
  })
  return { header, places: new Map(places), size: header.length + end }
}

export function unwritable(problem: string): KeeplightError {
  return new KeeplightError('validation', `safetensors writer: ${problem}.`)
}

function metadataJson(metadata: Readonly<Record<string, string>>): string {
  const pairs = Object.entries(metadata)
  if (pairs.length > MAX_TENSORS) {
    throw unwritable(`${pairs.length} metadata entries, at most ${MAX_TENSORS} are allowed`)
  }
  for (const [key, value] of pairs) {
    if (key === '__proto__' || typeof value !== 'string' || hasLoneSurrogate(`${key} ${value}`)) {
      throw unwritable(`metadata entry ${show(key)} needs Unicode strings, found ${show(value)}`)
    }
  }
  return `"${METADATA}":${JSON.stringify(metadata)}`
}

function bytesOf(name: string, { dtype, shape }: TensorSpec): number {
  if (name === METADATA || name === '__proto__' || hasLoneSurrogate(name)) {
    throw unwritable(`${show(name)} cannot be the name of a tensor`)
  }
  if (!isDtype(dtype)) {
    throw unwritable(
      `tensor ${show(name)} needs a dtype of ${DTYPES.join(', ')}, got ${show(dtype)}`,
    )
  }
  const bytes = byteCount(dtype, shape)
  if (typeof bytes === 'string') throw unwritable(`tensor ${show(name)}: ${bytes}`)
  return bytes
}

/** UTF-8 byte order, in which the reference writer sorts names. */
function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const length = Math.min(a.length, b.length)
  for (let i = 0; i < length; i++) if (a[i] !== b[i]) return a[i] - b[i]
  return a.length - b.length
}
