import { linear, matmul, quantize, toF16, toF32 } from '../../src/runtime/ops/index.ts'
import type { Tensor } from '../../src/runtime/tensor.ts'
import { matmul as product } from '../reference/matmul.ts'
import { quantize as quantizeReference } from '../reference/quantize.ts'
import { activations, half, HALF, normal, ofKinds, weights, type OpCase } from './case.ts'

const SIZE = { m: 9, n: 34, k: 195 }

const f16 = (tensor: Tensor): Tensor<'f16'> => tensor as Tensor<'f16'>

const int8 = quantizeReference(weights([SIZE.n, SIZE.k], 2).data, SIZE.k)

/** Casts, and products of f16 and int8 operands. */
export const small: readonly OpCase[] = [
  ...ofKinds((kind) => ({
    op: 'toF16',
    dtype: 'f32 → f16',
    inputs: { x: activations(kind, [5, 33], 1) },
    leaves: [],
    run: ({ x }) => toF16(x!),
    reference: ({ x }) => x!,
    tolerance: HALF,
  })),
  ...ofKinds((kind) => ({
    op: 'toF32',
    dtype: 'f16 → f32',
    inputs: { x: half(activations(kind, [5, 33], 1)) },
    leaves: [],
    run: ({ x }) => toF32(f16(x!)),
    reference: ({ x }) => x!,
    tolerance: 0,
  })),
  {
    op: 'quantize',
    name: 'values of N(0, 1/√in)',
    dtype: 'f32 → i8',
    inputs: { weight: weights([SIZE.n, SIZE.k], 2) },
    leaves: [],
    run: ({ weight }) => quantize(weight!).values,
    reference: ({ weight }) => quantizeReference(weight!, SIZE.k).values,
    tolerance: 0,
  },
  {
    op: 'quantize',
    name: 'scales of N(0, 1/√in)',
    dtype: 'f32 → i8',
    inputs: { weight: weights([SIZE.n, SIZE.k], 2) },
    leaves: [],
    run: ({ weight }) => quantize(weight!).scales,
    reference: ({ weight }) => quantizeReference(weight!, SIZE.k).scales,
  },
  ...ofKinds((kind) => ({
    op: 'linear',
    dtype: 'f32 × f16',
    inputs: {
      x: activations(kind, [SIZE.m, SIZE.k], 1),
      weight: half(weights([SIZE.n, SIZE.k], 2)),
      bias: normal([SIZE.n], 3),
    },
    leaves: ['x', 'bias'],
    run: ({ x, weight, bias }) => linear(x!, f16(weight!), bias),
    reference: ({ x, weight, bias }) =>
      product(x!, weight!, SIZE, { transposeB: true }).map((y, i) => y + bias![i % SIZE.n]!),
  })),
  ...ofKinds((kind) => ({
    op: 'linear',
    dtype: 'f32 × i8',
    inputs: {
      x: activations(kind, [SIZE.m, SIZE.k], 1),
      values: { data: Int8Array.from(int8.values), shape: [SIZE.n, SIZE.k] },
      scales: { data: Float32Array.from(int8.scales), shape: [SIZE.n] },
    },
    leaves: ['x'],
    run: ({ x, values, scales }) =>
      linear(x!, { values: values as Tensor as Tensor<'i8'>, scales: scales! }),
    reference: ({ x, values, scales }) => {
      const weight = Float64Array.from(values!, (q, i) => q * scales![Math.floor(i / SIZE.k)]!)
      return product(x!, weight, SIZE, { transposeB: true })
    },
  })),
  ...ofKinds((kind) => ({
    op: 'linear',
    dtype: 'f16 × f16 → f16',
    inputs: {
      x: half(activations(kind, [SIZE.m, SIZE.k], 1)),
      weight: half(weights([SIZE.n, SIZE.k], 2)),
    },
    leaves: [],
    run: ({ x, weight }) => linear(f16(x!), f16(weight!), undefined, { dtype: 'f16' }),
    reference: ({ x, weight }) => product(x!, weight!, SIZE, { transposeB: true }),
    tolerance: HALF,
  })),
  {
    op: 'matmul',
    name: 'NT, N(0, 1)',
    dtype: 'f16 × f16',
    inputs: {
      a: half(activations('normal', [SIZE.m, SIZE.k], 1)),
      b: half(weights([SIZE.n, SIZE.k], 2)),
    },
    leaves: [],
    run: ({ a, b }) => matmul(f16(a!), f16(b!), { transposeB: true }),
    reference: ({ a, b }) => product(a!, b!, SIZE, { transposeB: true }),
  },
]
