import { scpLossKernel } from '../../kernels/scpLoss.ts'
import { expect, expectShape } from '../shape.ts'
import { apply, withoutTape, type Op } from '../tape.ts'
import { scope, type Tensor } from '../tensor.ts'
import { multiply } from './elementwise.ts'

/** Weights of the three terms in the total, and forms of them. */
export interface ScpLossWeights {
  readonly crossEntropy: number
  readonly confidence: number
  /** α of the paper: the weight of the negative entropy of both views' mean assignments. */
  readonly entropy: number
  /** Cross-entropy of both directions, halved each, or of −Σ p ln q alone. Default true. */
  readonly symmetric?: boolean
  /** Whether no gradient goes through the cross-entropy's targets. Default false. */
  readonly stopGradient?: boolean
  /** The entropies of the two views added up, or their mean. Default `sum`. */
  readonly entropyOver?: 'sum' | 'mean'
}

/** The books of R runs' training on the GPU, all at the same step; a step's loss brings them forward. */
export interface LossRing {
  /** [steps, 4]: the optimiser's figures for every step, the learning rate third. */
  readonly schedule: Tensor<'f32'>
  /** [R, 2]: the number of steps done, which goes up, and the run's seed. */
  readonly step: Tensor<'u32'>
  /** [steps, R, 1 + terms + 1]: total, terms (SCP's are three) and learning rate of every step. */
  readonly trace: Tensor<'f32'>
  /** [1, 4]: the schedule's row of this step, for the optimiser that follows. */
  readonly current: Tensor<'f32'>
}

interface Attributes extends ScpLossWeights {
  readonly runs: number
  /** [4, R]: total, cross-entropy, confidence, negative entropy. */
  readonly terms: Tensor<'f32'>
  readonly ring: LossRing | undefined
}

/** The kernel's parameters of a form of the loss. */
export function scpLossForm({
  symmetric = true,
  stopGradient = false,
  entropyOver = 'sum',
}: Omit<ScpLossWeights, 'crossEntropy' | 'confidence' | 'entropy'>): Record<
  'forward' | 'reverse' | 'targets' | 'views',
  number
> {
  return {
    forward: symmetric ? 0.5 : 1,
    reverse: symmetric ? 0.5 : 0,
    targets: stopGradient ? 0 : 1,
    views: entropyOver === 'sum' ? 1 : 0.5,
  }
}

const op: Op<{ logits: Tensor<'f32'> }, Attributes, { dLogits: Tensor<'f32'> }> = {
  name: 'scpLoss',
  forward({ logits }, { terms, ring, runs, crossEntropy, confidence, entropy, ...form }) {
    const [rows, clusters] = logits.shape.slice(-2) as [number, number]
    const batch = rows / 2
    const { device } = logits
    const dLogits = device.empty(logits.shape)
    const scratch = device.empty([runs, 5 * batch + 2 * clusters])
    // The kernel binds the ring only when it has one.
    const { schedule, step, trace, current } = ring ?? noRing(logits)
    const weights = { crossEntropy, confidence, entropy, ...scpLossForm(form) }
    device.dispatch(
      scpLossKernel({ ring: ring !== undefined }),
      { logits, terms, dLogits, scratch, schedule, step, trace, current },
      { batch, clusters, ...weights, runs, steps: schedule.shape[0]! },
    )
    scratch.dispose()
    const first = terms.rows(0, 1)
    const out = first.view([runs])
    first.dispose()
    return { out, saved: { dLogits } }
  },
  backward(context) {
    const { dLogits } = context.saved
    if (context.isSeed) return { logits: dLogits.view(dLogits.shape) }
    const { runs } = context.attributes
    // A factor for each run.
    const logits = scope(() => {
      const rows = dLogits.view([runs, dLogits.size / runs])
      const factor = context.gradient.view([runs, 1])
      return withoutTape(() => multiply(rows, factor)).view(dLogits.shape)
    })
    return { logits }
  },
}

const noRing = (unused: Tensor): Record<keyof LossRing, Tensor> => ({
  schedule: unused,
  step: unused,
  trace: unused,
  current: unused,
})

export interface ScpLoss {
  /** [R], the weighted sums; carries the tape. */
  readonly total: Tensor<'f32'>
  /** [4, R]: total, cross-entropy, confidence, negative entropy. */
  readonly terms: Tensor<'f32'>
}

/**
 * SCP's loss (Li et al., arXiv 2502.04226, equations 3 to 6) on two views' logits of R runs, with its
 * gradient computed in the same dispatch; see {@link scpLossKernel} for the formulas.
 *
 * @param logits [R, 2B, K], or [2B, K] of one run: the rows of the first view, then those of the second
 * @param ring brought forward by one step, in the same dispatch
 */
export function scpLoss(logits: Tensor<'f32'>, weights: ScpLossWeights, ring?: LossRing): ScpLoss {
  const [rows = 0, clusters = 0] = logits.shape.slice(-2)
  const rank = logits.shape.length
  expect((rank === 2 || rank === 3) && rows % 2 === 0 && clusters >= 2, 'scpLoss', () => {
    return `logits is ${logits.toString()}, expected [2B, K] or [R, 2B, K] with K of 2 or more`
  })
  const runs = rank === 3 ? logits.shape[0]! : 1
  if (ring) {
    const [steps = 0] = ring.schedule.shape
    expectShape('scpLoss', 'schedule', ring.schedule.shape, [steps, 4])
    expectShape('scpLoss', 'step', ring.step.shape, [runs, 2])
    expectShape('scpLoss', 'trace', ring.trace.shape, [steps, runs, 5])
    expectShape('scpLoss', 'current', ring.current.shape, [1, 4])
  }
  const terms = logits.device.empty([4, runs])
  return { total: apply(op, { logits }, { ...weights, runs, terms, ring }), terms }
}
