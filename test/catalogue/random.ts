import { permutationKey, permute } from '../../src/kernels/permutation.ts'
import { philox, randomInteger, randomNormal, randomUniform } from '../../src/kernels/random.ts'
import { dropout, integers, normal, permutation, uniform } from '../../src/runtime/ops/index.ts'
import { NORMAL_TOLERANCE, type RandomOptions } from '../../src/runtime/ops/random.ts'
import type { Device } from '../../src/runtime/device.ts'
import type { Tensor } from '../../src/runtime/tensor.ts'
import { normal as gaussian, type OpCase } from './case.ts'

const COUNT = 131
const SEED = 7
const STREAM = 3
const RATE = 0.25
/** Fourth word of the counter in `kernels/dropout.ts`. */
const DROPOUT = 4

const entry = (
  op: string,
  dtype: string,
  run: (device: Device, options: RandomOptions) => Tensor,
  reference: (index: number) => number,
  tolerance = 0,
): OpCase => ({
  op,
  name: 'beside its twin on the host',
  dtype,
  inputs: { step: { data: Uint32Array.of(0), shape: [1] } },
  leaves: [],
  run: ({ step }) => {
    const options = { seed: SEED, stream: STREAM, step: step as Tensor as Tensor<'u32'> }
    return run(step!.device, options)
  },
  reference: () => Array.from({ length: COUNT }, (_, i) => reference(i)),
  tolerance,
})

const key = permutationKey(SEED, STREAM)

export const random: readonly OpCase[] = [
  entry(
    'uniform',
    'f32',
    (device, options) => uniform(device, [COUNT], options),
    (i) => randomUniform(SEED, STREAM, i),
  ),
  entry(
    'normal',
    'f32',
    (device, options) => normal(device, [COUNT], options),
    (i) => randomNormal(SEED, STREAM, i),
    NORMAL_TOLERANCE,
  ),
  entry(
    'integers',
    'u32',
    (device, options) => integers(device, [COUNT], 1000, options),
    (i) => randomInteger(1000, SEED, STREAM, i),
  ),
  entry(
    'permutation',
    'u32',
    (device, options) => permutation(device, COUNT, options),
    (i) => permute(i, COUNT, key),
  ),
  {
    op: 'dropout',
    name: 'two runs',
    inputs: {
      x: gaussian([2, COUNT], 1),
      state: { data: Uint32Array.of(4, SEED, 4, SEED + 1), shape: [2, 2] },
    },
    leaves: ['x'],
    run: ({ x, state }) =>
      dropout(x!, { rate: RATE, state: state as Tensor as Tensor<'u32'>, stream: STREAM }),
    reference: ({ x }) =>
      Array.from(x!, (value, i) => {
        const [place, seed] = [i % COUNT, SEED + Math.floor(i / COUNT)]
        const words = philox([Math.floor(place / 4), STREAM, 4, DROPOUT], [seed, 0])
        return (words[place % 4]! >>> 8) / 2 ** 24 < RATE ? 0 : value / (1 - RATE)
      }),
  },
]
