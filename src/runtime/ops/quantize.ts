import { quantizeScalesKernel, quantizeValuesKernel } from '../../kernels/quantize.ts'
import { expect } from '../shape.ts'
import type { Tensor } from '../tensor.ts'
import { expectOffTape } from './cast.ts'

/** An int8 weight: row i stands for values[i] · scales[i]. Frozen: it has no gradient. */
export interface QuantizedWeight {
  /** [out, in] */
  readonly values: Tensor<'i8'>
  /** [out] */
  readonly scales: Tensor<'f32'>
}

/**
 * A linear layer's weight in int8, one scale for each output: symmetric, scale = max |row| / 127,
 * rounded to nearest with ties to even, so |error| ≤ scale / 2. A quarter of the memory. A row that is
 * not finite gets the scale NaN. Outside the tape.
 *
 * @param weight [out, in]
 * @throws KeeplightError `validation` when weight is not f32 [out, in], or a gradient is to flow through it
 */
export function quantize(weight: Tensor<'f32'>): QuantizedWeight {
  const { device, shape, size } = weight
  weight.assertAlive('quantize')
  expect(weight.dtype === 'f32' && shape.length === 2, 'quantize', () => {
    return `weight is ${weight.toString()}, expected f32[out, in]`
  })
  expectOffTape('quantize', weight)
  const [rows, columns] = shape as [number, number]
  const scales = device.empty([rows])
  const values = device.empty(shape, 'i8')
  device.dispatch(quantizeScalesKernel, { x: weight, scales }, { rows, columns })
  device.dispatch(quantizeValuesKernel, { x: weight, scales, values }, { size, columns })
  return { values, scales }
}
