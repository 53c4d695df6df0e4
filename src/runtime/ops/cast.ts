import { toF16Kernel, toF32Kernel } from '../../kernels/cast.ts'
import { expect } from '../shape.ts'
import { needsGradient } from '../tape.ts'
import type { Tensor } from '../tensor.ts'

/** Only f32 tensors carry gradients, so a cast would cut the tape without a word. */
export function expectOffTape(op: string, x: Tensor): void {
  expect(!needsGradient(x), op, () => {
    return (
      `${x.toString()} requires a gradient, which would end here; ` +
      `wrap the call in withoutTape() if that is meant`
    )
  })
}

function expectDtype(op: string, x: Tensor, dtype: string): void {
  expect(x.dtype === dtype, op, () => `x is ${x.toString()}, expected ${dtype}`)
}

/**
 * x in 16-bit floats: rounded to nearest, ties to even; beyond 65,519 infinity. Outside the tape.
 *
 * @throws KeeplightError `validation` when x is not f32, or a gradient is to flow through it
 */
export function toF16(x: Tensor<'f32'>): Tensor<'f16'> {
  x.assertAlive('toF16')
  expectDtype('toF16', x, 'f32')
  expectOffTape('toF16', x)
  const out = x.device.empty(x.shape, 'f16')
  x.device.dispatch(toF16Kernel, { x, out }, { size: x.size })
  return out
}

/**
 * x in 32-bit floats, exactly. Outside the tape.
 *
 * @throws KeeplightError `validation` when x is not f16
 */
export function toF32(x: Tensor<'f16'>): Tensor<'f32'> {
  x.assertAlive('toF32')
  expectDtype('toF32', x, 'f16')
  expectOffTape('toF32', x)
  const out = x.device.empty(x.shape, 'f32')
  x.device.dispatch(toF32Kernel, { x, out }, { size: x.size })
  return out
}
