/** Every public op: a free function on tensors, its gradient rule beside it. */
export { attention, attentionPacked, type AttentionOptions } from './attention.ts'
export { batchNormEval, batchNormTrain, type BatchNormOptions } from './batchNorm.ts'
export { toF16, toF32 } from './cast.ts'
export {
  nearestCentre,
  nearestRows,
  type Nearest,
  type NearestCentreOptions,
  type NearestRowsOptions,
} from './distance.ts'
export {
  abs,
  activate,
  add,
  divide,
  erf,
  exp,
  gelu,
  log,
  maximum,
  minimum,
  multiply,
  negate,
  power,
  quickGelu,
  reciprocal,
  relu,
  reshape,
  rsqrt,
  scale,
  sigmoid,
  silu,
  softplus,
  sqrt,
  square,
  subtract,
  tanh,
} from './elementwise.ts'
export { crossEntropy, type CrossEntropyOptions } from './crossEntropy.ts'
export { dropout, type DropoutOptions } from './dropout.ts'
export { embedTokens } from './embedTokens.ts'
export {
  blurImages,
  cropImages,
  normalizeImages,
  resizeImages,
  type ImageType,
  type ImageWindow,
} from './image.ts'
export { argmax, argmin, max, min, type ArgOptions } from './extremum.ts'
export { gather, gatherRows, scatterAdd } from './gather.ts'
export { l2Normalize, type L2NormalizeOptions } from './l2Normalize.ts'
export { concat, permute, slice, transpose } from './layout.ts'
export { layerNorm, type LayerNormOptions } from './layerNorm.ts'
export { layerScale } from './layerScale.ts'
export { linear, type LinearOptions, type LinearWeight } from './linear.ts'
export { linearRuns } from './linearRuns.ts'
export { matmul } from './matmul.ts'
export type { FloatDtype } from '../dtype.ts'
export { patchEmbed, patchify } from './patchEmbed.ts'
export { quantize, type QuantizedWeight } from './quantize.ts'
export { integers, normal, permutation, uniform, type RandomOptions } from './random.ts'
export { mean, sum, type Over } from './reduce.ts'
export type { Axes, ReduceOptions } from '../axes.ts'
export { scpLoss, type LossRing, type ScpLoss, type ScpLossWeights } from './scpLoss.ts'
export { logSoftmax, softmax } from './softmax.ts'
export { temiLoss, type TemiLoss, type TemiLossOptions } from './temiLoss.ts'
export { topK, type TopK } from './topK.ts'
export {
  tsneGradient,
  tsneProbabilities,
  type TsneGradient,
  type TsneGraph,
  type TsneProbabilitiesOptions,
} from './tsne.ts'
export { where } from './where.ts'
