import { expect } from 'vitest'
import { arrayOf, bytesPerElement, type Dtype, type TensorArray } from '../../src/runtime/dtype.ts'
import type { Device } from '../../src/runtime/device.ts'
import { sizeOf, type Shape } from '../../src/runtime/shape.ts'
import { Tensor } from '../../src/runtime/tensor.ts'

/** Bytes of sentinels on each side. */
const BORDER = 4096
const SENTINEL = 0x449a5000 // 1234.5
const POISON = 0xffffffff // NaN, and no index

export interface Framed<D extends Dtype> {
  readonly tensor: Tensor<D>
  /** Its values; fails when a kernel wrote outside of it. */
  read(): Promise<TensorArray>
}

/**
 * A tensor between 4 KiB of sentinels on both sides, for kernels that must stay inside. Without
 * `data` it holds what no kernel may leave there: NaN, or 2³² − 1.
 */
export function framed<D extends Dtype>(
  device: Device,
  dtype: D,
  shape: Shape,
  data?: TensorArray,
): Framed<D> {
  const bytes = sizeOf(shape) * bytesPerElement[dtype]
  const words = Math.ceil(bytes / 4)
  const border = BORDER / 4
  const filled = new Uint32Array(words + 2 * border).fill(SENTINEL)
  filled.fill(POISON, border, border + words)
  if (data) {
    new Uint8Array(filled.buffer, BORDER, bytes).set(
      new Uint8Array(data.buffer, data.byteOffset, bytes),
    )
  }
  const frame = device.tensor(filled, [filled.length])
  return {
    tensor: new Tensor(device, frame.allocation, shape, dtype, BORDER),
    async read() {
      const all = await frame.read()
      const outside = [...all.subarray(0, border), ...all.subarray(border + words)]
      const changed = outside.filter((word) => word !== SENTINEL).length
      expect(changed, `words changed around ${dtype}[${shape.join(', ')}]`).toBe(0)
      return arrayOf(dtype, all.slice(border, border + words).buffer, sizeOf(shape))
    },
  }
}
