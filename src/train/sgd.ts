import { sgdKernel } from '../kernels/sgd.ts'
import type { Parameters } from '../runtime/parameters.ts'
import { expect } from '../runtime/shape.ts'
import type { Tensor } from '../runtime/tensor.ts'
import { expectFlat, type ParameterGroups } from './parameterGroups.ts'

export interface SgdOptions {
  /** μ, from 0 (plain gradient descent) to below 1. Default 0.9. */
  readonly momentum?: number
  /** Steps along g + μ·u in place of u (Nesterov's, as PyTorch has it). Default false. */
  readonly nesterov?: boolean
  /** Learning-rate factors and decays; the decay is added to the gradient. */
  readonly groups?: ParameterGroups
}

/**
 * One step of SGD with momentum over all parameters, in one dispatch, from the gradients in their
 * slots; PyTorch's form without dampening.
 *
 * @param velocity in the parameters' flat layout; zeros before the first step
 * @param schedule [steps, 4], see `sgdTable`
 * @param step [1], the number of steps done; read on the GPU
 */
export function sgd(
  { device, values, gradients }: Parameters,
  velocity: Tensor<'f32'>,
  schedule: Tensor<'f32'>,
  step: Tensor<'u32'>,
  { momentum = 0.9, nesterov = false, groups }: SgdOptions = {},
): void {
  expectFlat('sgd', values, { velocity }, groups)
  expect(momentum >= 0 && momentum < 1, 'sgd', () => {
    return `momentum is ${momentum}, expected from 0 to below 1`
  })
  device.dispatch(
    sgdKernel({ groups: groups !== undefined, nesterov }),
    // The kernel binds the groups only when it has some.
    { gradients, schedule, step, groups: groups?.table ?? schedule, values, velocity },
    {
      quads: values.size / 4,
      block: (groups?.block ?? 4) / 4,
      steps: schedule.shape[0]!,
      momentum,
    },
  )
}
