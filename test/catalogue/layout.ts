import { concat, permute, reshape, slice, transpose } from '../../src/runtime/ops/index.ts'
import { coordinates, place } from '../reference/broadcast.ts'
import { activations, normal, type Arrays, type OpCase } from './case.ts'

const SHAPE = [3, 5, 7]

/** Elements of the result at coordinates `at` are those of x at `from(at)`. */
const moved =
  (shape: readonly number[], from: (at: readonly number[]) => readonly number[]) =>
  ({ x }: Arrays): number[] =>
    Array.from({ length: shape.reduce((a, b) => a * b) }, (_, i) => {
      return x![place(from(coordinates(i, shape)), SHAPE)]!
    })

const movement = (
  op: string,
  name: string,
  run: OpCase['run'],
  reference: OpCase['reference'],
): OpCase => ({
  op,
  name,
  inputs: { x: activations('outliers', SHAPE, 1) },
  leaves: ['x'],
  run,
  reference,
})

export const layout: readonly OpCase[] = [
  movement(
    'permute',
    '[2, 0, 1]',
    ({ x }) => permute(x!, [2, 0, 1]),
    moved([7, 3, 5], ([k, i, j]) => [i!, j!, k!]),
  ),
  movement(
    'transpose',
    'of three dimensions',
    ({ x }) => transpose(x!),
    moved([3, 7, 5], ([i, k, j]) => [i!, j!, k!]),
  ),
  movement(
    'slice',
    'of every dimension',
    ({ x }) => slice(x!, [1, 0, 2], [3, 4, 7]),
    moved([2, 4, 5], ([i, j, k]) => [i! + 1, j!, k! + 2]),
  ),
  movement(
    'reshape',
    'to a matrix',
    ({ x }) => reshape(x!, [21, 5]),
    ({ x }) => x!,
  ),
  {
    op: 'concat',
    name: 'along the last dimension',
    inputs: { a: normal([6, 5], 1), b: normal([6, 2], 2) },
    leaves: ['a', 'b'],
    run: ({ a, b }) => concat([a!, b!], -1),
    reference: ({ a, b }) =>
      Array.from({ length: 42 }, (_, i) => {
        const [row, column] = [Math.floor(i / 7), i % 7]
        return column < 5 ? a![row * 5 + column]! : b![row * 2 + column - 5]!
      }),
  },
]
