import { dropoutMaskKernel } from '../../kernels/dropout.ts'
import { expect, expectShape } from '../shape.ts'
import type { Tensor } from '../tensor.ts'
import { multiply } from './elementwise.ts'

export interface DropoutOptions {
  /** Share of the elements that become 0, from 0 to below 1; the others grow by 1/(1 − rate). */
  readonly rate: number
  /** [R, 2]: step and seed of every run, read on the GPU: each replay of a plan drops others. */
  readonly state: Tensor<'u32'>
  /** Tells the layers of a model apart. Default 0. */
  readonly stream?: number
}

/**
 * Inverted dropout (Srivastava et al. 2014) of R runs, from the counter-based generator: what is dropped
 * is a function of a run's step and seed, the stream and the place in the run.
 *
 * @param x [R, ...]
 * @returns x's shape
 */
export function dropout(
  x: Tensor<'f32'>,
  { rate, state, stream = 0 }: DropoutOptions,
): Tensor<'f32'> {
  expect(rate >= 0 && rate < 1, 'dropout', () => `rate is ${rate}, expected from 0 to below 1`)
  const [runs = 1] = x.shape
  expectShape('dropout', 'state', state.shape, [runs, 2])
  const mask = x.device.empty(x.shape)
  const params = { runs, size: x.size / runs, stream, rate }
  x.device.dispatch(dropoutMaskKernel, { state, mask }, params)
  const out = multiply(x, mask)
  mask.dispose()
  return out
}
