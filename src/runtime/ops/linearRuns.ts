import { expect, expectShape } from '../shape.ts'
import { apply, type Op } from '../tape.ts'
import type { Tensor } from '../tensor.ts'
import { matmulInto, type Sizes } from './matmulInto.ts'
import { sumEach } from './reduce.ts'

interface Inputs extends Record<string, Tensor | undefined> {
  readonly x: Tensor<'f32'>
  readonly weight: Tensor<'f32'>
  readonly bias: Tensor<'f32'> | undefined
}

interface Saved {
  readonly x: Tensor<'f32'>
  readonly weight: Tensor<'f32'>
}

/** Sizes of out = x·Wᵀ for every run. */
function sizesOf({ x, weight }: Saved): Required<Omit<Sizes, 'shared'>> & Pick<Sizes, 'shared'> {
  const [runs, n, k] = weight.shape as [number, number, number]
  const shared = x.shape.length === 2 ? ('a' as const) : undefined
  return { batch: runs, m: x.shape.at(-2)!, n, k, shared, alike: true }
}

const linearRunsOp: Op<Inputs, undefined, Saved> = {
  name: 'linearRuns',
  forward({ x, weight, bias }) {
    const sizes = sizesOf({ x, weight })
    const { batch, m, n } = sizes
    const out = x.device.empty([batch, m, n])
    const layout = { transposeA: false, transposeB: true }
    return { out: matmulInto(out, x, weight, layout, sizes, { bias }), saved: { x, weight } }
  },
  // Of each run: dx = dOut·W, dW = dOutᵀ·x, db = Σ rows of dOut.
  backward({ gradient, saved: { x, weight }, wants, output }) {
    const { batch, m: rows, n: features, k: inner, shared } = sizesOf({ x, weight })
    const alike = { batch, alike: true }
    expect(!(wants('x') && shared), 'linearRuns', () => {
      return `x ${x.toString()} is shared by ${batch} runs and requires a gradient; repeat it for each run`
    })
    const bias = wants('bias') ? output('bias') : undefined
    if (bias && !wants('weight')) sumEach(gradient, bias)
    return {
      x: wants('x')
        ? matmulInto(
            output('x'),
            gradient,
            weight,
            { transposeA: false, transposeB: false },
            { ...alike, m: rows, n: inner, k: features },
          )
        : null,
      weight: wants('weight')
        ? matmulInto(
            output('weight'),
            gradient,
            x,
            { transposeA: true, transposeB: false },
            { ...alike, m: features, n: inner, k: rows, shared: shared && 'b' },
            // The bias's gradient falls off that of the weight.
            { rowSums: bias },
          )
        : null,
      bias: bias ?? null,
    }
  },
}

/**
 * A linear layer of R runs side by side, in one dispatch: x[r]·weight[r]ᵀ + bias[r]. The bits of a run
 * don't depend on the other runs.
 *
 * @param x [R, rows, in], or [rows, in] for all runs, which then has no gradient
 * @param weight [R, out, in]
 * @param bias [R, out]
 * @returns [R, rows, out]
 * @throws KeeplightError `validation` when shapes do not fit
 */
export function linearRuns(
  x: Tensor<'f32'>,
  weight: Tensor<'f32'>,
  bias?: Tensor<'f32'>,
): Tensor<'f32'> {
  const [runs, features, inner] = weight.shape
  const fits =
    weight.shape.length === 3 &&
    x.shape.at(-1) === inner &&
    (x.shape.length === 2 || (x.shape.length === 3 && x.shape[0] === runs))
  expect(fits, 'linearRuns', () => {
    return (
      `x ${x.toString()} and weight ${weight.toString()}: expected x [R, rows, in] or [rows, in] ` +
      `and weight [R, out, in]`
    )
  })
  if (bias) expectShape('linearRuns', 'bias', bias.shape, [runs!, features!])
  return apply(linearRunsOp, { x, weight, bias }, undefined)
}
