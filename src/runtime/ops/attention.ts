import {
  attentionKernel,
  MAX_HEAD_SIZE,
  packedLayout,
  separateLayout,
  type AttentionParams,
  type AttentionSize,
} from '../../kernels/attention.ts'
import { expect, expectShape, formatShape } from '../shape.ts'
import { apply, needsGradient, type Op } from '../tape.ts'
import type { Tensor } from '../tensor.ts'

export interface AttentionOptions {
  /** Factor of the scores; default 1/√d. */
  readonly scale?: number
  /** Token t attends to tokens 0…t only. */
  readonly causal?: boolean
}

interface Attributes {
  readonly headSize: number
  readonly causal: boolean
  readonly layout: AttentionParams
}

interface Saved {
  readonly out: Tensor<'f32'>
  /** log Σ exp(score) of every row, [B, H, T]; only with a tape. */
  readonly lse: Tensor<'f32'> | undefined
}

function attributes(
  size: AttentionSize,
  makeLayout: typeof packedLayout,
  { scale = 1 / Math.sqrt(size.headSize), causal = false }: AttentionOptions,
): Attributes {
  const { headSize } = size
  expect(headSize % 4 === 0 && headSize <= MAX_HEAD_SIZE, 'attention', () => {
    return `head size ${headSize} is not a multiple of 4 up to ${MAX_HEAD_SIZE}`
  })
  expect(Number.isFinite(scale), 'attention', () => `scale ${scale} is not a finite number`)
  return { headSize, causal, layout: makeLayout(size, scale) }
}

function forward(
  q: Tensor<'f32'>,
  k: Tensor<'f32'>,
  v: Tensor<'f32'>,
  out: Tensor<'f32'>,
  { headSize, causal, layout }: Attributes,
): Saved {
  const { device } = out
  const { batches, heads, tokens } = layout
  const lse = needsGradient(q, k, v) ? device.empty([batches, heads, tokens]) : undefined
  const kernel = attentionKernel({
    headSize,
    causal,
    logSumExp: lse !== undefined,
    variant: device.matmulVariant,
  })
  // The kernel binds lse only when its options say so.
  device.dispatch(kernel, { q, k, v, out, lse: lse ?? out }, layout)
  return { out, lse }
}

interface PackedInputs extends Record<string, Tensor | undefined> {
  readonly qkv: Tensor<'f32'>
}

const packedOp: Op<PackedInputs, Attributes, Saved & { readonly qkv: Tensor<'f32'> }> = {
  name: 'attentionPacked',
  forward({ qkv }, attributes) {
    const [batches, tokens, width] = qkv.shape as [number, number, number]
    const out = qkv.device.empty([batches, tokens, width / 3])
    const saved = forward(qkv, qkv, qkv, out, attributes)
    return { out, saved: { ...saved, qkv } }
  },
  backward({ gradient, saved: { qkv, out, lse }, attributes, output }) {
    const dQkv = output('qkv')
    backward({ q: qkv, k: qkv, v: qkv, out, lse, gradient }, dQkv, dQkv, dQkv, attributes)
    return { qkv: dQkv }
  },
}

/**
 * Multi-head self-attention, softmax(scale · Q·Kᵀ) · V, on what one linear layer makes of the tokens.
 *
 * @param qkv [B, T, 3·H·d]: a token's queries, keys and values, of one head after the other
 * @returns [B, T, H·d]
 */
export function attentionPacked(
  qkv: Tensor<'f32'>,
  { heads, ...options }: AttentionOptions & { readonly heads: number },
): Tensor<'f32'> {
  const [batches = 0, tokens = 0, width = 0] = qkv.shape
  const valid = qkv.shape.length === 3 && heads > 0 && width % (3 * heads) === 0
  expect(valid, 'attentionPacked', () => {
    return `qkv has shape ${formatShape(qkv.shape)}, expected [B, T, 3·${heads}·d]`
  })
  const size = { batches, heads, tokens, headSize: width / (3 * heads) }
  return apply(packedOp, { qkv }, attributes(size, packedLayout, options))
}

interface SeparateInputs extends Record<string, Tensor | undefined> {
  readonly q: Tensor<'f32'>
  readonly k: Tensor<'f32'>
  readonly v: Tensor<'f32'>
}

const separateOp: Op<SeparateInputs, Attributes, Saved & SeparateInputs> = {
  name: 'attention',
  forward({ q, k, v }, attributes) {
    const saved = forward(q, k, v, q.device.empty(q.shape), attributes)
    return { out: saved.out, saved: { ...saved, q, k, v } }
  },
}

/**
 * softmax(scale · Q·Kᵀ) · V for every head.
 *
 * @param q [B, H, T, d], as are k, v and what is returned
 */
export function attention(
  q: Tensor<'f32'>,
  k: Tensor<'f32'>,
  v: Tensor<'f32'>,
  options: AttentionOptions = {},
): Tensor<'f32'> {
  expect(q.shape.length === 4, 'attention', () => {
    return `q has shape ${formatShape(q.shape)}, expected [B, H, T, d]`
  })
  expectShape('attention', 'k', k.shape, q.shape)
  expectShape('attention', 'v', v.shape, q.shape)
  const [batches, heads, tokens, headSize] = q.shape as [number, number, number, number]
  const size = { batches, heads, tokens, headSize }
  return apply(separateOp, { q, k, v }, attributes(size, separateLayout, options))
}
