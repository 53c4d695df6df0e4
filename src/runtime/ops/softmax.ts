import {
  packs,
  SHORT,
  softmaxBackwardKernel,
  softmaxKernel,
  softmaxPackedKernel,
} from '../../kernels/softmax.ts'
import type { FloatDtype } from '../dtype.ts'
import { rowsOf } from '../rows.ts'
import { apply, type Op } from '../tape.ts'
import type { Tensor } from '../tensor.ts'
import { inStorage } from './half.ts'

/** The forward pass, outside the tape. */
function normalized<D extends FloatDtype>(x: Tensor<D>, log: boolean): Tensor<D> {
  const { rows, columns, options } = rowsOf(x)
  const out = x.device.empty(x.shape, x.dtype)
  if (x.dtype === 'f32' && packs(rows, columns)) {
    x.device.dispatch(softmaxPackedKernel({ log, columns }), { x, out }, { rows, columns })
    return out
  }
  const short = columns <= SHORT && options.lanes === 1 && !options.vector
  const storage = x.dtype === 'f16' ? ({ from: 'f16', to: 'f16' } as const) : {}
  const kernel = softmaxKernel({ log, ...options, short, ...storage })
  x.device.dispatch(kernel, { x, out }, { rows, columns })
  return out
}

const softmaxOp: Op<{ x: Tensor<'f32'> }, { log: boolean }, { out: Tensor<'f32'> }> = {
  name: 'softmax',
  forward({ x }, { log }) {
    const out = normalized(x, log)
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

const softmaxOf = <D extends FloatDtype>(x: Tensor<D>, log: boolean): Tensor<D> =>
  inStorage(log ? 'logSoftmax' : 'softmax', { x }, x.dtype, {
    wide: (wide) => apply(softmaxOp, wide, { log }),
    half: () => normalized(x, log),
  })

/**
 * exp(x) / Σ exp(x) over the last dimension. Finite values of any size are safe. An entry is masked by
 * −∞ or a large negative number; a row of −∞ alone gives 0. The result is of x's dtype, the arithmetic
 * f32.
 */
export const softmax = <D extends FloatDtype>(x: Tensor<D>): Tensor<D> => softmaxOf(x, false)

/** log(softmax(x)) over the last dimension, without forming the softmax. */
export const logSoftmax = <D extends FloatDtype>(x: Tensor<D>): Tensor<D> => softmaxOf(x, true)
