import { scale } from '../runtime/ops/elementwise.ts'
import { permute, slice } from '../runtime/ops/layout.ts'
import { layerNorm } from '../runtime/ops/layerNorm.ts'
import { linear, matmul } from '../runtime/ops/matmul.ts'
import { softmax } from '../runtime/ops/softmax.ts'
import { scope, type Tensor } from '../runtime/tensor.ts'
import type { BlockOptions, BlockTensors } from './transformerBlock.ts'

/**
 * The attention weights of one block, softmax(Q·Kᵀ/√d) (Vaswani et al. 2017), which the fused kernel of
 * the fast path never stores.
 *
 * @param x [B, T, D], the block's input
 * @param queries how many of the first tokens ask; 1 for the class token alone
 * @returns [B, H, queries, T]; rows sum to 1
 */
export function attentionMap(
  x: Tensor<'f32'>,
  { norm1, qkv }: Pick<BlockTensors, 'norm1' | 'qkv'>,
  { heads, eps }: Pick<BlockOptions, 'heads' | 'eps'>,
  queries: number,
): Tensor<'f32'> {
  const [batch = 0, tokens = 0, width = 0] = x.shape
  const size = width / heads
  return scope(() => {
    const normed = layerNorm(x, norm1.weight, norm1.bias, { eps })
    const packed = linear(normed, qkv.weight, qkv.bias).view([batch, tokens, 3, heads, size])
    const parts = permute(packed, [2, 0, 3, 1, 4])
    const part = (index: number, rows: number): Tensor<'f32'> => {
      const end = [index + 1, batch, heads, rows, size]
      return slice(parts, [index, 0, 0, 0, 0], end).view([batch, heads, rows, size])
    }
    const scores = matmul(part(0, queries), part(1, tokens), { transposeB: true })
    return softmax(scale(scores, 1 / Math.sqrt(size)))
  })
}
