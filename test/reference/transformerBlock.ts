import { activations } from './activations.ts'
import { attention } from './attention.ts'
import { layerNorm } from './layerNorm.ts'
import { matmul } from './matmul.ts'

export interface BlockSize {
  readonly batches: number
  readonly tokens: number
  readonly heads: number
  /** D */
  readonly width: number
  /** M */
  readonly mlpSize: number
  readonly eps: number
}

/** Names of a block's weights, flat. */
export type BlockArrays<T> = Readonly<
  Record<`${'norm1' | 'qkv' | 'out' | 'norm2' | 'fc1' | 'fc2'}${'Weight' | 'Bias'}`, T>
>

/** A pre-norm transformer block with a GELU, in f64: x [B, T, D] → [B, T, D]. */
export function transformerBlock(
  x: ArrayLike<number>,
  weights: BlockArrays<ArrayLike<number>>,
  size: BlockSize,
): Float64Array {
  const { batches, tokens, heads, width, mlpSize, eps } = size
  const rows = batches * tokens
  const dense = (
    input: ArrayLike<number>,
    weight: ArrayLike<number>,
    bias: ArrayLike<number>,
    k: number,
    n: number,
  ): Float64Array =>
    matmul(input, weight, { m: rows, n, k }, { transposeB: true }).map(
      (sum, i) => sum + bias[i % n]!,
    )

  const { norm1Weight, norm1Bias, qkvWeight, qkvBias, outWeight, outBias } = weights
  const qkv = dense(layerNorm(x, norm1Weight, norm1Bias, eps), qkvWeight, qkvBias, width, 3 * width)
  const headSize = width / heads
  /** [B, T, 3, H, d] → [B, H, T, d] of one of the three. */
  const split = (part: number): Float64Array =>
    Float64Array.from({ length: rows * width }, (_, i) => {
      const [d, t] = [i % headSize, Math.floor(i / headSize) % tokens]
      const slice = Math.floor(i / (headSize * tokens))
      const [h, b] = [slice % heads, Math.floor(slice / heads)]
      return qkv[(b * tokens + t) * 3 * width + part * width + h * headSize + d]!
    })
  const { out } = attention(split(0), split(1), split(2), { batches, heads, tokens, headSize })
  const attended = Float64Array.from({ length: rows * width }, (_, i) => {
    const [row, column] = [Math.floor(i / width), i % width]
    const [b, t] = [Math.floor(row / tokens), row % tokens]
    const [h, d] = [Math.floor(column / headSize), column % headSize]
    return out[((b * heads + h) * tokens + t) * headSize + d]!
  })
  const mixed = dense(attended, outWeight, outBias, width, width).map((y, i) => y + x[i]!)

  const { norm2Weight, norm2Bias, fc1Weight, fc1Bias, fc2Weight, fc2Bias } = weights
  const normed = layerNorm(mixed, norm2Weight, norm2Bias, eps)
  const hidden = dense(normed, fc1Weight, fc1Bias, width, mlpSize).map(activations.gelu)
  return dense(hidden, fc2Weight, fc2Bias, mlpSize, width).map((y, i) => y + mixed[i]!)
}
