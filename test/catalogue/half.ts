import type { Unary } from '../../src/kernels/unary.ts'
import * as ops from '../../src/runtime/ops/index.ts'
import type { Tensor } from '../../src/runtime/tensor.ts'
import * as attention from '../reference/attention.ts'
import { broadcast } from '../reference/broadcast.ts'
import { embedTokens as embedReference } from '../reference/embedTokens.ts'
import { layerNorm as layerNormReference } from '../reference/layerNorm.ts'
import * as images from '../reference/patchEmbed.ts'
import * as softmaxReference from '../reference/softmax.ts'
import { unary as references } from '../reference/unary.ts'
import {
  activations,
  half,
  HALF,
  normal,
  ofKinds,
  weights,
  type OpCase,
  type Value,
} from './case.ts'

/** Activations stored as f16: half in, half out, everything between in f32. */

const SHAPE = [3, 129] as const
const [ROWS, COLUMNS] = [5, 197]

const f16 = (tensor: Tensor | undefined): Tensor<'f16'> => tensor as Tensor<'f16'>

const positive = ({ data, shape }: Value): Value => ({
  data: Float32Array.from(data, (x) => Math.abs(x) + 0.01),
  shape,
})

type UnaryOp = Unary & keyof typeof ops

/** f16 ends at 65,504, e¹¹. */
const KINDS: Readonly<Partial<Record<UnaryOp, 'normal'>>> = { exp: 'normal' }
const inPositives = new Set<UnaryOp>(['log', 'rsqrt', 'sqrt', 'reciprocal'])

const unary = (op: UnaryOp): OpCase => {
  const x = activations(KINDS[op] ?? 'outliers', SHAPE, 1)
  return {
    op,
    name: KINDS[op] === 'normal' ? 'N(0, 1)' : 'outliers of ±100',
    dtype: 'f16',
    inputs: { x: half(inPositives.has(op) ? positive(x) : x) },
    leaves: [],
    run: ({ x }) => (ops[op] as (x: Tensor<'f16'>) => Tensor)(f16(x)),
    reference: ({ x }) => Float64Array.from(x!, references[op]),
    tolerance: HALF,
    unary: true,
  }
}

const UNARY = [
  ...(['abs', 'erf', 'exp', 'gelu', 'log', 'negate', 'quickGelu', 'reciprocal', 'relu'] as const),
  ...(['rsqrt', 'sigmoid', 'silu', 'softplus', 'sqrt', 'square', 'tanh'] as const),
]

/** One input, element by element. */
const mapped = (
  op: string,
  run: (x: Tensor<'f16'>) => Tensor,
  reference: (x: number) => number,
): OpCase => ({
  op,
  name: 'N(0, 1)',
  dtype: 'f16',
  inputs: { x: half(positive(normal(SHAPE, 1))) },
  leaves: [],
  run: ({ x }) => run(f16(x)),
  reference: ({ x }) => Float64Array.from(x!, reference),
  tolerance: HALF,
  unary: true,
})

const BINARY = {
  add: (a, b) => a + b,
  subtract: (a, b) => a - b,
  multiply: (a, b) => a * b,
  divide: (a, b) => a / b,
  maximum: Math.max,
  minimum: Math.min,
} satisfies Record<string, (a: number, b: number) => number>

const WIDE = [2, 3, 33]
const NARROW = [2, 1, 33]

const binary = (op: keyof typeof BINARY): OpCase => ({
  op,
  name: 'broadcast',
  dtype: 'f16',
  inputs: {
    a: half(activations('outliers', WIDE, 1)),
    b: half(positive(normal(NARROW, 2))),
  },
  leaves: [],
  run: ({ a, b }) => ops[op](f16(a), f16(b)),
  reference: ({ a, b }) => broadcast(BINARY[op], a!, b!, { a: WIDE, b: NARROW }),
  tolerance: HALF,
})

const SIZE = { batches: 1, heads: 2, tokens: 17, headSize: 16 }
const HEADS = [SIZE.batches, SIZE.heads, SIZE.tokens, SIZE.headSize]
const IMAGES = { batch: 2, channels: 3, height: 12, width: 18, patch: 6 }
const { batch, channels, height, width, patch } = IMAGES

const norm = (from: 'f32' | 'f16', to: 'f32' | 'f16') =>
  ofKinds((kind) => {
    const x = activations(kind, [ROWS, COLUMNS], 1)
    return {
      op: 'layerNorm',
      dtype: from === to ? from : `${from} → ${to}`,
      inputs: {
        x: from === 'f16' ? half(x) : x,
        weight: normal([COLUMNS], 11, 0.3, 1),
        bias: normal([COLUMNS], 12, 0.5),
      },
      leaves: [],
      run: ({ x, weight, bias }) => ops.layerNorm(x!, weight!, bias!, { dtype: to }),
      reference: ({ x, weight, bias }) => layerNormReference(x!, weight!, bias!, 1e-5),
      tolerance: to === 'f16' ? HALF : 1e-5,
    }
  })

