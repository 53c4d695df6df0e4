import { gatherRowsBackwardKernel, gatherRowsKernel } from '../../kernels/gatherRows.ts'
import { expect, type Shape } from '../shape.ts'
import { apply, type Op } from '../tape.ts'
import type { Tensor } from '../tensor.ts'

interface Inputs extends Record<string, Tensor | undefined> {
  readonly x: Tensor<'f32'>
  readonly index: Tensor<'u32'>
}

const gatherRowsOp: Op<Inputs, { shape: Shape }, { index: Tensor<'u32'> }> = {
  name: 'gatherRows',
  forward({ x, index }) {
    expect(
      x.shape.length === 2,
      'gatherRows',
      () => `x is ${x.toString()}, expected [rows, columns]`,
    )
    expect(index.shape.length === 1 && index.dtype === 'u32', 'gatherRows', () => {
      return `index is ${index.toString()}, expected u32[count]`
    })
    const [rows, columns] = x.shape as [number, number]
    const count = index.size
    const out = x.device.empty([count, columns])
    x.device.dispatch(
      gatherRowsKernel,
      { x, index, out },
      { rows, columns, count, first: 0, held: rows },
    )
    return { out, saved: { index } }
  },
  backward({ gradient: dOut, saved: { index }, attributes: { shape }, output }) {
    const [rows, columns] = shape as [number, number]
    const dX = output('x')
    const sizes = { rows, columns, count: index.size, first: 0, held: rows }
    index.device.dispatch(gatherRowsBackwardKernel, { index, dOut, dX }, sizes)
    return { x: dX, index: null }
  },
}

/**
 * The rows of x that `index` names, in its order and as often as it does.
 *
 * The host can't check indices that the GPU may have made: one of N or more takes the last row.
 *
 * @param x [N, D]
 * @param index u32 [M]
 * @returns [M, D]
 */
export const gatherRows = (x: Tensor<'f32'>, index: Tensor<'u32'>): Tensor<'f32'> =>
  apply(gatherRowsOp, { x, index }, { shape: x.shape })
