import type { Parameters } from '../runtime/parameters.ts'
import { expect, expectShape, type Shape } from '../runtime/shape.ts'
import { keep, type Tensor } from '../runtime/tensor.ts'

/** What an optimiser does differently for one parameter. */
export interface ParameterGroup {
  /** Factor on the learning rate; 0 freezes the parameter. Default 1. */
  readonly rate?: number
  /** Weight decay, at least 0. Default 0. */
  readonly decay?: number
}

/** Groups as the optimisers' kernels read them. */
export interface ParameterGroups {
  /** [blocks, 2]: factor on the learning rate and weight decay of every block of parameters. */
  readonly table: Tensor<'f32'>
  /** Parameters in a block: each tensor of a model starts a new one. */
  readonly block: number
}

/**
 * Learning-rate factors and weight decays by parameter.
 *
 * @param group called once for each parameter; `decayMatrices` is the usual choice
 * @returns dispose its `table` after use
 */
export function parameterGroups(
  parameters: Parameters,
  group: (name: string, shape: Shape) => ParameterGroup,
): ParameterGroups {
  const { device, values, tensors } = parameters
  const block = device.offsetAlignment / 4
  const table = new Float32Array((values.size / block) * 2)
  let row = 0
  for (const [name, { shape, size }] of tensors) {
    const { rate = 1, decay = 0 } = group(name, shape)
    for (const [what, value] of Object.entries({ rate, decay })) {
      expect(value >= 0 && Number.isFinite(value), 'parameterGroups', () => {
        return `the ${what} of ${name} is ${value}, expected a number from 0`
      })
    }
    for (const end = row + Math.ceil(size / block); row < end; row++) {
      table.set([rate, decay], row * 2)
    }
  }
  return { table: keep(device.constant(table, [table.length / 2, 2])), block }
}

/** Decays weight matrices and leaves biases, norms and other vectors alone. */
export const decayMatrices =
  (decay: number) =>
  (_name: string, shape: Shape): ParameterGroup =>
    shape.length > 1 ? { decay } : {}

/** The same of R runs side by side, whose parameters have one dimension more. */
export const decayMatricesOfRuns =
  (decay: number) =>
  (_name: string, shape: Shape): ParameterGroup =>
    shape.length > 2 ? { decay } : {}

/** @internal Checks that an optimiser's state and groups have the layout of the parameters. */
export function expectFlat(
  op: string,
  values: Tensor<'f32'>,
  state: Readonly<Record<string, Tensor<'f32'>>>,
  groups: ParameterGroups | undefined,
): void {
  for (const [name, { shape }] of Object.entries(state)) expectShape(op, name, shape, values.shape)
  if (groups) {
    expectShape(op, 'groups.table', groups.table.shape, [values.size / groups.block, 2])
  }
}
