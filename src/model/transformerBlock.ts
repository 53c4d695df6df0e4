import type { Activation } from '../kernels/activations.ts'
import type { Device } from '../runtime/device.ts'
import type { FloatDtype } from '../runtime/dtype.ts'
import { attentionPacked } from '../runtime/ops/attention.ts'
import { activate, add, scale } from '../runtime/ops/elementwise.ts'
import { layerNorm } from '../runtime/ops/layerNorm.ts'
import { layerScale as scaleByLayer } from '../runtime/ops/layerScale.ts'
import type { LinearOptions, LinearWeight } from '../runtime/ops/linear.ts'
import { linear } from '../runtime/ops/matmul.ts'
import type { Shape } from '../runtime/shape.ts'
import { keep, scope, Tensor } from '../runtime/tensor.ts'
import type { AnyLeaves, BlockWeights, LinearWeights, NormWeights } from './checkpoint.ts'

/** Weight and bias of a layer norm, both [D]. */
export interface Affine {
  readonly weight: Tensor<'f32'>
  readonly bias: Tensor<'f32'>
}

/** A low-rank branch beside a linear layer (Hu et al. 2021): scale · B·A·x is added to what it gives. */
export interface LowRank {
  /** A [r, in] */
  readonly down: Tensor<'f32'>
  /** B [out, r] */
  readonly up: Tensor<'f32'>
  readonly scale: number
}

/** Weight and bias of a linear layer, [out, in] and [out]; a weight in f16 or int8 is frozen. */
export interface Dense {
  readonly weight: LinearWeight
  readonly bias: Tensor<'f32'>
  readonly lowRank?: LowRank | undefined
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
  /**
   * Of what passes between the block's layers: normed tokens, packed queries, keys and values, attended
   * tokens and the MLP's hidden ones. Sums are f32, and so is what the block takes and gives. Default
   * f32; f16 halves the memory and carries no gradient.
   */
  readonly dtype?: FloatDtype
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
  const layerScale = (values: AnyLeaves['plain']): Tensor<'f32'> =>
    upload.plain(values, [sizeOfValues(values)])
  return {
    norm1: uploadNorm(upload, block.norm1),
    qkv: dense(block.qkv),
    out: dense(block.out),
    norm2: uploadNorm(upload, block.norm2),
    fc1: dense(block.fc1),
    fc2: dense(block.fc2),
    layerScales: block.layerScales && [
      layerScale(block.layerScales[0]),
      layerScale(block.layerScales[1]),
    ],
  }
}

/** A linear layer with its low-rank branch, if it has one: then in a few dispatches more, and f32. */
function dense<D extends FloatDtype = 'f32'>(
  x: Tensor<FloatDtype>,
  { weight, bias, lowRank }: Dense,
  options: LinearOptions<D> = {},
): Tensor<D | 'f32'> {
  if (!lowRank) return linear(x, weight, bias, options)
  const { activation = 'none', layerScale, residual } = options
  return scope(() => {
    const branch = scale(linear(x, lowRank.down), lowRank.scale)
    let y = linear(branch, lowRank.up, undefined, { residual: linear(x, weight, bias) })
    if (activation !== 'none') y = activate(y, activation)
    if (layerScale) y = scaleByLayer(y, layerScale)
    return residual ? add(y, residual as Tensor<'f32'>) : y
  })
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
      const packed = dense(normed, qkv, { dtype })
      normed.dispose()
      const attended = attentionPacked(packed, { heads, causal })
      packed.dispose()
      return dense(attended, out, { layerScale: attentionScale, residual: x })
    })
    const normed = layerNorm(mixed, norm2.weight, norm2.bias, { eps, dtype })
    const hidden = dense(normed, fc1, { activation, dtype })
    normed.dispose()
    return dense(hidden, fc2, { layerScale: mlpScale, residual: mixed })
  })
}
