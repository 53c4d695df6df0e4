import { linearWorkgroups, type KernelCost, type Workgroups } from './kernel.ts'

/**
 * Where a token's head starts, in elements: of q, k, v at
 * `offset + batch · inBatch + token · inToken + head · inHead`, likewise of out without an offset.
 * All are multiples of 4.
 */
export const layoutParams = {
  batches: 'u32',
  heads: 'u32',
  tokens: 'u32',
  headSize: 'u32',
  inBatch: 'u32',
  inToken: 'u32',
  inHead: 'u32',
  kOffset: 'u32',
  vOffset: 'u32',
  outBatch: 'u32',
  outToken: 'u32',
  outHead: 'u32',
  scale: 'f32',
} as const
export type AttentionParam = keyof typeof layoutParams
export type AttentionParams = Readonly<Record<AttentionParam, number>>

export interface AttentionSize {
  readonly batches: number
  readonly heads: number
  readonly tokens: number
  readonly headSize: number
}

/** q, k, v are [B, T, 3·H·d], one buffer; out is [B, T, H·d]. */
export function packedLayout(size: AttentionSize, scale: number): AttentionParams {
  const { batches, heads, tokens, headSize } = size
  const width = heads * headSize
  return {
    batches,
    heads,
    tokens,
    headSize,
    inBatch: tokens * 3 * width,
    inToken: 3 * width,
    inHead: headSize,
    kOffset: width,
    vOffset: 2 * width,
    outBatch: tokens * width,
    outToken: width,
    outHead: headSize,
    scale,
  }
}

/** q, k, v and out are [B, H, T, d], a buffer each. */
export function separateLayout(size: AttentionSize, scale: number): AttentionParams {
  const { batches, heads, tokens, headSize } = size
  const head = tokens * headSize
  return {
    batches,
    heads,
    tokens,
    headSize,
    inBatch: heads * head,
    inToken: headSize,
    inHead: head,
    kOffset: 0,
    vOffset: 0,
    outBatch: heads * head,
    outToken: headSize,
    outHead: head,
    scale,
  }
}

type Sizes = Readonly<Record<Exclude<AttentionParam, 'scale'>, number>>

/** Elements to a batch: of q, k, v and their gradients; of out and dOut; of a number for every query. */
export const perBatch = {
  in: ({ inBatch }: Pick<Sizes, 'inBatch'>): number => inBatch,
  out: ({ outBatch }: Pick<Sizes, 'outBatch'>): number => outBatch,
  query: ({ heads, tokens }: Pick<Sizes, 'heads' | 'tokens'>): number => heads * tokens,
} as const

/**
 * What a workgroup works on, in units of vec4: `slice` (batch · heads + head), `first` (its first
 * query), and where q, k, v and out of the slice start. Needs `linearIdWgsl` and the builtins `id`, `count`.
 */
export const sliceWgsl = (rows: number): string => /* wgsl */ `
  let group = linearWorkgroup(id, count);
  let blocks = (params.tokens + ${rows - 1}u) / ${rows}u;
  let slice = group / blocks;
  if (slice >= params.batches * params.heads) { return; }
  let first = group % blocks * ${rows}u;
  let head = slice % params.heads;
  let batch = slice / params.heads;
  let inToken = params.inToken / 4u;
  let outToken = params.outToken / 4u;
  let qBase = (batch * params.inBatch + head * params.inHead) / 4u;
  let kBase = qBase + params.kOffset / 4u;
  let vBase = qBase + params.vOffset / 4u;
  let outBase = (batch * params.outBatch + head * params.outHead) / 4u;
`

/** One workgroup for every `rows` queries of every head. */
export const sliceWorkgroups =
  (rows: number) =>
  ({ batches, heads, tokens }: AttentionParams): Workgroups =>
    linearWorkgroups(batches * heads * Math.ceil(tokens / rows), 1)

/** Of `products` of Q·Kᵀ's size, half of them masked when causal. */
export const attentionCost =
  (products: number, causal: boolean) =>
  ({ batches, heads, tokens, headSize }: AttentionParams): KernelCost => {
    const pairs = causal ? (tokens * (tokens + 1)) / 2 : tokens ** 2
    return { flops: products * 2 * batches * heads * pairs * headSize }
  }
