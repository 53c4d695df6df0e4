import {
  activate,
  add,
  gelu,
  multiply,
  quickGelu,
  relu,
  reshape,
  scale,
  silu,
} from '../../src/runtime/ops/index.ts'
import { activations as references } from '../reference/activations.ts'
import { activations, ofKinds, type OpCase, type Tensors } from './case.ts'

/** One above a multiple of four and of every workgroup's size. */
const SHAPE = [3, 257] as const

const unary = (
  op: string,
  run: (x: Tensors['x']) => Tensors['x'],
  reference: (x: number) => number,
): OpCase[] =>
  ofKinds((kind) => ({
    op,
    inputs: { x: activations(kind, SHAPE, 1) },
    leaves: ['x'],
    run: ({ x }) => run(x!),
    reference: ({ x }) => Float64Array.from(x!, reference),
    unary: true,
  }))

const binary = (
  op: string,
  run: (a: Tensors['a'], b: Tensors['b']) => Tensors['a'],
  reference: (a: number, b: number) => number,
): OpCase[] =>
  ofKinds((kind) => ({
    op,
    inputs: { a: activations(kind, SHAPE, 1), b: activations(kind, SHAPE, 2) },
    leaves: ['a', 'b'],
    run: ({ a, b }) => run(a!, b!),
    reference: ({ a, b }) => Float64Array.from(a!, (x, i) => reference(x, b![i]!)),
  }))

export const elementwise: readonly OpCase[] = [
  ...unary('activate', (x) => activate(x, 'gelu'), references.gelu),
  ...unary('gelu', gelu, references.gelu),
  ...unary('quickGelu', quickGelu, references.quickGelu),
  ...unary('relu', relu, references.relu),
  ...unary('silu', silu, references.silu),
  ...unary(
    'scale',
    (x) => scale(x, 0.3),
    (x) => x * Math.fround(0.3),
  ),
  ...unary(
    'reshape',
    (x) => reshape(x, [SHAPE[1], SHAPE[0]]),
    (x) => x,
  ),
  ...binary('add', add, (a, b) => a + b),
  ...binary('multiply', multiply, (a, b) => a * b),
]
