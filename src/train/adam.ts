import { adamKernel } from '../kernels/adam.ts'
import type { Parameters } from '../runtime/parameters.ts'
import type { Tensor } from '../runtime/tensor.ts'
import { expectFlat, type ParameterGroups } from './parameterGroups.ts'
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
  state: AdamState,
  schedule: Tensor<'f32'>,
  step: Tensor<'u32'>,
  options: AdamOptions = adamDefaults,
): void {
  update('adam', parameters, state, schedule, step, undefined, options)
}

/**
 * One AdamW step: Adam with weight decay apart from the gradient (Loshchilov & Hutter 2019), in one
 * dispatch. As PyTorch's, the decay is lr·decay·w.
 *
 * @param schedule [steps, 4], see `adamTable`
 * @param step [1], the number of steps done; read on the GPU
 * @param groups learning-rate factors and decays, see `parameterGroups`
 */
export function adamW(
  parameters: Parameters,
  state: AdamState,
  schedule: Tensor<'f32'>,
  step: Tensor<'u32'>,
  groups: ParameterGroups,
  options: AdamOptions = adamDefaults,
): void {
  update('adamW', parameters, state, schedule, step, groups, options)
}

function update(
  op: string,
  { device, values, gradients }: Parameters,
  { moments, squares }: AdamState,
  schedule: Tensor<'f32'>,
  step: Tensor<'u32'>,
  groups: ParameterGroups | undefined,
  { beta1, beta2, eps }: AdamOptions,
): void {
  expectFlat(op, values, { moments, squares }, groups)
  device.dispatch(
    adamKernel({ groups: groups !== undefined }),
    // The kernel binds the groups only when it has some.
    { gradients, schedule, step, groups: groups?.table ?? schedule, values, moments, squares },
    {
      quads: values.size / 4,
      block: (groups?.block ?? 4) / 4,
      steps: schedule.shape[0]!,
      beta2,
      complement1: 1 - beta1,
      complement2: 1 - beta2,
      eps,
    },
  )
}
