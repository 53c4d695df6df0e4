import type { Shape } from '../shape.ts'
import { apply, type Op } from '../tape.ts'
import type { Tensor } from '../tensor.ts'

const reshapeOp: Op<{ x: Tensor<'f32'> }, { shape: Shape; from: Shape }, undefined> = {
  name: 'reshape',
  forward: ({ x }, { shape }) => ({ out: x.view(shape), saved: undefined }),
  backward: ({ gradient, attributes: { from } }) => ({ x: gradient.view(from) }),
}

/** The same values under another shape of the same size; no copy. */
export const reshape = (x: Tensor<'f32'>, shape: Shape): Tensor<'f32'> =>
  apply(reshapeOp, { x }, { shape, from: x.shape })
