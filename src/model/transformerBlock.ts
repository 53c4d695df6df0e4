import type { Activation } from '../kernels/activations.ts'
import type { FloatDtype } from '../runtime/dtype.ts'
import { attentionPacked } from '../runtime/ops/attention.ts'
import { layerNorm } from '../runtime/ops/layerNorm.ts'
import { linear } from '../runtime/ops/matmul.ts'
import type { Shape } from '../runtime/shape.ts'
import { scope, type Tensor } from '../runtime/tensor.ts'
import type { BlockWeights, NormWeights } from './checkpoint.ts'

/** Weight and bias of a linear layer, [out, in] and [out], or of a layer norm, both [D]. */
export interface Affine {
  readonly weight: Tensor<'f32'>
  readonly bias: Tensor<'f32'>
}

/** Weights of one transformer block; D is the width, M the size of the MLP. */
export interface BlockTensors {
  readonly norm1: Affine
  /** [3D, D] and [3D]: query, key, value. */
  readonly qkv: Affine
  /** [D, D] and [D] */
  readonly out: Affine
  readonly norm2: Affine
  /** [M, D] and [M] */
  readonly fc1: Affine
  /** [D, M] and [D] */
  readonly fc2: Affine
  /** [D] each: factors of the two branches before they are added (DINOv2's LayerScale). */
  readonly layerScales?: readonly [Tensor<'f32'>, Tensor<'f32'>] | undefined
}

export interface BlockOptions {
  readonly heads: number
  /** Of the MLP. */
  readonly activation: Activation
  /** Of both layer norms. */
  readonly eps: number
  /** Token t attends to tokens 0…t only. Default false. */
  readonly causal?: boolean
  /**
   * Of what passes between the block's layers: normed tokens, packed queries, keys and values, attended
   * tokens and the MLP's hidden ones. Sums are f32, and so is what the block takes and gives. Default
   * f32; f16 halves the memory and carries no gradient.
   */
  readonly dtype?: FloatDtype
}

/** Puts host values on the device, as a tensor that the caller owns. */
export type Upload = (data: Float32Array, shape: Shape) => Tensor<'f32'>

export const uploadNorm = (upload: Upload, { weight, bias }: NormWeights): Affine => ({
  weight: upload(weight, [weight.length]),
  bias: upload(bias, [bias.length]),
})

/** A block's weights on the device; every size follows from the biases. */
export function uploadBlock(upload: Upload, block: BlockWeights): BlockTensors {
  const dense = ({ weight, bias }: NormWeights): Affine => ({
    weight: upload(weight, [bias.length, weight.length / bias.length]),
    bias: upload(bias, [bias.length]),
  })
  return {
    norm1: uploadNorm(upload, block.norm1),
    qkv: dense(block.qkv),
    out: dense(block.out),
    norm2: uploadNorm(upload, block.norm2),
    fc1: dense(block.fc1),
    fc2: dense(block.fc2),
    layerScales: block.layerScales && [
      upload(block.layerScales[0], [block.layerScales[0].length]),
      upload(block.layerScales[1], [block.layerScales[1].length]),
    ],
  }
}

/**
 * One pre-norm transformer block (Dosovitskiy et al. 2021): x += attention(norm(x)), then
 * x += mlp(norm(x)), each branch scaled per column where the block has layer scales.
 *
 * Seven dispatches where no gradient is asked for: norm, qkv, attention, projection with residual,
 * norm, first and second MLP layer with activation and residual fused. Any weight that requires a
 * gradient gets one, eagerly and in a recorded plan alike; what is frozen costs nothing backwards
 * but the way through it.
 *
 * @param x [B, T, D]
 * @returns [B, T, D]
 * @throws KeeplightError `validation` when shapes do not fit, or a gradient is asked for with f16
 */
export function transformerBlock(
  x: Tensor<'f32'>,
  { norm1, qkv, out, norm2, fc1, fc2, layerScales }: BlockTensors,
  { heads, activation, eps, causal = false, dtype = 'f32' }: BlockOptions,
): Tensor<'f32'> {
  const [attentionScale, mlpScale] = layerScales ?? []
  return scope(() => {
    const mixed = scope(() => {
      const normed = layerNorm(x, norm1.weight, norm1.bias, { eps, dtype })
      const packed = linear(normed, qkv.weight, qkv.bias, { dtype })
      normed.dispose()
      const attended = attentionPacked(packed, { heads, causal })
      packed.dispose()
      return linear(attended, out.weight, out.bias, { layerScale: attentionScale, residual: x })
    })
    const normed = layerNorm(mixed, norm2.weight, norm2.bias, { eps, dtype })
    const hidden = linear(normed, fc1.weight, fc1.bias, { activation, dtype })
    normed.dispose()
    return linear(hidden, fc2.weight, fc2.bias, { layerScale: mlpScale, residual: mixed })
  })
}
