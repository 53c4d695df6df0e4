import { add, layerNorm, matmul, relu, softmax, sum } from '../../src/runtime/ops/index.ts'
import { normal, type OpCase } from '../catalogue/case.ts'
import { broadcast } from '../reference/broadcast.ts'
import { layerNorm as layerNormReference } from '../reference/layerNorm.ts'
import { matmul as product } from '../reference/matmul.ts'
import { sum as sumReference } from '../reference/reduce.ts'
import { softmax as softmaxReference } from '../reference/softmax.ts'
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
    return {
      op: 'softmax',
      name: shape.join('×'),
      inputs: { x: normal(shape, seed, 5) },
      leaves: ['x'],
      run: ({ x }) => softmax(x!),
      reference: ({ x }) => softmaxReference(x!, shape[1]!),
      // One column: the gradient is 0, and its error nothing but rounding.
      gradientTolerance: shape[1] === 1 ? Infinity : 1e-4,
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
]

/** A right call of random sizes. */
export function randomCase(draws: Draws): OpCase {
  const make = draws.pick(makes)
  return make(draws, () => draws.pick(EDGES), draws.bits())
}
