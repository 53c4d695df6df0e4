import {
  packs,
  SHORT,
  softmaxBackwardKernel,
  softmaxKernel,
  softmaxPackedKernel,
} from '../../kernels/softmax.ts'
import { rowsOf } from '../rows.ts'
import { apply, type Op } from '../tape.ts'
import type { Tensor } from '../tensor.ts'

const softmaxOp: Op<{ x: Tensor<'f32'> }, { log: boolean }, { out: Tensor<'f32'> }> = {
  name: 'softmax',
  forward({ x }, { log }) {
    const { rows, columns, options } = rowsOf(x)
    const out = x.device.empty(x.shape)
    if (packs(rows, columns)) {
      x.device.dispatch(softmaxPackedKernel({ log, columns }), { x, out }, { rows, columns })
      return { out, saved: { out } }
    }
    const short = columns <= SHORT && options.lanes === 1 && !options.vector
    x.device.dispatch(softmaxKernel({ log, ...options, short }), { x, out }, { rows, columns })
    return { out, saved: { out } }
  },
  backward({ gradient, saved: { out }, attributes: { log }, output }) {
    const { rows, columns, options } = rowsOf(out)
    const dX = output('x')
    const kernel = softmaxBackwardKernel({ log, ...options })
    out.device.dispatch(kernel, { out, dOut: gradient, dX }, { rows, columns })
    return { x: dX }
  },
}

/**
 * exp(x) / Σ exp(x) over the last dimension. Finite values of any size are safe. An entry is masked by
 * −∞ or a large negative number; a row of −∞ alone gives 0.
 */
export const softmax = (x: Tensor<'f32'>): Tensor<'f32'> => apply(softmaxOp, { x }, { log: false })

/** log(softmax(x)) over the last dimension, without forming the softmax. */
export const logSoftmax = (x: Tensor<'f32'>): Tensor<'f32'> =>
  apply(softmaxOp, { x }, { log: true })
