import { KeeplightError } from '../runtime/errors.ts'
import type { Shape } from '../runtime/shape.ts'
import { bfloat16sToFloats, halvesToFloats } from './half.ts'
import { show, type SafetensorsDtype } from './safetensorsHeader.ts'

/** A tensor as its file has it. */
export interface StoredTensor {
  readonly dtype: SafetensorsDtype
  readonly shape: Shape
  /** Row-major, little-endian, in a buffer of its own. */
  readonly bytes: Uint8Array<ArrayBuffer>
}

/** Dtypes that weights may have; I8 beside its scales, see {@link scalesNames}. */
export const WEIGHT_DTYPES: readonly SafetensorsDtype[] = ['F32', 'F16', 'BF16', 'F64', 'I8']

/**
 * Where the scales of an I8 weight [out, ...] may lie: F32 [out] or [out, 1], one for each output, so
 * that row i stands for values[i] · scales[i]. Without them an I8 tensor has no meaning as a weight.
 */
export const scalesNames = (name: string): readonly string[] => [`${name}.scale`, `${name}_scale`]

/**
 * The values as f32, exactly but for F64, which is rounded once.
 *
 * @throws KeeplightError `format` when they are no floats
 */
export function toFloats(name: string, { dtype, bytes }: StoredTensor): Float32Array<ArrayBuffer> {
  const { buffer } = bytes
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
      throw new KeeplightError(
        'format',
        `safetensors: tensor ${show(name)} should be F16, BF16, F32 or F64, it is ${dtype}. ` +
          'Check that the file belongs to what it is read for.',
      )
  }
}
