import { KeeplightError } from '../runtime/errors.ts'
import { toFloats } from './storedTensor.ts'
import { byteCount, parseHeader, show } from './safetensorsHeader.ts'
import type { SafetensorsDtype, TensorInfo } from './safetensorsHeader.ts'
import { layoutSafetensors, unwritable } from './safetensorsLayout.ts'

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
    const { dtype, shape } = this.#info(name)
    return toFloats(name, { dtype, shape, bytes: this.#copy(name) })
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
    const { buffer } = this.#copy(name)
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
  #copy(name: string): Uint8Array<ArrayBuffer> {
    const bytes = this.bytes(name)
    const copy = new Uint8Array(bytes.length)
    copy.set(bytes)
    return copy
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
  for (const [name, { dtype, shape, data }] of Object.entries(tensors)) {
    const bytes = byteCount(dtype, shape)
    if (typeof bytes === 'number' && bytes !== data.byteLength) {
      throw unwritable(
        `tensor ${show(name)}: ${dtype} of shape ${show(shape)} takes ${bytes} bytes, ` +
          `got ${data.byteLength}`,
      )
    }
  }
  const { header, places, size } = layoutSafetensors(tensors, metadata)
  const file = new Uint8Array(size)
  file.set(header)
  for (const [name, { begin }] of places) {
    const { buffer, byteOffset, byteLength } = tensors[name].data
    file.set(new Uint8Array(buffer, byteOffset, byteLength), begin)
  }
  return file
}
