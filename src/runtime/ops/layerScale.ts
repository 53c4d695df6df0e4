import { scaleColumnsKernel } from '../../kernels/scaleColumns.ts'
import { expectShape } from '../shape.ts'
import { apply, type Op } from '../tape.ts'
import type { Tensor } from '../tensor.ts'
import { multiply } from './elementwise.ts'
import { sumRows } from './reduce.ts'

interface Inputs extends Record<string, Tensor | undefined> {
  readonly x: Tensor<'f32'>
  readonly factor: Tensor<'f32'>
}

const layerScaleOp: Op<Inputs, undefined, { x: Tensor<'f32'>; factor: Tensor<'f32'> }> = {
  name: 'layerScale',
  forward({ x, factor }) {
    expectShape('layerScale', 'factor', factor.shape, x.shape.slice(-1))
    return { out: scaled(x, factor, x.device.empty(x.shape)), saved: { x, factor } }
  },
  // out = x·diag(factor): dx = dOut·diag(factor), dfactor = Σ rows of dOut ⊙ x.
  backward({ gradient, saved: { x, factor }, wants, output }) {
    const dX = wants('x') ? scaled(gradient, factor, output('x')) : null
    if (!wants('factor')) return { x: dX, factor: null }
    const products = multiply(gradient, x)
    const dFactor = sumRows(products, output('factor'))
    products.dispose()
    return { x: dX, factor: dFactor }
  },
}

function scaled(x: Tensor<'f32'>, factor: Tensor<'f32'>, out: Tensor<'f32'>): Tensor<'f32'> {
  const { size, device } = x
  device.dispatch(scaleColumnsKernel, { x, factor, out }, { size, columns: factor.size })
  return out
}

/**
 * x · diag(factor), LayerScale (Touvron et al. 2021, CaiT): every column times a number of its own.
 *
 * @param x [..., columns]
 * @param factor [columns]
 */
export const layerScale = (x: Tensor<'f32'>, factor: Tensor<'f32'>): Tensor<'f32'> =>
  apply(layerScaleOp, { x, factor }, undefined)
