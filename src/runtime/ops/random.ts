import { permutationKernel, randomFillKernel, type Distribution } from '../../kernels/randomFill.ts'
import type { Device } from '../device.ts'
import { expect, type Shape } from '../shape.ts'
import type { Tensor } from '../tensor.ts'

/**
 * Random tensors, made on the GPU. Numbers are a function of (seed, stream, index, step): Philox, so
 * the same ones everywhere, and functions of `kernels/random.ts` give single ones on the host.
 */
export interface RandomOptions {
  /** Default 0. */
  readonly seed?: number
  /** Which of the seed's 2³² independent streams. Default 0. */
  readonly stream?: number
  /** Index of the first number in the stream, below 2³⁴. Default 0. */
  readonly first?: number
  /**
   * u32 [1]: read on the GPU at every run of a plan, so that each draws other numbers once something
   * has counted it up. Left out: step 0.
   */
  readonly step?: Tensor<'u32'>
}

/** Uniform in [0, 1), multiples of 2⁻²⁴; element i is `randomUniform(seed, stream, first + i)`. */
export const uniform = (device: Device, shape: Shape, options: RandomOptions = {}): Tensor<'f32'> =>
  fill('uniform', device, device.empty(shape), options)

/**
 * Standard normal, at most 5.3 in size; element i is `randomNormal(seed, stream, first + i)`, up to
 * {@link NORMAL_TOLERANCE}, since adapters' logarithms differ.
 */
export const normal = (device: Device, shape: Shape, options: RandomOptions = {}): Tensor<'f32'> =>
  fill('normal', device, device.empty(shape), options)

/**
 * Largest relative difference between a normal of the GPU and its twin on the host: 8 units in the last
 * place, by WGSL's bound on logarithms; lavapipe and SwiftShader stay within 3.
 */
export const NORMAL_TOLERANCE = 8 * 2 ** -23

/** Whole numbers below `bound`; element i is `randomInteger(bound, seed, stream, first + i)`. */
export function integers(
  device: Device,
  shape: Shape,
  bound: number,
  options: RandomOptions = {},
): Tensor<'u32'> {
  expect(isWord(bound) && bound > 0, 'integers', () => {
    return `bound is ${bound}, expected 1 to 2³² − 1`
  })
  return fill('integer', device, device.empty(shape, 'u32'), options, bound)
}

/**
 * A random order of 0 … n − 1; element i is `permuteIndex(i, n, permutationKey(seed,
 * stream))`.
 *
 * @param n 1 to 2³¹
 * @returns u32 [n], every number once
 */
export function permutation(
  device: Device,
  n: number,
  { seed = 0, stream = 0, step }: Omit<RandomOptions, 'first'> = {},
): Tensor<'u32'> {
  expect(Number.isInteger(n) && n > 0 && n <= 2 ** 31, 'permutation', () => {
    return `n is ${n}, expected 1 to 2³¹`
  })
  checkKey('permutation', seed, stream)
  const out = device.empty([n], 'u32')
  withStep(device, step, (at) => {
    device.dispatch(permutationKernel, { step: at, out }, { size: n, seed, stream })
  })
  return out
}

function fill<D extends 'f32' | 'u32'>(
  distribution: Distribution,
  device: Device,
  out: Tensor<D>,
  { seed = 0, stream = 0, first = 0, step }: RandomOptions,
  bound = 0,
): Tensor<D> {
  checkKey(distribution, seed, stream)
  const { size } = out
  expect(Number.isSafeInteger(first) && first >= 0 && first + size <= 2 ** 34, distribution, () => {
    return `numbers ${first} to ${first + size} of a stream are asked for, expected 0 to 2³⁴`
  })
  const params = { size, seed, stream, block: Math.floor(first / 4), skip: first % 4, bound }
  withStep(device, step, (at) => {
    device.dispatch(randomFillKernel({ distribution }), { step: at, out }, params)
  })
  return out
}

const isWord = (value: number): boolean => Number.isInteger(value) && value >= 0 && value < 2 ** 32

function checkKey(op: string, seed: number, stream: number): void {
  for (const [name, value] of Object.entries({ seed, stream })) {
    expect(isWord(value), op, () => `${name} is ${value}, expected 0 to 2³² − 1`)
  }
}

function withStep(
  device: Device,
  step: Tensor<'u32'> | undefined,
  run: (step: Tensor<'u32'>) => void,
): void {
  const at = step ?? device.tensor(new Uint32Array(1), [1])
  run(at)
  if (!step) at.dispose()
}
