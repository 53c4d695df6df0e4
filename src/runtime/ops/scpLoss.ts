import { scaleByKernel } from '../../kernels/elementwise.ts'
import { scpLossKernel } from '../../kernels/scpLoss.ts'
import { expect, expectShape } from '../shape.ts'
import { apply, type Op } from '../tape.ts'
import type { Tensor } from '../tensor.ts'

/** Weights of the three terms in the total. */
export interface ScpLossWeights {
  readonly crossEntropy: number
  readonly confidence: number
  /** α of the paper: the weight of the negative entropy of both views' mean assignments. */
  readonly entropy: number
}

/** The books of a training loop on the GPU; a step's loss brings them forward. */
export interface LossRing {
  /** [steps, 4]: the optimiser's figures for every step, the learning rate third. */
  readonly schedule: Tensor<'f32'>
  /** [1 or more]: the number of steps done; goes up. */
  readonly step: Tensor<'u32'>
  /** [steps, 5]: the four terms and the learning rate of every step. */
  readonly trace: Tensor<'f32'>
  /** [1, 4]: the schedule's row of this step, for the optimiser that follows. */
  readonly current: Tensor<'f32'>
}

interface Attributes extends ScpLossWeights {
  /** [4]: total, cross-entropy, confidence, negative entropy. */
  readonly terms: Tensor<'f32'>
  readonly ring: LossRing | undefined
}

const op: Op<{ logits: Tensor<'f32'> }, Attributes, { dLogits: Tensor<'f32'> }> = {
  name: 'scpLoss',
  forward({ logits }, { terms, ring, crossEntropy, confidence, entropy }) {
    const [rows, clusters] = logits.shape as [number, number]
    const batch = rows / 2
    const { device } = logits
    const dLogits = device.empty(logits.shape)
    const scratch = device.empty([5 * batch + 2 * clusters])
    // The kernel binds the ring only when it has one.
    const { schedule, step, trace, current } = ring ?? noRing(logits)
    device.dispatch(
      scpLossKernel({ ring: ring !== undefined }),
      { logits, terms, dLogits, scratch, schedule, step, trace, current },
      { batch, clusters, crossEntropy, confidence, entropy, steps: schedule.shape[0]! },
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

const noRing = (unused: Tensor): Record<keyof LossRing, Tensor> => ({
  schedule: unused,
  step: unused,
  trace: unused,
  current: unused,
})

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
 * @param ring brought forward by one step, in the same dispatch
 */
export function scpLoss(logits: Tensor<'f32'>, weights: ScpLossWeights, ring?: LossRing): ScpLoss {
  const [rows = 0, clusters = 0] = logits.shape
  expect(logits.shape.length === 2 && rows % 2 === 0 && clusters >= 2, 'scpLoss', () => {
    return `logits is ${logits.toString()}, expected [2B, K] with K of 2 or more`
  })
  if (ring) {
    const [steps = 0] = ring.schedule.shape
    expectShape('scpLoss', 'schedule', ring.schedule.shape, [steps, 4])
    expectShape('scpLoss', 'trace', ring.trace.shape, [steps, 5])
    expectShape('scpLoss', 'current', ring.current.shape, [1, 4])
  }
  const terms = logits.device.empty([4])
  return { total: apply(op, { logits }, { ...weights, terms, ring }), terms }
}
