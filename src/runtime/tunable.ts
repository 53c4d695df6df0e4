import type { Kernel } from '../kernels/kernel.ts'
import { randomUniform } from '../kernels/random.ts'
import type { KernelChoice } from './choice.ts'
import type { Device } from './device.ts'
import { sizeOf, type Shape } from './shape.ts'
import type { Tensor } from './tensor.ts'

/** A family of kernels that can be tuned: its choice, and cases to measure it on. */
export interface TunableFamily<P> {
  readonly choice: KernelChoice<P>
  /** Inputs of a problem's size, and what runs it. */
  trial(problem: P, device: Device): Trial
  /** The candidates worth measuring, where some are known to lose; left out: all. */
  worthwhile?(candidates: readonly string[], device: Device): readonly string[]
  /** A kernel of every variant that the device runs; a choice is stale once their text changes. */
  kernels(device: Device): readonly Kernel[]
}

export interface Trial {
  /** Enqueues the problem once, by whatever kernel the device's choices name. */
  run(): Tensor<'f32'>
  /**
   * How far two variants' results may be apart, in units of the result's largest absolute value: they
   * add up in another order.
   */
  readonly tolerance: number
  dispose(): void
}

/** Drawn once; a prime length, so that no row of a matrix repeats another. */
const drawn = Float32Array.from({ length: 8191 }, (_, i) => randomUniform(0, 0, i) * 2 - 1)

/** Uniform in [−1, 1). */
export function randomTensor(device: Device, shape: Shape, first = 0): Tensor<'f32'> {
  const values = new Float32Array(sizeOf(shape))
  for (let i = 0; i < values.length; i++) values[i] = drawn[(first + i) % drawn.length]!
  return device.tensor(values, shape)
}
