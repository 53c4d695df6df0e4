import { l2NormalizeBackwardKernel, l2NormalizeKernel } from '../../kernels/l2Normalize.ts'
import { rowsOf } from '../rows.ts'
import { apply, type Op } from '../tape.ts'
import type { Tensor } from '../tensor.ts'

interface Saved {
  readonly out: Tensor<'f32'>
  /** [rows]: lengths of the rows of x. */
  readonly norms: Tensor<'f32'>
}

const l2NormalizeOp: Op<{ x: Tensor<'f32'> }, { eps: number }, Saved> = {
  name: 'l2Normalize',
  forward({ x }, { eps }) {
    const { rows, columns, options } = rowsOf(x)
    const out = x.device.empty(x.shape)
    const norms = x.device.empty([rows])
    x.device.dispatch(l2NormalizeKernel(options), { x, out, norms }, { rows, columns, eps })
    return { out, saved: { out, norms } }
  },
  backward({ gradient: dOut, saved: { out, norms }, attributes: { eps }, output }) {
    const { rows, columns, options } = rowsOf(out)
    const dX = output('x')
    const kernel = l2NormalizeBackwardKernel(options)
    out.device.dispatch(kernel, { out, norms, dOut, dX }, { rows, columns, eps })
    return { x: dX }
  },
}

export interface L2NormalizeOptions {
  /** Smallest length that a row is divided by. Default 1e-12, PyTorch's. */
  readonly eps?: number
}

/** x / max(‖x‖, eps) over the last dimension, as `torch.nn.functional.normalize`. */
export const l2Normalize = (
  x: Tensor<'f32'>,
  { eps = 1e-12 }: L2NormalizeOptions = {},
): Tensor<'f32'> => apply(l2NormalizeOp, { x }, { eps })
