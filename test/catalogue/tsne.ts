import { tsneGradient, tsneProbabilities, type TsneGradient } from '../../src/runtime/ops/index.ts'
import type { Tensor } from '../../src/runtime/tensor.ts'
import * as reference from '../reference/tsne.ts'
import { sparseRows, symmetricMatrix } from '../support/tsneGraph.ts'
import { normal, type Arrays, type OpCase, type Tensors } from './case.ts'

const N = 41
const [ROWS, NEIGHBOURS, PERPLEXITY] = [9, 23, 7]

/** Ascending squared distances of rows of very different scales. */
const squared = normal([ROWS, NEIGHBOURS], 1)
squared.data.forEach((value, i) => {
  squared.data[i] = value ** 2 * 10 ** (Math.floor(i / NEIGHBOURS) - 4)
})
for (let row = 0; row < ROWS; row++) {
  squared.data.subarray(row * NEIGHBOURS, (row + 1) * NEIGHBOURS).sort()
}

const joint = symmetricMatrix(N, 2)
const rows = sparseRows(joint, N)
const inputs: OpCase['inputs'] = {
  layout: normal([N, 2], 3, 2),
  ...Object.fromEntries(
    Object.entries(rows).map(([name, data]) => [name, { data, shape: [data.length] }]),
  ),
}

/** One of the three outputs; their order of magnitude is not the same. */
const output = (name: keyof TsneGradient, of: (inputs: Arrays) => ArrayLike<number>): OpCase => ({
  op: 'tsneGradient',
  name,
  inputs,
  leaves: [],
  run: ({ layout, starts, columns, weights }: Tensors) => {
    const [from, to] = [starts, columns] as unknown as Tensor<'u32'>[]
    const graph = { starts: from!, columns: to!, weights: weights! }
    return tsneGradient(layout!, graph, { exaggeration: 12 })[name]
  },
  reference: of,
})

const expected = ({ layout }: Arrays) => reference.gradient(layout!, joint, 12)

export const tsneCases: readonly OpCase[] = [
  {
    op: 'tsneProbabilities',
    name: `perplexity ${PERPLEXITY}`,
    inputs: { squared },
    leaves: [],
    run: ({ squared }) => tsneProbabilities(squared!, { perplexity: PERPLEXITY }),
    reference: ({ squared }) => reference.conditional(squared!, NEIGHBOURS, PERPLEXITY),
    // The bisection ends where the entropy is right to 1e-5.
    tolerance: 5e-5,
  },
  output('gradient', (all) => expected(all).gradient),
  output('divergence', (all) => expected(all).divergence),
  output('total', (all) => [expected(all).total]),
]
