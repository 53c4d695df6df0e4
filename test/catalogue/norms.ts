import {
  batchNormEval,
  batchNormTrain,
  l2Normalize,
  layerNorm,
} from '../../src/runtime/ops/index.ts'
import * as batchNorm from '../reference/batchNorm.ts'
import { l2Normalize as l2Reference } from '../reference/l2Normalize.ts'
import { layerNorm as layerNormReference } from '../reference/layerNorm.ts'
import { activations, normal, ofKinds, type Kind, type OpCase } from './case.ts'

const ROWS = 5
const COLUMNS = 387
const EPS = 1e-5
/** Batch norm has few columns and many rows. */
const BATCH = { rows: 65, columns: 37, eps: EPS, relu: false }

const affine = (columns: number): OpCase['inputs'] => ({
  weight: normal([columns], 11, 0.3, 1),
  bias: normal([columns], 12, 0.5),
})

/** Running mean, then running variance. */
function running(columns: number): OpCase['inputs'][string] {
  const mean = normal([columns], 13).data
  const variance = normal([columns], 14).data
  const data = new Float32Array(2 * columns)
  data.set(mean)
  data.set(
    Float32Array.from(variance, (x) => 0.5 + x * x),
    columns,
  )
  return { data, shape: [2, columns] }
}

const batchInputs = (kind: Kind): OpCase['inputs'] => ({
  x: activations(kind, [BATCH.rows, BATCH.columns], 1),
  ...affine(BATCH.columns),
  running: running(BATCH.columns),
})

export const norms: readonly OpCase[] = [
  ...ofKinds((kind) => ({
    op: 'layerNorm',
    inputs: { x: activations(kind, [ROWS, COLUMNS], 1), ...affine(COLUMNS) },
    leaves: ['x', 'weight', 'bias'],
    run: ({ x, weight, bias }) => layerNorm(x!, weight!, bias!),
    reference: ({ x, weight, bias }) => layerNormReference(x!, weight!, bias!, EPS),
  })),
  ...ofKinds((kind) => ({
    op: 'l2Normalize',
    inputs: { x: activations(kind, [ROWS, COLUMNS], 1) },
    leaves: ['x'],
    run: ({ x }) => l2Normalize(x!),
    reference: ({ x }) => l2Reference(x!, COLUMNS, 1e-12),
  })),
  ...ofKinds((kind) => ({
    op: 'batchNormTrain',
    inputs: batchInputs(kind),
    leaves: ['x', 'weight', 'bias'],
    run: ({ x, weight, bias, running }) => batchNormTrain(x!, weight!, bias!, running!),
    reference: ({ x, weight, bias }) =>
      batchNorm.normalize(x!, weight!, bias!, batchNorm.statistics(x!, BATCH), BATCH),
  })),
  ...ofKinds((kind) => ({
    op: 'batchNormEval',
    inputs: batchInputs(kind),
    leaves: ['x', 'weight', 'bias'],
    run: ({ x, weight, bias, running }) => batchNormEval(x!, weight!, bias!, running!),
    reference: ({ x, weight, bias, running }) => {
      const values = Array.from(running!)
      const mean = values.slice(0, BATCH.columns)
      const variance = values.slice(BATCH.columns)
      return batchNorm.normalize(x!, weight!, bias!, { mean, variance }, BATCH)
    },
  })),
]
