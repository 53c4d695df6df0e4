/**
 * Element types of tensors. `f16` values cross the host as their bits (see `model/half.ts`), since
 * not every engine has a Float16Array yet; `i8` holds quantised weights and `u8` the
 * bytes of pictures, four to a word, lowest bits first.
 */
export type Dtype = 'f32' | 'f16' | 'u32' | 'i32' | 'i8' | 'u8'

/** Element types of real numbers. */
export type FloatDtype = 'f32' | 'f16'

export type TensorArray =
  Float32Array | Uint32Array | Int32Array | Uint16Array | Int8Array | Uint8Array

/** Host array of a dtype. */
export type ArrayOf<D extends Dtype> = {
  f32: Float32Array<ArrayBuffer>
  f16: Uint16Array<ArrayBuffer>
  u32: Uint32Array<ArrayBuffer>
  i32: Int32Array<ArrayBuffer>
  i8: Int8Array<ArrayBuffer>
  u8: Uint8Array<ArrayBuffer>
}[D]

const arrays = {
  f32: Float32Array,
  f16: Uint16Array,
  u32: Uint32Array,
  i32: Int32Array,
  i8: Int8Array,
  u8: Uint8Array,
} as const

export const bytesPerElement: Readonly<Record<Dtype, number>> = {
  f32: 4,
  f16: 2,
  u32: 4,
  i32: 4,
  i8: 1,
  u8: 1,
}

/** The dtype that an array uploads as. */
export function dtypeOf(data: TensorArray): Dtype {
  const found = Object.entries(arrays).find(([, array]) => data instanceof array)
  return found![0] as Dtype
}

/** The values of `count` elements whose bytes these are. */
export function arrayOf<D extends Dtype>(dtype: D, bytes: ArrayBuffer, count: number): ArrayOf<D> {
  return new arrays[dtype](bytes, 0, count) as unknown as ArrayOf<D>
}

/** The dtype that a type of array uploads as. */
export type DtypeOf<A extends TensorArray> = A extends Float32Array
  ? 'f32'
  : A extends Uint32Array
    ? 'u32'
    : A extends Int32Array
      ? 'i32'
      : A extends Uint16Array
        ? 'f16'
        : 'i8'

/** The bytes of `data`, filled up to the four that a write is rounded to. */
export function wholeWords(data: TensorArray): ArrayBufferView<ArrayBuffer> {
  if (data.byteLength % 4 === 0) return data as TensorArray & ArrayBufferView<ArrayBuffer>
  const padded = new Uint8Array(Math.ceil(data.byteLength / 4) * 4)
  padded.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
  return padded
}
