import { adamKernel } from '../kernels/adam.ts'
import type { Parameters } from '../runtime/parameters.ts'
import type { Tensor } from '../runtime/tensor.ts'
import { adamDefaults, type AdamOptions } from './schedule.ts'

/** First and second moments of the gradients, in the parameters' flat layout. */
export interface AdamState {
  readonly moments: Tensor<'f32'>
  readonly squares: Tensor<'f32'>
}

/**
 * One Adam step over all parameters, in one dispatch, from the gradients in their slots.
 *
 * @param schedule [steps, 4], see `adamTable`
 * @param step [1], the number of steps done; read on the GPU
 */
export function adam(
  parameters: Parameters,
  { moments, squares }: AdamState,
  schedule: Tensor<'f32'>,
  step: Tensor<'u32'>,
  { beta1, beta2, eps }: AdamOptions = adamDefaults,
): void {
  const { device, values, gradients } = parameters
  device.dispatch(
    adamKernel,
    { gradients, schedule, step, values, moments, squares },
    {
      size: values.size,
      steps: schedule.shape[0]!,
      beta2,
      complement1: 1 - beta1,
      complement2: 1 - beta2,
      eps,
    },
  )
}
