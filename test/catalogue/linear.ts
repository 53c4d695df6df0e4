import { linear, linearRuns, matmul, patchEmbed, patchify } from '../../src/runtime/ops/index.ts'
import { activations as activationReferences } from '../reference/activations.ts'
import { matmul as product } from '../reference/matmul.ts'
import * as images from '../reference/patchEmbed.ts'
import { activations, normal, ofKinds, weights, type Kind, type OpCase } from './case.ts'

const SIZE = { m: 33, n: 50, k: 195 }
const RUNS = 3
const IMAGES = { batch: 2, channels: 3, height: 12, width: 18, patch: 6 }

const layouts = [false, true].flatMap((transposeA) =>
  [false, true].map((transposeB) => ({ transposeA, transposeB })),
)

function matmulCases(kind: Kind): Omit<OpCase, 'name'>[] {
  const { m, n, k } = SIZE
  return layouts.map((layout) => ({
    op: 'matmul',
    inputs: {
      a: activations(kind, layout.transposeA ? [k, m] : [m, k], 1),
      b: weights(layout.transposeB ? [n, k] : [k, n], 2, k),
    },
    leaves: ['a', 'b'],
    run: ({ a, b }) => matmul(a!, b!, layout),
    reference: ({ a, b }) => product(a!, b!, SIZE, layout),
  }))
}

const LAYOUT_NAMES = ['NN', 'NT', 'TN', 'TT']

const linearInputs = (kind: Kind): OpCase['inputs'] => ({
  x: activations(kind, [3, 11, SIZE.k], 1),
  weight: weights([SIZE.n, SIZE.k], 2),
  bias: normal([SIZE.n], 3),
})

const linearReference: OpCase['reference'] = ({ x, weight, bias }) =>
  product(x!, weight!, SIZE, { transposeB: true }).map((value, i) => value + bias![i % SIZE.n]!)

const imageInputs = (kind: Kind) => {
  const { batch, channels, height, width } = IMAGES
  return { x: activations(kind, [batch, channels, height, width], 1) }
}

export const linearFamily: readonly OpCase[] = [
  ...matmulCases('normal').map((entry, i) => ({ ...entry, name: `${LAYOUT_NAMES[i]}, N(0, 1)` })),
  { ...matmulCases('outliers')[1]!, name: 'NT, outliers of ±100' },
  { ...matmulCases('offset')[1]!, name: 'NT, N(10, 1)' },
  ...ofKinds((kind) => ({
    op: 'linear',
    inputs: linearInputs(kind),
    leaves: ['x', 'weight', 'bias'],
    run: ({ x, weight, bias }) => linear(x!, weight!, bias),
    reference: linearReference,
  })),
  {
    op: 'linear',
    name: 'fused quick GELU and residual',
    inputs: { ...linearInputs('normal'), residual: normal([3, 11, SIZE.n], 4) },
    leaves: [],
    run: ({ x, weight, bias, residual }) =>
      linear(x!, weight!, bias, { activation: 'quickGelu', residual }),
    reference: (inputs) =>
      Float64Array.from(
        linearReference(inputs),
        (z, i) => activationReferences.quickGelu(z) + inputs.residual![i]!,
      ),
  },
  {
    op: 'linearRuns',
    name: 'three runs',
    inputs: {
      x: normal([RUNS, 33, SIZE.k], 1),
      weight: weights([RUNS, SIZE.n, SIZE.k], 2),
      bias: normal([RUNS, SIZE.n], 3),
    },
    leaves: ['x', 'weight', 'bias'],
    run: ({ x, weight, bias }) => linearRuns(x!, weight!, bias),
    reference: (inputs) => {
      const of = (name: string, run: number): ArrayLike<number> => {
        const all = Array.from(inputs[name]!)
        return all.slice((run * all.length) / RUNS, ((run + 1) * all.length) / RUNS)
      }
      return Array.from({ length: RUNS }, (_, run) => {
        const own = { x: of('x', run), weight: of('weight', run), bias: of('bias', run) }
        return [...Array.from(linearReference(own))]
      }).flat()
    },
  },
  ...ofKinds((kind) => ({
    op: 'patchify',
    inputs: imageInputs(kind),
    leaves: ['x'],
    run: ({ x }) => patchify(x!, IMAGES.patch),
    reference: ({ x }) => images.patchify(x!, IMAGES),
  })),
  ...ofKinds((kind) => ({
    op: 'patchEmbed',
    inputs: {
      ...imageInputs(kind),
      weight: weights([SIZE.n, 3, 6, 6], 2, 108),
      bias: normal([SIZE.n], 3),
    },
    leaves: ['x', 'weight', 'bias'],
    run: ({ x, weight, bias }) => patchEmbed(x!, weight!, bias),
    reference: ({ x, weight, bias }) => images.patchEmbed(x!, weight!, bias!, IMAGES),
  })),
]
