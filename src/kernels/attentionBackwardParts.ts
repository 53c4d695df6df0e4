import { perBatch } from './attentionLayout.ts'
import { read, readWrite, type Binding, type KernelVariant, type Split } from './kernel.ts'
import type { AttentionParam } from './attentionLayout.ts'

/** What the kernels of attention's gradient share. */

export interface AttentionBackwardOptions {
  /** Size of a head: a multiple of 4, at most 128. */
  readonly headSize: number
  readonly causal: boolean
  /** Which rows a workgroup owns: `query` writes dQ; `key` writes dK and dV. */
  readonly owner: 'query' | 'key'
  /**
   * The gradients have one buffer, `dX`, as q, k and v do; else `dX` is dQ or dK, and `dV` is bound
   * by the owner `key`.
   */
  readonly packed: boolean
  readonly variant: KernelVariant
}

export type BackwardBinding = 'q' | 'k' | 'v' | 'dOut' | 'lse' | 'delta' | 'dX' | 'dV'

/** A matrix [tokens, headSize] of the slice: its binding, where it starts, from token to token. */
export interface Matrix {
  readonly name: string
  readonly base: string
  readonly token: string
}

const matrices = {
  q: { name: 'q', base: 'qBase', token: 'inToken' },
  k: { name: 'k', base: 'kBase', token: 'inToken' },
  v: { name: 'v', base: 'vBase', token: 'inToken' },
  dOut: { name: 'dOut', base: 'outBase', token: 'outToken' },
} satisfies Record<string, Matrix>

/** A gradient [tokens, headSize]: Σ over the others of `weight` times their row of `from`. */
export interface Gradient {
  readonly weight: 'dS' | 'p'
  readonly from: Matrix
  readonly into: Matrix
}

/** Owned rows times others: the first makes the scores, the second the gradients of the probabilities. */
export interface Product {
  readonly own: Matrix
  readonly other: Matrix
}

/** What a kernel multiplies to get P and dS, and what it adds up with these. */
export function termsOf({ owner, packed }: AttentionBackwardOptions): {
  readonly products: readonly [Product, Product]
  readonly gradients: readonly Gradient[]
} {
  const { q, k, v, dOut } = matrices
  const into = (name: 'dX' | 'dV', base: string): Matrix => ({ name, base, token: 'inToken' })
  if (owner === 'query') {
    return {
      products: [
        { own: q, other: k },
        { own: dOut, other: v },
      ],
      gradients: [{ weight: 'dS', from: k, into: into('dX', 'qBase') }],
    }
  }
  return {
    products: [
      { own: k, other: q },
      { own: v, other: dOut },
    ],
    gradients: [
      { weight: 'dS', from: q, into: into('dX', 'kBase') },
      { weight: 'p', from: dOut, into: into(packed ? 'dX' : 'dV', 'vBase') },
    ],
  }
}

export const label = (options: AttentionBackwardOptions): string =>
  [
    'attentionBackward',
    options.owner,
    `d${options.headSize}`,
    ...(options.causal ? ['causal'] : []),
    ...(options.packed ? ['packed'] : []),
    options.variant,
  ].join('.')

export function bindings(options: AttentionBackwardOptions): Record<BackwardBinding, Binding> {
  return {
    q: read('vec4<f32>'),
    k: read('vec4<f32>'),
    v: read('vec4<f32>'),
    dOut: read('vec4<f32>'),
    lse: read('f32'),
    delta: read('f32'),
    dX: readWrite('vec4<f32>'),
    ...(options.owner === 'query' || options.packed ? {} : { dV: readWrite('vec4<f32>') }),
  } as Record<BackwardBinding, Binding>
}

/** Too large for a binding, it is cut between the images of a batch. */
export const splits: readonly Split<BackwardBinding, AttentionParam>[] = [
  {
    along: 'batches',
    per: {
      q: perBatch.in,
      k: perBatch.in,
      v: perBatch.in,
      dOut: perBatch.out,
      lse: perBatch.query,
      delta: perBatch.query,
      dX: perBatch.in,
      dV: perBatch.in,
    },
  },
]
