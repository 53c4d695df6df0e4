import { scpLoss } from '../../src/runtime/ops/index.ts'
import { scpLoss as scpReference } from '../reference/scpLoss.ts'
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

export const losses: readonly OpCase[] = [
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
