import type { Device } from '../runtime/device.ts'
import type { Adapter } from './adapter.ts'

/** Of a binding, what operands that are padded for packing leave of it. */
const BINDING_SHARE = 7 / 8
/** Copies of the parameters: values, gradients, two moments. */
const PARAMETER_COPIES = 4
/** Tensors of a layer that live until its gradient: before and after the norm, and gradients. */
const ACTIVATION_COPIES = 3

/**
 * How many runs train side by side. So many that
 *
 * - all their parameters, and the widest activations of all their rows, each fit 7/8 of one binding, so
 *   that no dispatch is cut and a step takes as many of them as for one run; and
 * - four copies of the parameters and three of every layer's activations fit `memory` bytes;
 *
 * and then as even as the number of groups allows. At least one run, whatever it takes.
 *
 * @param one an adapter of one run
 * @param rows of a batch
 * @returns numbers of runs, in order
 */
export function runGroups(
  device: Device,
  one: Adapter,
  rows: number,
  restarts: number,
  memory: number,
): number[] {
  const shapes = [...one.parameters.tensors.values()].map(({ shape }) => shape.slice(1))
  const matrices = shapes.filter((shape) => shape.length > 1)
  const widest = Math.max(one.outputs, ...matrices.flat())
  const parameters = one.parameters.values.byteLength
  const layers = matrices.reduce((sum, [width = 0]) => sum + width, 0)
  const activations = rows * layers * 4 * ACTIVATION_COPIES
  const binding = (BINDING_SHARE * device.maxBindingBytes) / Math.max(parameters, rows * widest * 4)
  const total = memory / (PARAMETER_COPIES * parameters + activations)
  const most = Math.max(1, Math.floor(Math.min(binding, total)))
  const groups = Math.ceil(restarts / most)
  return Array.from({ length: groups }, (_, group) => {
    return Math.floor(((group + 1) * restarts) / groups) - Math.floor((group * restarts) / groups)
  })
}
