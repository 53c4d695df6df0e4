import { attentionKernel, MAX_HEAD_SIZE } from '../../kernels/attention.ts'
import { attentionBackwardKernel, attentionDeltaKernel } from '../../kernels/attentionBackward.ts'
import {
  packedLayout,
  separateLayout,
  type AttentionParams,
  type AttentionSize,
} from '../../kernels/attentionLayout.ts'
import type { KernelVariant } from '../../kernels/kernel.ts'
import type { FloatDtype } from '../dtype.ts'
import { KeeplightError } from '../errors.ts'
import { expect, expectShape, formatShape } from '../shape.ts'
import { apply, needsGradient, type Op } from '../tape.ts'
import type { Tensor } from '../tensor.ts'
import { attentionChoice } from './attentionChoice.ts'
import { expectDtype, inStorage } from './half.ts'

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

function forward<D extends FloatDtype>(
  q: Tensor<D>,
  k: Tensor<D>,
  v: Tensor<D>,
  out: Tensor<D>,
  { headSize, causal, layout }: Attributes,
): { readonly out: Tensor<D>; readonly lse: Tensor<'f32'> | undefined } {
  const { device } = out
  const { batches, heads, tokens } = layout
  const lse = needsGradient(q, k, v) ? device.empty([batches, heads, tokens]) : undefined
  const kernel = attentionKernel({
    headSize,
    causal,
    logSumExp: lse !== undefined,
    variant: device.choose(attentionChoice, { ...layout, causal }) as KernelVariant,
    ...(out.dtype === 'f16' && { half: true }),
  })
  // The kernel binds lse only when its options say so.
  device.dispatch(kernel, { q, k, v, out, lse: lse ?? out }, layout)
  return { out, lse }
}

interface BackwardTensors {
  readonly q: Tensor<'f32'>
  readonly k: Tensor<'f32'>
  readonly v: Tensor<'f32'>
  readonly dOut: Tensor<'f32'>
}

/** Writes the gradients that are given; a packed one, all three, is given as `dQ` and `dK`. */
function backward(
  tensors: BackwardTensors,
  { out, lse }: Saved,
  { dQ, dK, dV }: Partial<Record<'dQ' | 'dK' | 'dV', Tensor<'f32'>>>,
  { headSize, causal, layout }: Attributes,
): void {
  if (!lse) throw new KeeplightError('internal', 'attention: the forward pass saved no lse')
  const { device } = out
  const delta = device.empty(lse.shape)
  device.dispatch(attentionDeltaKernel, { out, dOut: tensors.dOut, delta }, layout)
  const run = (owner: 'query' | 'key', dX: Tensor<'f32'>): void => {
    const packed = dV === undefined
    const variant = device.kernelVariant
    const kernel = attentionBackwardKernel({ headSize, causal, owner, packed, variant })
    device.dispatch(kernel, { ...tensors, lse, delta, dX, dV: dV ?? dX }, layout)
  }
  if (dQ) run('query', dQ)
  if (dK) run('key', dK)
  delta.dispose()
}

interface PackedInputs extends Record<string, Tensor | undefined> {
  readonly qkv: Tensor<'f32'>
}

function forwardPacked<D extends FloatDtype>(qkv: Tensor<D>, attributes: Attributes) {
  const [batches, tokens, width] = qkv.shape as [number, number, number]
  const out = qkv.device.empty([batches, tokens, width / 3], qkv.dtype)
  return forward(qkv, qkv, qkv, out, attributes)
}

const packedOp: Op<PackedInputs, Attributes, Saved & { readonly qkv: Tensor<'f32'> }> = {
  name: 'attentionPacked',
  forward({ qkv }, attributes) {
    const saved = forwardPacked(qkv, attributes)
    return { out: saved.out, saved: { ...saved, qkv } }
  },
  backward({ gradient, saved, attributes, output }) {
    const { qkv } = saved
    const dQkv = output('qkv')
    const tensors = { q: qkv, k: qkv, v: qkv, dOut: gradient }
    backward(tensors, saved, { dQ: dQkv, dK: dQkv }, attributes)
    return { qkv: dQkv }
  },
}

/**
 * Multi-head self-attention, softmax(scale · Q·Kᵀ) · V, on what one linear layer makes of the tokens.
 *
 * @param qkv [B, T, 3·H·d]: a token's queries, keys and values, of one head after the other
 * @returns [B, T, H·d], of qkv's dtype; scores and sums are f32
 * @throws KeeplightError `validation` when shapes or dtypes do not fit, or an f16 output is to have a
 *   gradient
 */
export function attentionPacked<D extends FloatDtype>(
  qkv: Tensor<D>,
  { heads, ...options }: AttentionOptions & { readonly heads: number },
): Tensor<D> {
  const [batches = 0, tokens = 0, width = 0] = qkv.shape
  const valid = qkv.shape.length === 3 && heads > 0 && width % (3 * heads) === 0
  expect(valid, 'attentionPacked', () => {
    return `qkv has shape ${formatShape(qkv.shape)}, expected [B, T, 3·${heads}·d]`
  })
  const size = { batches, heads, tokens, headSize: width / (3 * heads) }
  const own = attributes(size, packedLayout, options)
  return inStorage('attentionPacked', { qkv }, qkv.dtype, {
    wide: (wide) => apply(packedOp, wide, own),
    half: () => forwardPacked(qkv, own).out,
  })
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
  backward({ gradient, saved, attributes, wants, output }) {
    const { q, k, v } = saved
    const dQ = wants('q') ? output('q') : undefined
    // One kernel makes both, so a gradient that nobody wants gets a temporary.
    const both = wants('k') || wants('v')
    const dK = both ? output('k') : undefined
    const dV = both ? output('v') : undefined
    backward({ q, k, v, dOut: gradient }, saved, { dQ, dK, dV }, attributes)
    return { q: dQ ?? null, k: dK ?? null, v: dV ?? null }
  },
}

/**
 * softmax(scale · Q·Kᵀ) · V for every head.
 *
 * @param q [B, H, T, d], as are k, v and what is returned; all f32 or all f16, scores and sums f32
 */
export function attention<D extends FloatDtype>(
  q: Tensor<D>,
  k: Tensor<D>,
  v: Tensor<D>,
  options: AttentionOptions = {},
): Tensor<D> {
  expect(q.shape.length === 4, 'attention', () => {
    return `q has shape ${formatShape(q.shape)}, expected [B, H, T, d]`
  })
  expectShape('attention', 'k', k.shape, q.shape)
  expectShape('attention', 'v', v.shape, q.shape)
  const [batches, heads, tokens, headSize] = q.shape as [number, number, number, number]
  const size = { batches, heads, tokens, headSize }
  expectDtype('attention', { q }, 'f32', 'f16')
  expectDtype('attention', { k, v }, q.dtype)
  const own = attributes(size, separateLayout, options)
  return inStorage('attention', { q, k, v }, q.dtype, {
    wide: (wide) => apply(separateOp, wide, own),
    half: () => forward(q, k, v, q.device.empty(q.shape, q.dtype), own).out,
  })
}
