import { scaleByKernel } from '../../kernels/elementwise.ts'
import { scpLossKernel } from '../../kernels/scpLoss.ts'
import { expect } from '../shape.ts'
import { apply, type Op } from '../tape.ts'
import type { Tensor } from '../tensor.ts'

/** Weights of the three terms in the total. */
export interface ScpLossWeights {
  readonly crossEntropy: number
  readonly confidence: number
  /** α of the paper: the weight of the negative entropy of both views' mean assignments. */
  readonly entropy: number
}

interface Attributes extends ScpLossWeights {
  /** [4]: total, cross-entropy, confidence, negative entropy. */
  readonly terms: Tensor<'f32'>
}

const op: Op<{ logits: Tensor<'f32'> }, Attributes, { dLogits: Tensor<'f32'> }> = {
  name: 'scpLoss',
  forward({ logits }, { terms, crossEntropy, confidence, entropy }) {
    const [rows, clusters] = logits.shape as [number, number]
    const batch = rows / 2
    const { device } = logits
    const dLogits = device.empty(logits.shape)
    const scratch = device.empty([5 * batch + 2 * clusters])
    device.dispatch(
      scpLossKernel,
      { logits, terms, dLogits, scratch },
      { batch, clusters, crossEntropy, confidence, entropy },
    )
    scratch.dispose()
    return { out: terms.rows(0, 1), saved: { dLogits } }
  },
  backward(context) {
    const { dLogits } = context.saved
    if (context.isSeed) return { logits: dLogits.view(dLogits.shape) }
    const scaled = context.output('logits')
    const tensors = { x: dLogits, factor: context.gradient, out: scaled }
    dLogits.device.dispatch(scaleByKernel, tensors, { size: dLogits.size })
    return { logits: scaled }
  },
}

export interface ScpLoss {
  /** [1], the weighted sum; carries the tape. */
  readonly total: Tensor<'f32'>
  /** [4]: total, cross-entropy, confidence, negative entropy. */
  readonly terms: Tensor<'f32'>
}

/**
 * SCP's loss (Li et al., arXiv 2502.04226, equations 3 to 6) on two views' logits, with its gradient
 * computed in the same dispatch; see {@link scpLossKernel} for the formulas.
 *
 * @param logits [2B, K]: the rows of the first view, then those of the second
 */
export function scpLoss(logits: Tensor<'f32'>, weights: ScpLossWeights): ScpLoss {
  const [rows = 0, clusters = 0] = logits.shape
  expect(logits.shape.length === 2 && rows % 2 === 0 && clusters >= 2, 'scpLoss', () => {
    return `logits is ${logits.toString()}, expected [2B, K] with K of 2 or more`
  })
  const terms = logits.device.empty([4])
  return { total: apply(op, { logits }, { ...weights, terms }), terms }
}
