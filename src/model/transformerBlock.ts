import type { Activation } from '../kernels/activations.ts'
import type { Device } from '../runtime/device.ts'
import { attentionPacked } from '../runtime/ops/attention.ts'
import { layerNorm } from '../runtime/ops/layerNorm.ts'
import type { LinearWeight } from '../runtime/ops/linear.ts'
import { linear } from '../runtime/ops/matmul.ts'
import type { Shape } from '../runtime/shape.ts'
import { keep, scope, Tensor } from '../runtime/tensor.ts'
import type { AnyLeaves, BlockWeights, LinearWeights, NormWeights } from './checkpoint.ts'

/** Weight and bias of a layer norm, both [D]. */
export interface Affine {
  readonly weight: Tensor<'f32'>
  readonly bias: Tensor<'f32'>
}

/** Weight and bias of a linear layer, [out, in] and [out]; a weight in f16 or int8 is frozen. */
export interface Dense {
  readonly weight: LinearWeight
  readonly bias: Tensor<'f32'>
}

/** Weights of one transformer block; D is the width, M the size of the MLP. */
export interface BlockTensors {
  readonly norm1: Affine
  /** [3D, D] and [3D]: query, key, value. */
  readonly qkv: Dense
  /** [D, D] and [D] */
  readonly out: Dense
  readonly norm2: Affine
  /** [M, D] and [M] */
  readonly fc1: Dense
  /** [D, M] and [D] */
  readonly fc2: Dense
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
}

/** What a model makes its weights with: host arrays are put on the device, tensors are taken over. */
export interface Upload {
  plain(values: AnyLeaves['plain'], shape: Shape): Tensor<'f32'>
  /** @param shape [out, in] */
  matrix(values: AnyLeaves['matrix'], shape: Shape): LinearWeight
}

/** An {@link Upload} that notes every tensor in `owned`, for who disposes them. */
export function uploadTo(device: Device, owned: Tensor[]): Upload {
  const own = <T extends Tensor>(tensor: T): T => {
    owned.push(keep(tensor))
    return tensor
  }
  const plain: Upload['plain'] = (values, shape) =>
    own(values instanceof Tensor ? values : device.constant(values, shape))
  return {
    plain,
    matrix(values, shape) {
      if (values instanceof Float32Array) return plain(values, shape)
      if (values instanceof Tensor) return own(values)
      return { values: own(values.values), scales: own(values.scales) }
    },
  }
}

export const uploadNorm = (upload: Upload, { weight, bias }: NormWeights<AnyLeaves>): Affine => ({
  weight: upload.plain(weight, [sizeOfValues(weight)]),
  bias: upload.plain(bias, [sizeOfValues(bias)]),
})

const sizeOfValues = (values: AnyLeaves['plain']): number =>
  values instanceof Tensor ? values.size : values.length

/** A block's weights on the device; every size follows from the biases. */
export function uploadBlock(upload: Upload, block: BlockWeights<AnyLeaves>): BlockTensors {
  const dense = ({ weight, bias }: LinearWeights<AnyLeaves>): Dense => {
    const out = sizeOfValues(bias)
    // Only a host array has no shape of its own.
    const inner = weight instanceof Float32Array ? weight.length / out : 0
    return { weight: upload.matrix(weight, [out, inner]), bias: upload.plain(bias, [out]) }
  }
  const scale = (values: AnyLeaves['plain']): Tensor<'f32'> =>
    upload.plain(values, [sizeOfValues(values)])
  return {
    norm1: uploadNorm(upload, block.norm1),
    qkv: dense(block.qkv),
    out: dense(block.out),
    norm2: uploadNorm(upload, block.norm2),
    fc1: dense(block.fc1),
    fc2: dense(block.fc2),
    layerScales: block.layerScales && [scale(block.layerScales[0]), scale(block.layerScales[1])],
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
 */
export function transformerBlock(
  x: Tensor<'f32'>,
  { norm1, qkv, out, norm2, fc1, fc2, layerScales }: BlockTensors,
  { heads, activation, eps, causal = false }: BlockOptions,
): Tensor<'f32'> {
  const [attentionScale, mlpScale] = layerScales ?? []
  return scope(() => {
    const mixed = scope(() => {
      const normed = layerNorm(x, norm1.weight, norm1.bias, { eps })
      const packed = linear(normed, qkv.weight, qkv.bias)
      normed.dispose()
      const attended = attentionPacked(packed, { heads, causal })
      packed.dispose()
      return linear(attended, out.weight, out.bias, { layerScale: attentionScale, residual: x })
    })
    const normed = layerNorm(mixed, norm2.weight, norm2.bias, { eps })
    const hidden = linear(normed, fc1.weight, fc1.bias, { activation })
    normed.dispose()
    return linear(hidden, fc2.weight, fc2.bias, { layerScale: mlpScale, residual: mixed })
  })
}
