import { topKBackwardKernel, topKKernel } from '../../kernels/topK.ts'
import { expect, type Shape } from '../shape.ts'
import { apply, type Op } from '../tape.ts'
import type { Tensor } from '../tensor.ts'

interface Attributes {
  readonly shape: Shape
  readonly indices: Tensor<'u32'>
}

const topKOp: Op<{ x: Tensor<'f32'> }, Attributes, { indices: Tensor<'u32'> }> = {
  name: 'topK',
  forward({ x }, { shape, indices }) {
    const columns = shape.at(-1)!
    const values = x.device.empty(indices.shape)
    const sizes = { rows: x.size / columns, columns, k: indices.shape.at(-1)! }
    x.device.dispatch(topKKernel, { x, values, indices }, sizes)
    return { out: values, saved: { indices } }
  },
  backward({ gradient: dOut, saved: { indices }, attributes: { shape }, output }) {
    const dX = output('x')
    const columns = shape.at(-1)!
    const sizes = { rows: dX.size / columns, columns, k: indices.shape.at(-1)! }
    dX.device.dispatch(topKBackwardKernel, { indices, dOut, dX }, sizes)
    return { x: dX }
  },
}

export interface TopK {
  /** [..., k], descending; the gradient goes to where they came from. */
  readonly values: Tensor<'f32'>
  /** u32 [..., k]: their columns. */
  readonly indices: Tensor<'u32'>
}

/**
 * The k largest of each row, in descending order, equals by ascending column; NaN counts as larger
 * than all. Meant for small k: every one of them is a pass over the row.
 *
 * @param x [..., columns]
 * @param k 1 to `columns`
 */
export function topK(x: Tensor<'f32'>, k: number): TopK {
  x.assertAlive('topK')
  const columns = x.shape.at(-1) ?? 0
  expect(Number.isInteger(k) && k >= 1 && k <= columns, 'topK', () => {
    return `k is ${k}, expected 1 to the ${columns} columns of ${x.toString()}`
  })
  const indices = x.device.empty([...x.shape.slice(0, -1), k], 'u32')
  return { values: apply(topKOp, { x }, { shape: x.shape, indices }), indices }
}
