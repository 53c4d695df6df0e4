import { expect } from 'vitest'
import type { Kernel, KernelVariant } from '../../src/kernels/kernel.ts'
import type { Device } from '../../src/runtime/device.ts'
import { sizeOf, type Shape } from '../../src/runtime/shape.ts'
import { Tensor } from '../../src/runtime/tensor.ts'
import { dtypeOf, type TensorArray } from '../../src/runtime/dtype.ts'
import { leaveOut } from './leftOut.ts'

export interface Operand {
  readonly data: TensorArray
  readonly shape: Shape
}

/** Values on each side of an output: 4 KiB. */
const SENTINELS = 1024
const SENTINEL = 1234.5

/**
 * Runs one kernel on the given inputs. Outputs start as NaN, so an element that the kernel leaves
 * out fails any comparison; they lie between 4 KiB of sentinels, which must all still be there.
 */
export async function runKernel<B extends string, P extends string>(
  device: Device,
  kernel: Kernel<B, P>,
  inputs: Readonly<Record<string, Operand>>,
  outputs: Readonly<Record<string, Shape>>,
  params: Readonly<Record<P, number>>,
): Promise<Record<string, Float32Array>> {
  const tensors: Record<string, Tensor> = {}
  for (const [name, operand] of Object.entries(inputs)) tensors[name] = framed(device, operand)
  const frames = new Map<string, Tensor>()
  for (const [name, shape] of Object.entries(outputs)) {
    const size = sizeOf(shape)
    const data = new Float32Array(size + 2 * SENTINELS).fill(SENTINEL)
    data.fill(NaN, SENTINELS, SENTINELS + size)
    const frame = device.tensor(data, [data.length])
    frames.set(name, frame)
    tensors[name] = new Tensor(device, frame.allocation, shape, 'f32', SENTINELS * 4)
  }
  device.dispatch(kernel, tensors as Record<B, Tensor>, params)
  const results: Record<string, Float32Array> = {}
  for (const [name, frame] of frames) {
    const data = (await frame.read()) as Float32Array
    const outside = [...data.subarray(0, SENTINELS), ...data.subarray(data.length - SENTINELS)]
    const changed = outside.filter((value) => value !== SENTINEL).length
    expect(changed, `${kernel.label}: values changed around ${name}`).toBe(0)
    results[name] = data.slice(SENTINELS, data.length - SENTINELS)
    frame.dispose()
  }
  Object.values(tensors).forEach((tensor) => tensor.dispose())
  return results
}

/** An input between NaN, so that a kernel which reads past its ends gives wrong results. */
function framed(device: Device, { data, shape }: Operand): Tensor {
  const words = new Uint32Array(Math.ceil(data.byteLength / 4) + 2 * SENTINELS).fill(0x7fc00000)
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
  new Uint8Array(words.buffer).set(bytes, SENTINELS * 4)
  const outer = device.tensor(words, [words.length])
  const inner = new Tensor(device, outer.allocation, shape, dtypeOf(data), SENTINELS * 4)
  outer.dispose()
  return inner
}

/** The variants of a kernel family that the device can run; the others are left out by name. */
export function kernelVariants(device: Device): KernelVariant[] {
  const { kernelVariant, adapter } = device
  const why = device.has('subgroups') ? `subgroups of ${adapter.subgroupSize}` : 'no subgroups'
  for (const [variant, lanes] of [
    ['subgroup8', 8],
    ['subgroup4', 4],
  ] as const) {
    if (variant !== kernelVariant) leaveOut(`kernels for ${lanes} lanes`, why)
  }
  return kernelVariant === 'tile' ? ['tile'] : ['tile', kernelVariant]
}
