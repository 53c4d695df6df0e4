import { expectShape } from '../shape.ts'
import { apply, withoutTape, type Op } from '../tape.ts'
import { scope, type Tensor } from '../tensor.ts'
import { add, multiply } from './elementwise.ts'
import { sumEach } from './reduce.ts'

interface Inputs extends Record<string, Tensor | undefined> {
  readonly x: Tensor<'f32'>
  readonly weight: Tensor<'f32'>
  readonly bias: Tensor<'f32'>
}

interface Saved {
  readonly x: Tensor<'f32'>
  readonly weight: Tensor<'f32'>
}

/** Outside the tape, and freed but for what it returns. */
const aside = <R>(body: () => R): R => withoutTape(() => scope(body))

/** A vector of each run, to be spread over its rows. */
const spread = (x: Tensor<'f32'>): Tensor<'f32'> => x.view([x.shape[0]!, 1, x.shape[1]!])

const affineRunsOp: Op<Inputs, undefined, Saved> = {
  name: 'affineRuns',
  forward({ x, weight, bias }) {
    const out = aside(() => add(multiply(x, spread(weight)), spread(bias)))
    return { out, saved: { x, weight } }
  },
  backward({ gradient, saved: { x, weight }, wants, output }) {
    return {
      x: wants('x') ? aside(() => multiply(gradient, spread(weight))) : null,
      weight: wants('weight')
        ? aside(() => sumEach(multiply(gradient, x), output('weight')))
        : null,
      bias: wants('bias') ? sumEach(gradient, output('bias')) : null,
    }
  },
}

/**
 * x · weight + bias of R runs with vectors of their own. The bits of a run don't depend on the others.
 *
 * @param x [R, rows, columns]
 * @param weight [R, columns]
 * @param bias [R, columns]
 * @returns x's shape
 */
export function affineRuns(
  x: Tensor<'f32'>,
  weight: Tensor<'f32'>,
  bias: Tensor<'f32'>,
): Tensor<'f32'> {
  const [runs, , columns] = x.shape as [number, number, number]
  expectShape('affineRuns', 'weight', weight.shape, [runs, columns])
  expectShape('affineRuns', 'bias', bias.shape, [runs, columns])
  return apply(affineRunsOp, { x, weight, bias }, undefined)
}
