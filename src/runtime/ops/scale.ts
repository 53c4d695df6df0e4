import { eachThread, scaleKernels } from '../../kernels/elementwise.ts'
import type { FloatDtype } from '../dtype.ts'
import { apply, type Op } from '../tape.ts'
import type { Tensor } from '../tensor.ts'
import { inStorage } from './half.ts'

const scaleOp: Op<{ x: Tensor<'f32'> }, { factor: number }, undefined> = {
  name: 'scale',
  forward({ x }, { factor }) {
    return { out: scaled(x, factor, x.device.empty(x.shape)), saved: undefined }
  },
  backward({ gradient, attributes: { factor }, output }) {
    return { x: scaled(gradient, factor, output('x')) }
  },
}

/** factor · x into `out`, outside the tape. */
export function scaled<D extends FloatDtype>(
  x: Tensor<D>,
  factor: number,
  out: Tensor<D>,
): Tensor<D> {
  const each = eachThread(x.device.adapter.software)
  const kernel = scaleKernels({ each, ...(x.dtype === 'f16' && { half: true }) })
  x.device.dispatch(kernel, { x, out }, { size: x.size, scale: factor })
  return out
}

/** factor · x, of x's dtype */
export const scale = <D extends FloatDtype>(x: Tensor<D>, factor: number): Tensor<D> =>
  inStorage('scale', { x }, x.dtype, {
    wide: (wide) => apply(scaleOp, wide, { factor }),
    half: () => scaled(x, factor, x.device.empty(x.shape, x.dtype)),
  })
