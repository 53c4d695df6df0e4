import { eachThread, scaleKernels } from '../../kernels/elementwise.ts'
import { apply, type Op } from '../tape.ts'
import type { Tensor } from '../tensor.ts'

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
export function scaled(x: Tensor<'f32'>, factor: number, out: Tensor<'f32'>): Tensor<'f32'> {
  const kernel = scaleKernels(eachThread(x.device.adapter.software))
  x.device.dispatch(kernel, { x, out }, { size: x.size, scale: factor })
  return out
}

/** factor · x */
export const scale = (x: Tensor<'f32'>, factor: number): Tensor<'f32'> =>
  apply(scaleOp, { x }, { factor })
