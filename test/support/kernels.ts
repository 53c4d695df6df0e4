import type { Kernel, KernelVariant } from '../../src/kernels/kernel.ts'
import type { Device } from '../../src/runtime/device.ts'
import type { Shape } from '../../src/runtime/shape.ts'
import { scope, type Tensor, type TensorArray } from '../../src/runtime/tensor.ts'
import { sizeOf } from '../../src/runtime/shape.ts'

export interface Operand {
  readonly data: TensorArray
  readonly shape: Shape
}

/**
 * Runs one kernel on the given inputs. Outputs start as NaN, so an element that the kernel leaves
 * out fails any comparison.
 */
export async function runKernel<B extends string, P extends string>(
  device: Device,
  kernel: Kernel<B, P>,
  inputs: Readonly<Record<string, Operand>>,
  outputs: Readonly<Record<string, Shape>>,
  params: Readonly<Record<P, number>>,
): Promise<Record<string, Float32Array>> {
  const tensors: Record<string, Tensor> = {}
  for (const [name, { data, shape }] of Object.entries(inputs)) {
    tensors[name] = device.tensor(data, shape)
  }
  for (const [name, shape] of Object.entries(outputs)) {
    tensors[name] = device.tensor(new Float32Array(sizeOf(shape)).fill(NaN), shape)
  }
  scope(() => device.dispatch(kernel, tensors as Record<B, Tensor>, params))
  const results: Record<string, Float32Array> = {}
  for (const name of Object.keys(outputs)) {
    results[name] = (await tensors[name]!.read()) as Float32Array
  }
  Object.values(tensors).forEach((tensor) => tensor.dispose())
  return results
}

/** The variants of a kernel family that the device can run. */
export function kernelVariants({ kernelVariant }: Device): KernelVariant[] {
  return kernelVariant === 'tile' ? ['tile'] : ['tile', kernelVariant]
}
