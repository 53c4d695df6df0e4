import type { Unary } from '../../src/kernels/unary.ts'
import * as ops from '../../src/runtime/ops/index.ts'
import { broadcast } from '../reference/broadcast.ts'
import { positiveOnly, unary as references } from '../reference/unary.ts'
import {
  activations,
  KIND_NAMES,
  KINDS,
  ofKinds,
  type Kind,
  type OpCase,
  type Tensors,
  type Value,
} from './case.ts'

/** One above a multiple of four and of every workgroup's size. */
const SHAPE = [3, 257] as const

type F32 = Tensors['x']

/** Every magnitude of the activations, but positive and not near 0. */
function positive(kind: Kind, seed: number): Value {
  const { data, shape } = activations(kind, SHAPE, seed)
  return { data: (data as Float32Array).map((x) => Math.abs(x) + 0.01), shape }
}

/** f32 has no e¹⁰⁰. */
const overflows = (name: Unary, kind: Kind): boolean => name === 'exp' && kind === 'outliers'

const inPositives = new Set<Unary>([...positiveOnly, 'reciprocal'])

/** An op of one tensor, by its name as an op and as a function. */
const unary = (op: Unary & keyof typeof ops): OpCase[] =>
  KINDS.filter((kind) => !overflows(op, kind)).map((kind) => ({
    op,
    name: KIND_NAMES[kind],
    inputs: { x: inPositives.has(op) ? positive(kind, 1) : activations(kind, SHAPE, 1) },
    leaves: ['x'],
    run: ({ x }) => (ops[op] as (x: F32) => F32)(x!),
    reference: ({ x }) => Float64Array.from(x!, references[op]),
    unary: true,
    ...(op === 'tanh' && kind === 'offset' ? SATURATED : {}),
  }))

/** 1 − tanh² where tanh is 1 to seven digits: what is left of it is rounding. */
const SATURATED = { gradientTolerance: 0.05 }

const UNARY = [
  ...(['abs', 'erf', 'exp', 'gelu', 'log', 'negate', 'quickGelu', 'reciprocal', 'relu'] as const),
  ...(['rsqrt', 'sigmoid', 'silu', 'softplus', 'sqrt', 'square', 'tanh'] as const),
]

const BINARY = {
  add: (a, b) => a + b,
  subtract: (a, b) => a - b,
  multiply: (a, b) => a * b,
  divide: (a, b) => a / b,
  maximum: Math.max,
  minimum: Math.min,
} satisfies Record<string, (a: number, b: number) => number>

const binary = (op: keyof typeof BINARY): OpCase[] => [
  ...ofKinds((kind) => ({
    op,
    inputs: {
      a: activations(kind, SHAPE, 1),
      b: op === 'divide' ? positive(kind, 2) : activations(kind, SHAPE, 2),
    },
    leaves: ['a', 'b'],
    run: ({ a, b }) => ops[op](a!, b!),
    reference: ({ a, b }) => Float64Array.from(a!, (x, i) => BINARY[op](x, b![i]!)),
  })),
  {
    op,
    name: 'broadcast',
    inputs: {
      a: { ...activations('normal', [6, 33], 1), shape: [2, 3, 33] },
      b: { data: positive('normal', 2).data.slice(0, 66), shape: [2, 1, 33] },
    },
    leaves: ['a', 'b'],
    run: ({ a, b }) => ops[op](a!, b!),
    reference: ({ a, b }) => broadcast(BINARY[op], a!, b!, { a: [2, 3, 33], b: [2, 1, 33] }),
  },
]

export const elementwise: readonly OpCase[] = [
  ...UNARY.flatMap(unary),
  ...ofKinds((kind) => ({
    op: 'activate',
    inputs: { x: activations(kind, SHAPE, 1) },
    leaves: ['x'],
    run: ({ x }) => ops.activate(x!, 'quickGelu'),
    reference: ({ x }) => Float64Array.from(x!, references.quickGelu),
    unary: true,
  })),
  ...ofKinds((kind) => ({
    op: 'scale',
    inputs: { x: activations(kind, SHAPE, 1) },
    leaves: ['x'],
    run: ({ x }) => ops.scale(x!, 0.3),
    reference: ({ x }) => Float64Array.from(x!, (value) => value * Math.fround(0.3)),
    unary: true,
  })),
  ...ofKinds((kind) => ({
    op: 'power',
    inputs: { x: positive(kind, 1) },
    leaves: ['x'],
    run: ({ x }) => ops.power(x!, 1.5),
    reference: ({ x }) => Float64Array.from(x!, (value) => value ** 1.5),
    unary: true,
  })),
  {
    op: 'power',
    name: 'cube of N(0, 1)',
    inputs: { x: activations('normal', SHAPE, 1) },
    leaves: ['x'],
    run: ({ x }) => ops.power(x!, 3),
    reference: ({ x }) => Float64Array.from(x!, (value) => value ** 3),
    unary: true,
  },
  ...ofKinds((kind) => ({
    op: 'layerScale',
    inputs: { x: activations(kind, SHAPE, 1), factor: activations('normal', [SHAPE[1]], 2) },
    leaves: ['x', 'factor'],
    run: ({ x, factor }) => ops.layerScale(x!, factor!),
    reference: ({ x, factor }) =>
      Float64Array.from(x!, (value, i) => value * factor![i % SHAPE[1]]!),
  })),
  {
    op: 'where',
    name: 'by u32',
    inputs: {
      condition: { data: Uint32Array.from({ length: 771 }, (_, i) => (i * 7) % 3), shape: SHAPE },
      a: activations('outliers', SHAPE, 1),
      b: activations('normal', SHAPE, 2),
    },
    leaves: ['a', 'b'],
    run: ({ condition, a, b }) => ops.where(condition!, a!, b!),
    reference: ({ condition, a, b }) =>
      Float64Array.from(a!, (x, i) => (condition![i] ? x : b![i]!)),
  },
  {
    op: 'where',
    name: 'broadcast',
    inputs: {
      condition: { data: Float32Array.of(0, 1, -0, NaN, 0.5, 0), shape: [2, 3, 1] },
      a: activations('normal', [33], 1),
      b: activations('normal', [2, 1, 33], 2),
    },
    leaves: ['a', 'b'],
    run: ({ condition, a, b }) => ops.where(condition!, a!, b!),
    reference: ({ condition, a, b }) =>
      Float64Array.from({ length: 198 }, (_, i) => {
        const [row, column] = [Math.floor(i / 33), i % 33]
        const holds = Number.isNaN(condition![row]) || condition![row] !== 0
        return holds ? a![column]! : b![Math.floor(row / 3) * 33 + column]!
      }),
  },
  ...(Object.keys(BINARY) as (keyof typeof BINARY)[]).flatMap(binary),
]
