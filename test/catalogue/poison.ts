import { Tensor, type Device } from '../../src/index.ts'
import { bytesPerElement, type Dtype } from '../../src/runtime/dtype.ts'
import { sizeOf, type Shape } from '../../src/runtime/shape.ts'
import { hold } from '../../src/runtime/tensor.ts'

/** Bytes on each side of a tensor that must not change. */
const GUARD = 4096
const SENTINEL = 0x449a5000 // the f32 1234.5

/** A tensor and the larger one around it. */
interface Frame {
  readonly outer: Tensor<'u32'>
  readonly bytes: number
  readonly made: string
}

/**
 * Makes a device whose uninitialised tensors, outputs and intermediates alike, hold `poison` and lie
 * between 4 KiB of sentinels. `check` throws when a sentinel changed; `restore` ends it.
 */
export function poisonDevice(device: Device, poison: 'NaN' | 42) {
  const word = poison === 'NaN' ? 0x7fc00000 : 0x42280000
  const original = device.empty
  const frames: Frame[] = []

  const framed = <D extends Dtype>(shape: Shape, dtype: D): Tensor<D> => {
    const bytes = sizeOf(shape) * bytesPerElement[dtype]
    const words = Math.ceil(bytes / 4)
    const data = new Uint32Array(words + (2 * GUARD) / 4).fill(SENTINEL)
    data.fill(word, GUARD / 4, GUARD / 4 + words)
    const outer = hold(device.tensor(data, [data.length]))
    frames.push({ outer, bytes, made: `${dtype}[${shape.join(', ')}]` })
    return new Tensor(device, outer.allocation, shape, dtype, GUARD)
  }

  device.empty = (<D extends Dtype = 'f32'>(shape: Shape, dtype: D = 'f32' as D): Tensor<D> =>
    framed(shape, dtype)) as Device['empty']

  return {
    /** Number of tensors that were framed. */
    get frames() {
      return frames.length
    },
    async check(): Promise<void> {
      for (const { outer, bytes, made } of frames) {
        const data = await outer.read()
        const end = GUARD / 4 + Math.ceil(bytes / 4)
        const outside = [...data.subarray(0, GUARD / 4), ...data.subarray(end)]
        const changed = outside.filter((value) => value !== SENTINEL).length
        if (changed > 0) throw new Error(`${changed} words changed around ${made}`)
      }
    },
    restore(): void {
      device.empty = original
      frames.forEach(({ outer }) => outer.dispose())
    },
  }
}
