import {
  layerNormBackwardKernel,
  layerNormKernel,
  layerNormWeightBackwardKernel,
} from '../../kernels/layerNorm.ts'
import type { FloatDtype } from '../dtype.ts'
import { rowsOf } from '../rows.ts'
import { expectShape } from '../shape.ts'
import { apply, type Op } from '../tape.ts'
import type { Tensor } from '../tensor.ts'
import { expectDtype, inStorage } from './half.ts'
import { sumRows } from './reduce.ts'
import { sumRowParts } from './rowParts.ts'

interface Inputs extends Record<string, Tensor | undefined> {
  readonly x: Tensor<'f32'>
  readonly weight: Tensor<'f32'>
  readonly bias: Tensor<'f32'>
}

interface Saved {
  readonly x: Tensor<'f32'>
  readonly weight: Tensor<'f32'>
  /** [rows, 2]: mean and inverse standard deviation. */
  readonly statistics: Tensor<'f32'>
}

/** The forward pass, with `out` in `dtype`; outside the tape. */
function normalize<D extends FloatDtype>(
  x: Tensor<FloatDtype>,
  weight: Tensor<'f32'>,
  bias: Tensor<'f32'>,
  eps: number,
  dtype: D,
): { out: Tensor<D>; statistics: Tensor<'f32'> } {
  const { rows, columns, options } = rowsOf(x)
  expectShape('layerNorm', 'weight', weight.shape, [columns])
  expectShape('layerNorm', 'bias', bias.shape, [columns])
  const out = x.device.empty(x.shape, dtype)
  const statistics = x.device.empty([rows, 2])
  const storage = x.dtype === 'f16' || dtype === 'f16' ? { from: x.dtype, to: dtype } : {}
  x.device.dispatch(
    layerNormKernel({ ...options, ...storage }),
    { x, weight, bias, out, statistics },
    { rows, columns, eps },
  )
  return { out, statistics }
}

const layerNormOp: Op<Inputs, { eps: number }, Saved> = {
  name: 'layerNorm',
  forward({ x, weight, bias }, { eps }) {
    const { out, statistics } = normalize(x, weight, bias, eps, 'f32')
    return { out, saved: { x, weight, statistics } }
  },
  backward({ gradient: dOut, saved: { x, weight, statistics }, wants, output }) {
    const { device } = x
    const { rows, columns, options } = rowsOf(x)
    const dX = wants('x') ? output('x') : null
    const dWeight = wants('weight') ? output('weight') : null
    if (dX) {
      const kernel = layerNormBackwardKernel(options)
      device.dispatch(kernel, { x, weight, statistics, dOut, dX }, { rows, columns })
    }
    if (dWeight) {
      sumRowParts([x, statistics, dOut], rows, dWeight, (parts, rows, dWeight) => {
        const [x, statistics, dOut] = parts as [Tensor, Tensor, Tensor]
        const tensors = { x, statistics, dOut, dWeight }
        device.dispatch(layerNormWeightBackwardKernel, tensors, { rows, columns })
      })
    }
    return {
      x: dX,
      weight: dWeight,
      bias: wants('bias') ? sumRows(dOut, output('bias')) : null,
    }
  },
}

export interface LayerNormOptions<D extends FloatDtype = FloatDtype> {
  /** Added to the variance. Default 1e-5, PyTorch's. */
  readonly eps?: number
  /** Of the output. Default x's; f16 only where no gradient is asked for. */
  readonly dtype?: D
}

/**
 * Normalises over the last dimension to mean 0 and variance 1, then scales and shifts (Ba et al.
 * 2016). Statistics are f32, whatever x is stored as.
 *
 * @param x [..., columns]
 * @param weight [columns]
 * @param bias [columns]
 * @throws KeeplightError `validation` when shapes or dtypes do not fit, or an f16 output is to have a
 *   gradient
 */
export function layerNorm<X extends FloatDtype, D extends FloatDtype = X>(
  x: Tensor<X>,
  weight: Tensor<'f32'>,
  bias: Tensor<'f32'>,
  { eps = 1e-5, dtype = x.dtype as FloatDtype as D }: LayerNormOptions<D> = {},
): Tensor<D> {
  expectDtype('layerNorm', { weight, bias }, 'f32')
  return inStorage('layerNorm', { x: x as Tensor<FloatDtype>, weight, bias }, dtype, {
    wide: (wide) => apply(layerNormOp, wide, { eps }),
    half: () => {
      const { out, statistics } = normalize(x, weight, bias, eps, dtype)
      statistics.dispose()
      return out
    },
  })
}
