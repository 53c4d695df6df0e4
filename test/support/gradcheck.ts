import { expect } from 'vitest'
import type { Device } from '../../src/runtime/device.ts'
import { add, multiply } from '../../src/runtime/ops/elementwise.ts'
import { sum } from '../../src/runtime/ops/reduce.ts'
import { sizeOf, type Shape } from '../../src/runtime/shape.ts'
import { backward } from '../../src/runtime/tape.ts'
import type { Tensor } from '../../src/runtime/tensor.ts'
import { expectClose } from './compare.ts'
import { randomArray } from './random.ts'

interface Values {
  readonly shape: Shape
  readonly data: Float32Array<ArrayBuffer>
}

export interface GradcheckCase<N extends string> {
  /** The inputs whose gradients are checked: a shape for random values in [−1, 1), or values. */
  readonly inputs: Readonly<Record<N, Shape | Values>>
  readonly op: (inputs: Record<N, Tensor<'f32'>>) => Tensor<'f32'>
  /** The op in f64. */
  readonly reference: (inputs: Record<N, ArrayLike<number>>) => ArrayLike<number>
  /** Of the forward values, relative to the largest. */
  readonly forwardTolerance?: number
  /** Of the gradients, relative to their length. */
  readonly tolerance?: number
}

const DIRECTIONS = 3
const STEP = 1e-5

/**
 * Checks an op on its own and applied twice to the same inputs: values against the f64 reference,
 * `backward` against central differences of that reference along random directions, and that all
 * memory comes back, with no scope to help.
 */
export async function gradcheck<N extends string>(
  device: Device,
  { inputs, op, reference, forwardTolerance = 1e-5, tolerance = 1e-4 }: GradcheckCase<N>,
): Promise<void> {
  const names = Object.keys(inputs) as N[]
  const values = {} as Record<N, Float32Array<ArrayBuffer>>
  const leaves = {} as Record<N, Tensor<'f32'>>
  const before = device.stats().usedBytes
  names.forEach((name, seed) => {
    const { shape, data } = operand(inputs[name], 100 + seed)
    values[name] = data
    leaves[name] = device.tensor(data, shape)
    leaves[name].requiresGrad = true
  })
  const expected = reference(values)

  for (const uses of [1, 2]) {
    const cotangents = Array.from({ length: uses }, (_, i) => randomArray(expected.length, 200 + i))
    const made: Tensor<'f32'>[] = []
    const note = (tensor: Tensor<'f32'>): Tensor<'f32'> => {
      made.push(tensor)
      return tensor
    }
    const outs = cotangents.map(() => note(op(leaves)))
    const terms = outs.map((out, i) =>
      note(multiply(out, note(device.tensor(cotangents[i]!, out.shape)))),
    )
    const loss = note(sum(terms.length === 2 ? note(add(terms[0]!, terms[1]!)) : terms[0]!))
    const gradients = backward(
      loss,
      names.map((name) => leaves[name]),
    )
    for (const out of outs) expectClose('forward', await out.read(), expected, forwardTolerance)
    const weight = (i: number): number => cotangents.reduce((total, c) => total + c[i]!, 0)
    const lossAt = (moved: Record<N, ArrayLike<number>>): number => {
      const out = reference(moved)
      let total = 0
      for (let i = 0; i < out.length; i++) total += weight(i) * out[i]!
      return total
    }
    for (const [i, name] of names.entries()) {
      const actual = await gradients[i]!.read()
      expect(gradients[i]!.shape, `shape of d${name}`).toEqual(leaves[name].shape)
      expectDirections(`d${name}, used ${uses}×`, actual, tolerance, (direction) => {
        const move = (step: number): Record<N, ArrayLike<number>> => ({
          ...values,
          [name]: Float64Array.from(values[name], (value, j) => value + step * direction[j]!),
        })
        return (lossAt(move(STEP)) - lossAt(move(-STEP))) / (2 * STEP)
      })
    }
    for (const tensor of [...made, ...gradients]) tensor.dispose()
  }
  names.forEach((name) => leaves[name].dispose())
  expect(device.stats().usedBytes, 'bytes left in use').toBe(before)
}

const operand = (given: Shape | Values, seed: number): Values =>
  'data' in given ? given : { shape: given, data: randomArray(sizeOf(given), seed) }

/** Directions of ±1: their derivative is about as large as the gradient is long. */
function expectDirections(
  name: string,
  gradient: ArrayLike<number>,
  tolerance: number,
  derivative: (direction: Float32Array) => number,
): void {
  const values = Array.from(gradient)
  const length = Math.hypot(...values)
  for (let seed = 0; seed < DIRECTIONS; seed++) {
    const direction = randomArray(values.length, 300 + seed).map((x) => (x < 0 ? -1 : 1))
    const actual = values.reduce((total, g, i) => total + g * direction[i]!, 0)
    const expected = derivative(direction)
    const error = Math.abs(actual - expected)
    // A gradient that is zero throughout is compared with the differences' own rounding.
    const allowed = tolerance * Math.max(length, Math.abs(expected)) + 1e-8
    if (!(error <= allowed)) {
      expect.fail(
        `${name}, direction ${seed}: expected ${expected}, got ${actual} ` +
          `(gradient's length ${length}, tolerance ${tolerance})`,
      )
    }
  }
}
