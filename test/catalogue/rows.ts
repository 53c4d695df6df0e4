import {
  embedTokens,
  gather,
  gatherRows,
  scatterAdd,
  logSoftmax,
  mean,
  meanRuns,
  softmax,
  sum,
} from '../../src/runtime/ops/index.ts'
import type { Over } from '../../src/runtime/ops/index.ts'
import type { Tensor } from '../../src/runtime/tensor.ts'
import { reduce } from '../reference/broadcast.ts'
import { embedTokens as embedReference } from '../reference/embedTokens.ts'
import { gatherRows as gatherReference, gatherRowsBackward } from '../reference/gatherRows.ts'
import { sum as sumReference } from '../reference/reduce.ts'
import * as softmaxReference from '../reference/softmax.ts'
import { activations, normal, ofKinds, type Kind, type OpCase } from './case.ts'

const ROWS = 7
const COLUMNS = 197

/** Row 5 is never taken, row 2 three times; 9 is past the end and takes the last. */
const INDEX = { data: Uint32Array.of(2, 0, 2, 6, 1, 3, 4, 2, 9), shape: [9] }

const u32 = (tensor: Tensor): Tensor<'u32'> => tensor as Tensor<'u32'>

const input = (kind: Kind): OpCase['inputs'] => ({ x: activations(kind, [ROWS, COLUMNS], 1) })

const OVERS: readonly Over[] = ['all', 'columns', 'rows']
const COUNTS: Readonly<Record<Over, number>> = { all: ROWS * COLUMNS, columns: COLUMNS, rows: ROWS }

export const rows: readonly OpCase[] = [
  ...ofKinds((kind) => ({
    op: 'softmax',
    inputs: input(kind),
    leaves: ['x'],
    run: ({ x }) => softmax(x!),
    reference: ({ x }) => softmaxReference.softmax(x!, COLUMNS),
  })),
  ...ofKinds((kind) => ({
    op: 'logSoftmax',
    inputs: input(kind),
    leaves: ['x'],
    run: ({ x }) => logSoftmax(x!),
    reference: ({ x }) => softmaxReference.logSoftmax(x!, COLUMNS),
  })),
  ...OVERS.flatMap((over) =>
    ofKinds((kind) => ({
      op: 'sum',
      inputs: input(kind),
      leaves: ['x'],
      run: ({ x }) => sum(x!, over),
      reference: ({ x }) => sumReference(x!, COLUMNS, over),
    })).map((entry) => ({ ...entry, name: `${over}, ${entry.name}` })),
  ),
  {
    op: 'sum',
    name: 'of the middle dimension',
    inputs: { x: normal([5, ROWS, 33], 1) },
    leaves: ['x'],
    run: ({ x }) => sum(x!, { axes: 1 }),
    reference: ({ x }) => reduce(x!, [5, ROWS, 33], [1], (list) => list.reduce((a, b) => a + b)),
  },
  {
    op: 'meanRuns',
    name: 'two runs, N(10, 1)',
    inputs: { x: normal([2, COLUMNS, 5], 1, 1, 10) },
    leaves: ['x'],
    run: ({ x }) => meanRuns(x!),
    reference: ({ x }) =>
      reduce(x!, [2, COLUMNS, 5], [1], (list) => list.reduce((a, b) => a + b) / COLUMNS),
  },
  ...OVERS.map((over): OpCase => ({
    op: 'mean',
    name: `${over}, N(10, 1)`,
    inputs: input('offset'),
    leaves: ['x'],
    run: ({ x }) => mean(x!, over),
    reference: ({ x }) => sumReference(x!, COLUMNS, over).map((value) => value / COUNTS[over]),
  })),
  ...ofKinds((kind) => ({
    op: 'gatherRows',
    inputs: { ...input(kind), index: INDEX },
    leaves: ['x'],
    run: ({ x, index }) => gatherRows(x!, u32(index!)),
    reference: ({ x, index }) => gatherReference(x!, index!, COLUMNS),
  })),
  {
    op: 'gather',
    name: 'parts of three dimensions',
    inputs: {
      x: { ...activations('outliers', [ROWS, COLUMNS], 1), shape: [ROWS, 1, COLUMNS] },
      index: INDEX,
    },
    leaves: ['x'],
    run: ({ x, index }) => gather(x!, u32(index!)),
    reference: ({ x, index }) => gatherReference(x!, index!, COLUMNS),
  },
  ...ofKinds((kind) => ({
    op: 'scatterAdd',
    inputs: { ...input(kind), index: INDEX, source: activations(kind, [9, COLUMNS], 2) },
    leaves: ['x', 'source'],
    run: ({ x, index, source }) => scatterAdd(x!, u32(index!), source!),
    reference: ({ x, index, source }) =>
      gatherRowsBackward(source!, index!, ROWS, COLUMNS).map((value, i) => value + x![i]!),
  })),
  ...ofKinds((kind) => ({
    op: 'embedTokens',
    inputs: {
      patches: activations(kind, [3, ROWS, COLUMNS], 1),
      prefix: normal([2, COLUMNS], 2),
      positions: normal([ROWS + 2, COLUMNS], 3, 0.1),
    },
    leaves: ['patches', 'prefix', 'positions'],
    run: ({ patches, prefix, positions }) => embedTokens(patches!, prefix!, positions!),
    reference: ({ patches, prefix, positions }) =>
      embedReference(patches!, prefix!, positions!, COLUMNS),
  })),
]
