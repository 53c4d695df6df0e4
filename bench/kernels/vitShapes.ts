import { attentionPacked, backward, mean } from '../../src/index.node.ts'
import { attentionCase, dense, layerNormCase, softmaxCase, type KernelCase } from './cases.ts'
import { memoryCases } from './memoryCases.ts'

/** One image's class token, batches of few images, a ViT-L's patches, and 64 images of 50 tokens. */
const ROWS = [1, 8, 50, 65, 197, 400, 3200] as const
/** Inner and outer widths of linear layers: of the tiny encoder, ViT-S, ViT-B (four), ViT-L. */
const LAYERS = [
  { use: 'tiny projection', inner: 192, outer: 192 },
  { use: 'ViT-S projection', inner: 384, outer: 384 },
  { use: 'ViT-B projection', inner: 768, outer: 768 },
  { use: 'ViT-B qkv', inner: 768, outer: 2304 },
  { use: 'ViT-B first MLP layer', inner: 768, outer: 3072 },
  { use: 'ViT-B second MLP layer', inner: 3072, outer: 768 },
  { use: 'ViT-L projection', inner: 1024, outer: 1024 },
] as const
const HEADS = 12
const HEAD_SIZE = 64
/** GFLOP of a product that a software adapter should not be asked for unless all is wanted. */
const LARGE = 1.5

/** Forward and backward as training runs them: log-sum-exp saved, gradients of the packed q, k, v. */
function attentionTrainingCase(tokens: number): KernelCase {
  // Two products forward; three for dQ and four for dK and dV backward, of which two are made again.
  const products = 9
  return {
    kernel: 'attention fwd+bwd',
    shape: `1×${HEADS}×${tokens}×${HEAD_SIZE}`,
    use: 'ViT-B training',
    flops: products * 2 * HEADS * tokens ** 2 * HEAD_SIZE,
    prepare({ random }) {
      const qkv = random([1, tokens, 3 * HEADS * HEAD_SIZE])
      qkv.requiresGrad = true
      return () => backward(mean(attentionPacked(qkv, { heads: HEADS })), [qkv])
    },
  }
}

/** Kernels at the shapes of vision transformers: products of every size, attention, and rows of 768. */
export function vitShapeCases(all: boolean): KernelCase[] {
  const products = LAYERS.flatMap(({ use, inner, outer }) =>
    ROWS.filter((rows) => all || (2 * rows * inner * outer) / 1e9 < LARGE).map((rows) =>
      dense(use, rows, outer, inner),
    ),
  )
  return [
    ...products,
    ...[50, 197].flatMap((tokens) => [
      attentionCase('ViT-B', 1, HEADS, tokens),
      attentionTrainingCase(tokens),
    ]),
    ...[50, 400, 3200].flatMap((rows) => [
      layerNormCase('ViT-B', rows, 768),
      softmaxCase('rows of ViT-B', rows, 768),
    ]),
    ...(all ? memoryCases(3200, 768) : []),
  ]
}
