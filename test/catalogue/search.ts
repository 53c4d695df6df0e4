import {
  argmax,
  argmin,
  max,
  min,
  nearestCentre,
  nearestRows,
  topK,
} from '../../src/runtime/ops/index.ts'
import * as distance from '../reference/distance.ts'
import { activations, normal, ofKinds, type Arrays, type OpCase } from './case.ts'

const [ROWS, COLUMNS] = [7, 197]
const K = 5
/** Rows, centres and their dimension. */
const POINTS = { n: 37, m: 21, d: 19 }

const lines = ({ x }: Arrays): number[][] =>
  Array.from({ length: ROWS }, (_, row) => {
    return Array.from({ length: COLUMNS }, (_, column) => x![row * COLUMNS + column]!)
  })

const extremum = (op: 'max' | 'min'): OpCase[] =>
  ofKinds((kind) => ({
    op,
    inputs: { x: activations(kind, [ROWS, COLUMNS], 1) },
    leaves: ['x'],
    run: ({ x }) => (op === 'max' ? max : min)(x!, { axes: 1 }),
    reference: (inputs) => lines(inputs).map((line) => Math[op](...line)),
  }))

const position = (op: 'argmax' | 'argmin'): OpCase => ({
  op,
  name: 'N(0, 1)',
  dtype: 'u32',
  inputs: { x: activations('normal', [ROWS, COLUMNS], 1) },
  leaves: [],
  run: ({ x }) => (op === 'argmax' ? argmax : argmin)(x!, { axis: 1 }),
  reference: (inputs) =>
    lines(inputs).map((line) => line.indexOf(Math[op === 'argmax' ? 'max' : 'min'](...line))),
  tolerance: 0,
})

const points: OpCase['inputs'] = {
  x: normal([POINTS.n, POINTS.d], 1),
  y: normal([POINTS.m, POINTS.d], 2),
}

/** The k nearest rows of y for every row of x, or their squared distances. */
const nearest =
  (k: number, what: 'numbers' | 'squares') =>
  ({ x, y }: Arrays): number[] => {
    const squares = distance.squaredDistances(x!, y!, POINTS.d)
    const rows = distance.smallest(squares, POINTS.m, k)
    return rows.flatMap((line, row) =>
      what === 'numbers' ? line : line.map((column) => squares[row * POINTS.m + column]!),
    )
  }

const searches = (
  op: string,
  k: number,
  run: (inputs: Parameters<OpCase['run']>[0]) => ReturnType<typeof nearestRows>,
): OpCase[] => [
  {
    op,
    name: 'numbers',
    dtype: 'u32',
    inputs: points,
    leaves: [],
    run: (inputs) => run(inputs).nearest,
    reference: nearest(k, 'numbers'),
    tolerance: 0,
  },
  {
    op,
    name: 'squared distances',
    inputs: points,
    leaves: [],
    run: (inputs) => run(inputs).squared,
    reference: nearest(k, 'squares'),
  },
]

export const search: readonly OpCase[] = [
  ...extremum('max'),
  ...extremum('min'),
  position('argmax'),
  position('argmin'),
  ...ofKinds((kind) => ({
    op: 'topK',
    inputs: { x: activations(kind, [ROWS, COLUMNS], 1) },
    leaves: ['x'],
    run: ({ x }) => topK(x!, K).values,
    reference: (inputs) =>
      lines(inputs).flatMap((line) => [...line].sort((a, b) => b - a).slice(0, K)),
  })),
  ...searches('nearestCentre', 1, ({ x, y }) => nearestCentre(x!, y!)),
  ...searches('nearestRows', K, ({ x, y }) => nearestRows(x!, y!, { k: K })),
]
