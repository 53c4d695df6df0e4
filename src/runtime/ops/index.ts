/** Every public op: a free function on tensors, its gradient rule beside it. */
export { attention, attentionPacked, type AttentionOptions } from './attention.ts'
export { batchNormEval, batchNormTrain, type BatchNormOptions } from './batchNorm.ts'
export { toF16, toF32 } from './cast.ts'
export {
  activate,
  add,
  gelu,
  multiply,
  quickGelu,
  relu,
  reshape,
  scale,
  silu,
} from './elementwise.ts'
export { embedTokens } from './embedTokens.ts'
export { gatherRows } from './gatherRows.ts'
export { l2Normalize, type L2NormalizeOptions } from './l2Normalize.ts'
export { layerNorm, type LayerNormOptions } from './layerNorm.ts'
export { layerScale } from './layerScale.ts'
export { linear, type LinearOptions, type LinearWeight } from './linear.ts'
export { matmul } from './matmul.ts'
export { patchEmbed, patchify } from './patchEmbed.ts'
export { quantize, type QuantizedWeight } from './quantize.ts'
export { mean, sum, type Over } from './reduce.ts'
export { scpLoss, type LossRing, type ScpLoss, type ScpLossWeights } from './scpLoss.ts'
export { logSoftmax, softmax } from './softmax.ts'