export const halves: readonly OpCase[] = [
  ...UNARY.map(unary),
  mapped('activate', (x) => ops.activate(x, 'quickGelu'), references.quickGelu),
  mapped(
    'scale',
    (x) => ops.scale(x, 0.3),
    (x) => x * Math.fround(0.3),
  ),
  mapped(
    'power',
    (x) => ops.power(x, 1.5),
    (x) => x ** 1.5,
  ),
  ...(Object.keys(BINARY) as (keyof typeof BINARY)[]).map(binary),
  {
    op: 'add',
    name: 'broadcast',
    dtype: 'f32 + f16',
    inputs: { a: activations('outliers', WIDE, 1), b: half(normal(NARROW, 2)) },
    leaves: ['a'],
    run: ({ a, b }) => ops.add(a!, f16(b)),
    reference: ({ a, b }) => broadcast(BINARY.add, a!, b!, { a: WIDE, b: NARROW }),
  },
  ...norm('f16', 'f16'),
  ...norm('f32', 'f16'),
  ...(['softmax', 'logSoftmax'] as const).flatMap((op) =>
    ofKinds((kind) => ({
      op,
      dtype: 'f16',
      inputs: { x: half(activations(kind, [ROWS, COLUMNS], 1)) },
      leaves: [],
      run: ({ x }) => ops[op](f16(x)),
      reference: ({ x }) => softmaxReference[op](x!, COLUMNS),
      tolerance: HALF,
    })),
  ),
  ...ofKinds((kind) => ({
    op: 'attention',
    dtype: 'f16',
    inputs: Object.fromEntries(
      ['q', 'k', 'v'].map((name, i) => [name, half(activations(kind, HEADS, 1 + i))]),
    ),
    leaves: [],
    run: ({ q, k, v }) => ops.attention(f16(q), f16(k), f16(v)),
    reference: ({ q, k, v }) => attention.attention(q!, k!, v!, SIZE).out,
    // Scores of outliers reach 10⁴/√d, where an f32 is off by 10⁻⁴.
    tolerance: kind === 'outliers' ? 1e-3 + HALF : HALF,
  })),
  {
    op: 'attentionPacked',
    name: 'causal, N(0, 1)',
    dtype: 'f16',
    inputs: { qkv: half(normal([1, SIZE.tokens, 3 * SIZE.heads * SIZE.headSize], 1)) },
    leaves: [],
    run: ({ qkv }) => ops.attentionPacked(f16(qkv), { heads: SIZE.heads, causal: true }),
    reference: ({ qkv }) => {
      const [q, k, v] = [0, 1, 2].map((part) => attention.unpackHeads(qkv!, part, 3, SIZE))
      const { out } = attention.attention(q!, k!, v!, { ...SIZE, causal: true })
      return attention.packHeads([out], SIZE)
    },
    tolerance: HALF,
  },
  {
    op: 'patchify',
    name: 'N(0, 1)',
    dtype: 'f16',
    inputs: { x: half(normal([batch, channels, height, width], 1)) },
    leaves: [],
    run: ({ x }) => ops.patchify(f16(x), patch),
    reference: ({ x }) => images.patchify(x!, IMAGES),
    tolerance: 0,
  },
  {
    op: 'patchEmbed',
    name: 'N(0, 1)',
    dtype: 'f16 → f16',
    inputs: {
      x: half(normal([batch, channels, height, width], 1)),
      weight: weights([50, 3, 6, 6], 2, 108),
      bias: normal([50], 3),
    },
    leaves: [],
    run: ({ x, weight, bias }) => ops.patchEmbed(f16(x), weight!, bias, { dtype: 'f16' }),
    reference: ({ x, weight, bias }) => images.patchEmbed(x!, weight!, bias!, IMAGES),
    tolerance: HALF,
  },
  ...(['f32', 'f16'] as const).map((dtype): OpCase => ({
    op: 'embedTokens',
    name: 'N(0, 1)',
    dtype: `f16 → ${dtype}`,
    inputs: {
      patches: half(normal([3, 7, COLUMNS], 1)),
      prefix: normal([2, COLUMNS], 2),
      positions: normal([9, COLUMNS], 3, 0.1),
    },
    leaves: dtype === 'f32' ? ['prefix', 'positions'] : [],
    run: ({ patches, prefix, positions }) =>
      ops.embedTokens(f16(patches), prefix!, positions!, { dtype }),
    reference: ({ patches, prefix, positions }) =>
      embedReference(patches!, prefix!, positions!, COLUMNS),
    tolerance: dtype === 'f16' ? HALF : 1e-6,
  })),
]
