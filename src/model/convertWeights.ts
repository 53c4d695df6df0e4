import { KeeplightError } from '../runtime/errors.ts'
import { joinPieces, type Slot } from './checkpoint.ts'
import { floatsToHalves } from './half.ts'
import { dequantizeRows, quantizeRows, type QuantizedRows } from './quantizeRows.ts'
import { toFloats, type StoredTensor } from './storedTensor.ts'

/** How weights of linear layers are kept on the device; everything else is f32. */
export type WeightDtype = 'f32' | 'f16' | 'int8'

/** A weight as it goes to the device: f32, bits of f16, or int8 with its scales. */
export type HostMatrix = Float32Array | Uint16Array<ArrayBuffer> | QuantizedRows

/** The tensors of a slot's pieces; `scales` of I8 ones. */
export interface StoredPiece {
  readonly values: StoredTensor
  readonly scales: StoredTensor | undefined
}

/** A slot's values as f32. */
export function floatsOf(slot: Slot, parts: readonly StoredPiece[]): Float32Array {
  const floats = parts.map(({ values, scales }, i) => {
    if (values.dtype !== 'I8') return toFloats(slot.pieces[i]!.name, values)
    return dequantizeRows(rowsOf(values, scales!))
  })
  return joinPieces(slot, floats)
}

const rowsOf = (values: StoredTensor, scales: StoredTensor): QuantizedRows => ({
  values: new Int8Array(values.bytes.buffer),
  scales: new Float32Array(scales.bytes.buffer),
})

/**
 * A matrix in the dtype that it is kept in. Weights that the file has in it keep their bits.
 *
 * @param floats its values as f32
 * @throws KeeplightError `format` when a value is too large for f16
 */
export function convertMatrix(
  slot: Slot<'matrix'>,
  parts: readonly StoredPiece[],
  floats: Float32Array,
  dtype: WeightDtype,
): HostMatrix {
  const [rows, columns] = slot.shape as [number, number]
  const stored = (dtype: string): boolean => parts.every(({ values }) => values.dtype === dtype)
  if (dtype === 'f16') {
    if (stored('F16')) {
      const bits = parts.map(({ values }) => new Uint16Array(values.bytes.buffer))
      return joinPieces(slot, bits)
    }
    const halves = floatsToHalves(floats)
    const beyond = halves.findIndex((bits) => (bits & 0x7fff) === 0x7c00)
    if (beyond >= 0) {
      throw new KeeplightError(
        'format',
        `${slot.label}: ${floats[beyond]} is beyond f16's 65,504; load the model with dtype 'f32' or 'int8'`,
      )
    }
    return halves
  }
  if (dtype === 'int8') {
    const transposed = slot.pieces.some((piece) => piece.transposed)
    if (!stored('I8') || transposed) return quantizeRows(floats, rows, columns)
    const quantized = parts.map(({ values, scales }) => rowsOf(values, scales!))
    const scales = new Float32Array(rows)
    let row = 0
    for (const part of quantized) {
      scales.set(part.scales, row)
      row += part.scales.length
    }
    return {
      values: joinPieces(
        slot,
        quantized.map(({ values }) => values),
      ),
      scales,
    }
  }
  return floats
}

/** @throws KeeplightError `format` when a weight is NaN or infinite: no feature would be one */
export function assertFinite({ label }: Slot, values: Float32Array): void {
  for (let i = 0; i < values.length; i++) {
    // Neither NaN nor infinity is equal to itself less itself.
    if (values[i] - values[i] !== 0) {
      throw new KeeplightError(
        'format',
        `${label}: element ${i} is ${values[i]}, expected finite weights; get the file again from its source`,
      )
    }
  }
}
