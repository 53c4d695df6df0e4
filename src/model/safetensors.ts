import { KeeplightError } from '../runtime/errors.ts'
import { bfloat16sToFloats, halvesToFloats } from './half.ts'
import {
  DTYPES,
  MAX_HEADER_BYTES,
  MAX_TENSORS,
  METADATA,
  byteCount,
  hasLoneSurrogate,
  isDtype,
  parseHeader,
  show,
} from './safetensorsHeader.ts'
import type { SafetensorsDtype, TensorInfo } from './safetensorsHeader.ts'

export { MAX_HEADER_BYTES, MAX_TENSORS } from './safetensorsHeader.ts'
export type { SafetensorsDtype, TensorInfo } from './safetensorsHeader.ts'

/**
 * safetensors files: an 8-byte little-endian header length N, N bytes of JSON, then the data.
 * Everything is checked before a byte is handed out, at least as strictly as by the reference
 * implementation (huggingface/safetensors, `safetensors/src/tensor.rs`).
 */

export interface SafetensorsFile {
  /** By name, in the order of the data. */
  readonly tensors: ReadonlyMap<string, TensorInfo>
  readonly metadata: ReadonlyMap<string, string>
  /** A view of the tensor's bytes in the file: not aligned, not a copy. */
  bytes(name: string): Uint8Array
  /** The values of an F16, BF16, F32 or F64 tensor as a new array; other dtypes throw. */
  float32(name: string): Float32Array<ArrayBuffer>
  /** The values of a BOOL or integer tensor as a new array; others, and values out of range, throw. */
  int32(name: string): Int32Array<ArrayBuffer>
}

/** A tensor to write; `data` holds its bytes, row-major and little-endian. */
export interface TensorData {
  readonly dtype: SafetensorsDtype
  readonly shape: readonly number[]
  readonly data: ArrayBufferView
}

/**
 * Reads and validates a safetensors file.
 *
 * @param data the whole file; `bytes` returns views of it, so it must not change afterwards
 * @throws KeeplightError `format`: anything in the file that the format doesn't allow
 */
export function parseSafetensors(data: ArrayBuffer | Uint8Array): SafetensorsFile {
  const file = data instanceof Uint8Array ? data : new Uint8Array(data)
  const { tensors, metadata, dataStart } = parseHeader(file)
  return new ParsedFile(file.subarray(dataStart), tensors, metadata)
}

class ParsedFile implements SafetensorsFile {
  readonly tensors: ReadonlyMap<string, TensorInfo>
  readonly metadata: ReadonlyMap<string, string>
  readonly #data: Uint8Array

  constructor(
    data: Uint8Array,
    tensors: ReadonlyMap<string, TensorInfo>,
    metadata: ReadonlyMap<string, string>,
  ) {
    this.#data = data
    this.tensors = tensors
    this.metadata = metadata
  }

  bytes(name: string): Uint8Array {
    const { begin, end } = this.#info(name)
    return this.#data.subarray(begin, end)
  }

  float32(name: string): Float32Array<ArrayBuffer> {
    const { dtype } = this.#info(name)
    const buffer = this.#copy(name)
    switch (dtype) {
      case 'F32':
        return new Float32Array(buffer)
      case 'F16':
        return halvesToFloats(new Uint16Array(buffer))
      case 'BF16':
        return bfloat16sToFloats(new Uint16Array(buffer))
      case 'F64':
        return Float32Array.from(new Float64Array(buffer))
      default:
        throw unfit(`tensor ${show(name)} should be F16, BF16, F32 or F64, it is ${dtype}`)
    }
  }

  int32(name: string): Int32Array<ArrayBuffer> {
    const values = this.#integers(name)
    const result = new Int32Array(values.length)
    for (let i = 0; i < values.length; i++) {
      result[i] = Number(values[i])
      if (result[i] !== Number(values[i])) {
        throw unfit(
          `tensor ${show(name)} should fit into 32-bit integers, element ${i} is ${values[i]}`,
        )
      }
    }
    return result
  }

