import { eachThread } from '../../kernels/elementwise.ts'
import { sumBackwardKernel } from '../../kernels/reduce.ts'
import { planBroadcast } from '../broadcast.ts'
import { expect, type Shape } from '../shape.ts'
import { apply, type Op } from '../tape.ts'
import type { Tensor } from '../tensor.ts'
import { sumEach } from './reduce.ts'

const meanRunsOp: Op<{ x: Tensor<'f32'> }, { shape: Shape }, undefined> = {
  name: 'meanRuns',
  forward({ x }, { shape: [runs, n, ...rest] }) {
    const inner = rest.reduce((a, b) => a * b, 1)
    const out = x.device.empty([runs!, ...rest])
    const view = x.view([runs!, n!, inner])
    sumEach(view, out, 1 / n!)
    view.dispose()
    return { out, saved: undefined }
  },
  backward({ gradient: dOut, attributes: { shape }, output }) {
    const dX = output('x')
    const { size, device } = dX
    const [runs, n, ...rest] = shape
    const { spreads, params } = planBroadcast('meanRuns', { dOut: [runs!, 1, ...rest] }, shape)
    const each = eachThread(device.adapter.software)
    const kernel = sumBackwardKernel({ spread: spreads.dOut, each })
    device.dispatch(kernel, { dOut, dX }, { size, scale: 1 / n!, ...params })
    return { x: dX }
  },
}

/**
 * Mean over the second dimension, for R runs side by side: added in an order that doesn't depend on R, as
 * that of `mean` may, so that a run's bits don't depend on the others.
 *
 * @param x [R, n, ...]
 * @returns [R, ...]
 */
export function meanRuns(x: Tensor<'f32'>): Tensor<'f32'> {
  expect(x.shape.length >= 2, 'meanRuns', () => `x is ${x.toString()}, expected [R, n, ...]`)
  return apply(meanRunsOp, { x }, { shape: x.shape })
}
