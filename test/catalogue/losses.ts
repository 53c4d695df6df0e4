import { scpLoss } from '../../src/runtime/ops/index.ts'
import { scpLoss as scpReference } from '../reference/scpLoss.ts'
import { normal, type OpCase } from './case.ts'

const [BATCH, CLUSTERS] = [9, 5]
const WEIGHTS = { crossEntropy: 1, confidence: 0.5, entropy: 2 }

export const losses: readonly OpCase[] = [1, 8].map((deviation) => ({
  op: 'scpLoss',
  name: `logits N(0, ${deviation})`,
  inputs: { logits: normal([2 * BATCH, CLUSTERS], 1, deviation) },
  leaves: ['logits'],
  run: ({ logits }) => scpLoss(logits!, WEIGHTS).total,
  reference: ({ logits }) => [scpReference(logits!, BATCH, CLUSTERS, WEIGHTS).terms[0]],
}))
