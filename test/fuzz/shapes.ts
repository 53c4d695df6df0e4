import { add, layerNorm, matmul, relu, softmax, sum } from '../../src/runtime/ops/index.ts'
import type { Tensor } from '../../src/runtime/tensor.ts'
import { GRADIENT_TOLERANCE, half, HALF, normal, type OpCase } from '../catalogue/case.ts'
import { cotangent } from '../catalogue/run.ts'
import { broadcast } from '../reference/broadcast.ts'
import { layerNorm as layerNormReference } from '../reference/layerNorm.ts'
import { matmul as product } from '../reference/matmul.ts'
import { sum as sumReference } from '../reference/reduce.ts'
import { softmax as softmaxReference, softmaxBackward } from '../reference/softmax.ts'
import type { Draws } from './draws.ts'

/** Sizes around those of vectors, subgroups, tiles and workgroups. */
const EDGES = [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 130]

type Make = (draws: Draws, size: () => number, seed: number) => OpCase

const makes: readonly Make[] = [
  (draws, size, seed) => {
    const [m, n, k] = [size(), size(), size()]
    const layout = { transposeA: draws.below(2) === 1, transposeB: draws.below(2) === 1 }
    return {
      op: 'matmul',
      name: `${m}×${n}×${k} ${JSON.stringify(layout)}`,
      inputs: {
        a: normal(layout.transposeA ? [k, m] : [m, k], seed),
        b: normal(layout.transposeB ? [n, k] : [k, n], seed + 1),
      },
      leaves: [],
      run: ({ a, b }) => matmul(a!, b!, layout),
      reference: ({ a, b }) => product(a!, b!, { m, n, k }, layout),
    }
  },
  (_, size, seed) => {
    const shape = [size(), size()]
    const x = normal(shape, seed, 5)
    return {
      op: 'softmax',
      name: shape.join('×'),
      inputs: { x },
      leaves: ['x'],
      run: ({ x }) => softmax(x!),
      reference: ({ x }) => softmaxReference(x!, shape[1]!),
      gradientTolerance: softmaxGradientTolerance(x.data, shape[1]!),
    }
  },
  (draws, size, seed) => {
    const shape = [size(), size()]
    const over = draws.pick(['all', 'columns', 'rows'] as const)
    return {
      op: 'sum',
      name: `${shape.join('×')} over ${over}`,
      inputs: { x: { ...normal(shape, seed, 1, 3) } },
      leaves: ['x'],
      run: ({ x }) => sum(x!, over),
      reference: ({ x }) => sumReference(x!, shape[1]!, over),
    }
  },
  (_, size, seed) => {
    const shape = [size(), 4 + size()]
    const columns = shape[1]!
    return {
      op: 'layerNorm',
      name: shape.join('×'),
      inputs: {
        x: normal(shape, seed),
        weight: normal([columns], seed + 1),
        bias: normal([columns], seed + 2),
      },
      leaves: [],
      run: ({ x, weight, bias }) => layerNorm(x!, weight!, bias!),
      reference: ({ x, weight, bias }) => layerNormReference(x!, weight!, bias!, 1e-5),
    }
  },
  (draws, size, seed) => {
    const shape = [size(), 1 + draws.below(5), size()]
    const small = shape.map((n) => (draws.below(2) === 1 ? n : 1)).slice(draws.below(3))
    return {
      op: 'add',
      name: `${shape.join('×')} and ${small.join('×')}`,
      inputs: { a: normal(shape, seed), b: normal(small, seed + 1) },
      leaves: [],
      run: ({ a, b }) => add(a!, b!),
      reference: ({ a, b }) => broadcast((x, y) => x + y, a!, b!, { a: shape, b: small }),
    }
  },
  (_, size, seed) => {
    const shape = [size(), size()]
    return {
      op: 'relu',
      name: shape.join('×'),
      inputs: { x: normal(shape, seed) },
      leaves: [],
      run: ({ x }) => relu(x!),
      reference: ({ x }) => Array.from(x!, (value) => Math.max(value, 0)),
    }
  },
  (draws, size, seed) => {
    const shape = [size(), 1 + draws.below(5), size()]
    const small = shape.map((n) => (draws.below(2) === 1 ? n : 1)).slice(draws.below(3))
    return {
      op: 'add',
      name: `${shape.join('×')} and ${small.join('×')}`,
      dtype: 'f16',
      inputs: { a: half(normal(shape, seed)), b: half(normal(small, seed + 1)) },
      leaves: [],
      run: ({ a, b }) => add(a as Tensor as Tensor<'f16'>, b as Tensor as Tensor<'f16'>),
      reference: ({ a, b }) => broadcast((x, y) => x + y, a!, b!, { a: shape, b: small }),
      tolerance: HALF,
    }
  },
  (draws, size, seed) => {
    const shape = [size(), size()]
    const op = draws.pick([softmax, relu])
    return {
      op: op === softmax ? 'softmax' : 'relu',
      name: shape.join('×'),
      dtype: 'f16',
      inputs: { x: half(normal(shape, seed)) },
      leaves: [],
      run: ({ x }) => op(x as Tensor as Tensor<'f16'>),
      reference: ({ x }) =>
        op === softmax
          ? softmaxReference(x!, shape[1]!)
          : Array.from(x!, (value) => Math.max(value, 0)),
      tolerance: HALF,
    }
  },
]

/** Roundings that softmax's gradient may take, in units of its largest term. */
const ROUNDINGS = 8 * 2 ** -24

/**
 * Where one column has nearly all of each row, the terms of y·(g − Σ y·g) cancel, and what is left of
 * them is no larger than their rounding: of one column, nothing is left.
 */
function softmaxGradientTolerance(x: ArrayLike<number>, columns: number): number {
  const y = softmaxReference(x, columns)
  const g = cotangent(y.length)
  const gradients = softmaxBackward(y, g, columns, false)
  // What each is the difference of: y·g, and y·Σ y·g, which is the rest.
  const terms = gradients.map((dX, i) => Math.abs(y[i]! * g[i]!) + Math.abs(y[i]! * g[i]! - dX))
  const largest = (values: Float64Array): number =>
    values.reduce((a, b) => Math.max(a, Math.abs(b)), 0)
  return Math.max(GRADIENT_TOLERANCE, (ROUNDINGS * largest(terms)) / largest(gradients))
}

/** A right call of random sizes. */
export function randomCase(draws: Draws): OpCase {
  const make = draws.pick(makes)
  return make(draws, () => draws.pick(EDGES), draws.bits())
}
