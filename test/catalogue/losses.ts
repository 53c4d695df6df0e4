import { crossEntropy, scale, scpLoss, temiLoss } from '../../src/runtime/ops/index.ts'
import type { Tensor } from '../../src/runtime/tensor.ts'
import { crossEntropy as crossReference } from '../reference/crossEntropy.ts'
import { scpLoss as scpReference } from '../reference/scpLoss.ts'
import { temiLoss as temiReference } from '../reference/temiLoss.ts'
import { normal, type OpCase } from './case.ts'

const [BATCH, CLUSTERS] = [9, 5]
const WEIGHTS = { crossEntropy: 1, confidence: 0.5, entropy: 2 }

const single = [1, 8].map((deviation): OpCase => ({
  op: 'scpLoss',
  name: `logits N(0, ${deviation})`,
  inputs: { logits: normal([2 * BATCH, CLUSTERS], 1, deviation) },
  leaves: ['logits'],
  run: ({ logits }) => scpLoss(logits!, WEIGHTS).total,
  reference: ({ logits }) => [scpReference(logits!, BATCH, CLUSTERS, WEIGHTS).terms[0]],
}))

const SIZE = 2 * BATCH * CLUSTERS

const scp: readonly OpCase[] = [
  ...single,
  {
    op: 'scpLoss',
    name: 'two runs, logits N(0, 8)',
    inputs: { logits: normal([2, 2 * BATCH, CLUSTERS], 1, 8) },
    leaves: ['logits'],
    run: ({ logits }) => scpLoss(logits!, WEIGHTS).total,
    reference: ({ logits }) =>
      [0, 1].map((run) => {
        const own = Array.from(logits!).slice(run * SIZE, (run + 1) * SIZE)
        return scpReference(own, BATCH, CLUSTERS, WEIGHTS).terms[0]
      }),
  },
]

const SMOOTHING = 0.1
const LABELS = { data: Uint32Array.from({ length: 2 * BATCH }, (_, i) => (i * 3) % CLUSTERS) }

const cross: readonly OpCase[] = [1, 8].map((deviation) => ({
  op: 'crossEntropy',
  name: `logits N(0, ${deviation}), smoothed`,
  inputs: {
    logits: normal([2 * BATCH, CLUSTERS], 1, deviation),
    labels: { ...LABELS, shape: [2 * BATCH] },
  },
  leaves: ['logits'],
  run: ({ logits, labels }) =>
    crossEntropy(logits!, labels as Tensor as Tensor<'u32'>, {
      labelSmoothing: SMOOTHING,
      reduction: 'rows',
    }),
  reference: ({ logits, labels }) => crossReference(logits!, labels!, CLUSTERS, SMOOTHING),
}))

const [RUNS, HEADS] = [2, 3]
const TEMI = { temperature: 0.1, teacherTemperature: 0.1, beta: 0.6, momentum: 0.9 }
const LOGITS = [RUNS, HEADS, 2 * BATCH, CLUSTERS]

/** Cosines, as TEMI's heads give, up to 1; and larger ones, whose softmax is saturated. */
const temi: readonly OpCase[] = [0.3, 2].map((deviation) => ({
  op: 'temiLoss',
  name: `logits N(0, ${deviation}) at τ = 0.1`,
  inputs: {
    student: normal(LOGITS, 1, deviation),
    teacher: normal(LOGITS, 2, deviation),
    marginals: {
      data: new Float32Array(RUNS * HEADS * CLUSTERS).fill(1 / CLUSTERS),
      shape: [RUNS, HEADS, CLUSTERS],
    },
  },
  leaves: ['student'],
  // Every call brings its marginals forward: each gets a copy of its own.
  run: ({ student, teacher, marginals }) =>
    temiLoss(student!, teacher!, scale(marginals!, 1), TEMI).total,
  reference: ({ student, teacher, marginals }) => {
    const sizes = { heads: RUNS * HEADS, perRun: HEADS, batch: BATCH, clusters: CLUSTERS }
    const { losses } = temiReference(student!, teacher!, marginals!, sizes, TEMI)
    return Array.from({ length: RUNS }, (_, r) =>
      losses.slice(r * HEADS, (r + 1) * HEADS).reduce((sum, loss) => sum + loss / HEADS, 0),
    )
  },
}))

export const losses: readonly OpCase[] = [...scp, ...cross, ...temi]
