import {
  layerNormBackwardKernel,
  layerNormKernel,
  layerNormWeightBackwardKernel,
} from '../../kernels/layerNorm.ts'
import { rowsOf } from '../rows.ts'
import { expectShape } from '../shape.ts'
import { apply, type Op } from '../tape.ts'
import type { Tensor } from '../tensor.ts'
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

const layerNormOp: Op<Inputs, { eps: number }, Saved> = {
  name: 'layerNorm',
  forward({ x, weight, bias }, { eps }) {
    const { rows, columns, options } = rowsOf(x)
    expectShape('layerNorm', 'weight', weight.shape, [columns])
    expectShape('layerNorm', 'bias', bias.shape, [columns])
    const out = x.device.empty(x.shape)
    const statistics = x.device.empty([rows, 2])
    x.device.dispatch(
      layerNormKernel(options),
      { x, weight, bias, out, statistics },
      { rows, columns, eps },
    )
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

export interface LayerNormOptions {
  /** Added to the variance. Default 1e-5, PyTorch's. */
  readonly eps?: number
}

/**
 * Normalises over the last dimension to mean 0 and variance 1, then scales and shifts (Ba et al.
 * 2016).
 *
 * @param x [..., columns]
 * @param weight [columns]
 * @param bias [columns]
 */
export const layerNorm = (
  x: Tensor<'f32'>,
  weight: Tensor<'f32'>,
  bias: Tensor<'f32'>,
  { eps = 1e-5 }: LayerNormOptions = {},
): Tensor<'f32'> => apply(layerNormOp, { x, weight, bias }, { eps })
