import { attention, attentionPacked } from '../../src/runtime/ops/index.ts'
import * as reference from '../reference/attention.ts'
import { activations, ofKinds, type Kind, type OpCase } from './case.ts'

const SIZE = { batches: 1, heads: 2, tokens: 17, headSize: 16 }
const SHAPE = [SIZE.batches, SIZE.heads, SIZE.tokens, SIZE.headSize]
const WIDTH = 3 * SIZE.heads * SIZE.headSize

/**
 * exp sees a score's absolute error. Scores of outliers reach 10⁴/√d, where an f32 is off by 10⁻⁴;
 * those of an offset reach 400.
 */
const TOLERANCES: Readonly<Record<Kind, Pick<OpCase, 'tolerance' | 'gradientTolerance'>>> = {
  normal: {},
  offset: { tolerance: 1e-4, gradientTolerance: 1e-3 },
  outliers: { tolerance: 1e-3, gradientTolerance: 1e-2 },
}

const separate = (kind: Kind): OpCase['inputs'] => ({
  q: activations(kind, SHAPE, 1),
  k: activations(kind, SHAPE, 2),
  v: activations(kind, SHAPE, 3),
})

export const attentionFamily: readonly OpCase[] = [
  ...ofKinds((kind) => ({
    op: 'attention',
    inputs: separate(kind),
    leaves: ['q', 'k', 'v'],
    run: ({ q, k, v }) => attention(q!, k!, v!),
    reference: ({ q, k, v }) => reference.attention(q!, k!, v!, SIZE).out,
    ...TOLERANCES[kind],
  })),
  {
    op: 'attention',
    name: 'causal, N(0, 1)',
    inputs: separate('normal'),
    leaves: ['q', 'k', 'v'],
    run: ({ q, k, v }) => attention(q!, k!, v!, { causal: true }),
    reference: ({ q, k, v }) => reference.attention(q!, k!, v!, { ...SIZE, causal: true }).out,
  },
  ...ofKinds((kind) => ({
    op: 'attentionPacked',
    inputs: { qkv: activations(kind, [SIZE.batches, SIZE.tokens, WIDTH], 1) },
    leaves: ['qkv'],
    run: ({ qkv }) => attentionPacked(qkv!, { heads: SIZE.heads }),
    reference: ({ qkv }) => {
      const [q, k, v] = [0, 1, 2].map((part) => reference.unpackHeads(qkv!, part, 3, SIZE))
      return reference.packHeads([reference.attention(q!, k!, v!, SIZE).out], SIZE)
    },
    ...TOLERANCES[kind],
  })),
]