  #integers(name: string): ArrayLike<number | bigint> {
    const { dtype } = this.#info(name)
    const buffer = this.#copy(name)
    switch (dtype) {
      case 'BOOL':
      case 'U8':
        return new Uint8Array(buffer)
      case 'I8':
        return new Int8Array(buffer)
      case 'U16':
        return new Uint16Array(buffer)
      case 'I16':
        return new Int16Array(buffer)
      case 'U32':
        return new Uint32Array(buffer)
      case 'I32':
        return new Int32Array(buffer)
      case 'U64':
        return new BigUint64Array(buffer)
      case 'I64':
        return new BigInt64Array(buffer)
      default:
        throw unfit(`tensor ${show(name)} should be of BOOL or an integer dtype, it is ${dtype}`)
    }
  }

  /** The tensor's bytes in a buffer of their own: files of other writers need not be aligned. */
  #copy(name: string): ArrayBuffer {
    const bytes = this.bytes(name)
    const copy = new Uint8Array(bytes.length)
    copy.set(bytes)
    return copy.buffer
  }

  #info(name: string): TensorInfo {
    const info = this.tensors.get(name)
    if (info === undefined) {
      const names = [...this.tensors.keys()]
      throw unfit(
        `no tensor ${show(name)} in the file; it has ${names.length}, the first are ` +
          (names.slice(0, 5).join(', ') || 'none'),
      )
    }
    return info
  }
}

function unfit(problem: string): KeeplightError {
  const remedy = 'Check that the file belongs to what it is read for'
  return new KeeplightError('format', `safetensors: ${problem}. ${remedy}.`)
}

function unwritable(problem: string): KeeplightError {
  return new KeeplightError('validation', `safetensors writer: ${problem}.`)
}

/**
 * A safetensors file as the reference writer lays it out: widest dtypes first, then by name, the
 * header padded with spaces so that the data is aligned.
 *
 * @throws KeeplightError `validation`: data that doesn't fit its shape, or names the format forbids
 */
export function serializeSafetensors(
  tensors: Readonly<Record<string, TensorData>>,
  metadata?: Readonly<Record<string, string>>,
): Uint8Array<ArrayBuffer> {
  const encoder = new TextEncoder()
  const entries = Object.entries(tensors).map(([name, tensor]) => {
    checkWritable(name, tensor)
    return { name, tensor, order: DTYPES.indexOf(tensor.dtype), key: encoder.encode(name) }
  })
  if (entries.length > MAX_TENSORS) {
    throw unwritable(`${entries.length} tensors, at most ${MAX_TENSORS} fit into one file`)
  }
  entries.sort((a, b) => b.order - a.order || compareBytes(a.key, b.key))

  const parts: string[] = []
  if (metadata !== undefined) {
    const pairs = Object.entries(metadata)
    if (pairs.length > MAX_TENSORS) {
      throw unwritable(`${pairs.length} metadata entries, at most ${MAX_TENSORS} are allowed`)
    }
    for (const [key, value] of pairs) {
      if (key === '__proto__' || typeof value !== 'string' || hasLoneSurrogate(`${key} ${value}`)) {
        throw unwritable(`metadata entry ${show(key)} needs Unicode strings, found ${show(value)}`)
      }
    }
    parts.push(`"${METADATA}":${JSON.stringify(metadata)}`)
  }
  let end = 0
  for (const { name, tensor } of entries) {
    const begin = end
    end += tensor.data.byteLength
    parts.push(
      `${JSON.stringify(name)}:{"dtype":"${tensor.dtype}",` +
        `"shape":[${tensor.shape.join(',')}],"data_offsets":[${begin},${end}]}`,
    )
  }
  const header = encoder.encode(`{${parts.join(',')}}`)
  const headerLength = Math.ceil(header.length / 8) * 8
  if (headerLength > MAX_HEADER_BYTES) {
    throw unwritable(`a header of ${headerLength} bytes, at most ${MAX_HEADER_BYTES} are allowed`)
  }

  const file = new Uint8Array(8 + headerLength + end)
  new DataView(file.buffer).setUint32(0, headerLength, true)
  file.set(header, 8)
  file.fill(0x20, 8 + header.length, 8 + headerLength)
  let offset = 8 + headerLength
  for (const { tensor } of entries) {
    const { buffer, byteOffset, byteLength } = tensor.data
    file.set(new Uint8Array(buffer, byteOffset, byteLength), offset)
    offset += byteLength
  }
  return file
}

function checkWritable(name: string, { dtype, shape, data }: TensorData): void {
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
  if (bytes !== data.byteLength) {
    throw unwritable(
      `tensor ${show(name)}: ${dtype} of shape ${show(shape)} takes ${bytes} bytes, ` +
        `got ${data.byteLength}`,
    )
  }
}

/** UTF-8 byte order, in which the reference writer sorts names. */
function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const length = Math.min(a.length, b.length)
  for (let i = 0; i < length; i++) if (a[i] !== b[i]) return a[i] - b[i]
  return a.length - b.length
}
