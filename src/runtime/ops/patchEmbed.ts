import { patchifyBackwardKernel, patchifyKernel } from '../../kernels/patchify.ts'
import type { FloatDtype } from '../dtype.ts'
import { expect, expectShape, type Shape } from '../shape.ts'
import { apply, type Op } from '../tape.ts'
import type { Tensor } from '../tensor.ts'
import { reshape } from './elementwise.ts'
import { inStorage } from './half.ts'
import { linear } from './matmul.ts'

interface Attributes {
  readonly patch: number
  readonly shape: Shape
}

/** Parameters of both kernels from the shape of the images. */
function sizesOf(shape: Shape, patch: number, software: boolean) {
  const [batch, channels, height, width] = shape as [number, number, number, number]
  return { batch, channels, height, width, side: patch, lines: software ? patch : 1 }
}

/** The forward pass, outside the tape. */
function cut<D extends FloatDtype>(x: Tensor<D>, patch: number): Tensor<D> {
  const sizes = sizesOf(x.shape, patch, x.device.adapter.software)
  const { batch, channels, height, width } = sizes
  const divides = height % patch === 0 && width % patch === 0
  expect(x.shape.length === 4 && divides, 'patchify', () => {
    return (
      `x is ${x.toString()}, expected [batch, channels, height, width] with height and width ` +
      `multiples of the patch size ${patch}; resize or crop the images`
    )
  })
  const n = (height / patch) * (width / patch)
  const out = x.device.empty([batch, n, channels * patch * patch], x.dtype)
  const half = x.dtype === 'f16' && { half: true }
  x.device.dispatch(patchifyKernel({ vector: patch % 4 === 0, ...half }), { x, out }, sizes)
  return out
}

const patchifyOp: Op<{ x: Tensor<'f32'> }, Attributes, undefined> = {
  name: 'patchify',
  forward({ x }, { patch }) {
    return { out: cut(x, patch), saved: undefined }
  },
  backward({ gradient: dOut, attributes: { patch, shape }, output }) {
    const dX = output('x')
    const sizes = sizesOf(shape, patch, dOut.device.adapter.software)
    dOut.device.dispatch(patchifyBackwardKernel({ vector: patch % 4 === 0 }), { dOut, dX }, sizes)
    return { x: dX }
  },
}

/**
 * Images cut into square patches, row by row; the elements of a patch are ordered (channel, y, x).
 *
 * @param x [batch, channels, height, width], f32 or f16
 * @param patch side of a patch; must divide height and width
 * @returns [batch, (height / patch)(width / patch), channels · patch · patch], of x's dtype
 */
export const patchify = <D extends FloatDtype>(x: Tensor<D>, patch: number): Tensor<D> =>
  inStorage('patchify', { x }, x.dtype, {
    wide: (wide) => apply(patchifyOp, wide, { patch, shape: x.shape }),
    half: () => cut(x, patch),
  })

export interface PatchEmbedOptions<D extends FloatDtype = FloatDtype> {
  /** Of the output. Default f32; f16 only where no gradient is asked for. */
  readonly dtype?: D
}

/**
 * The patch embedding of a vision transformer (Dosovitskiy et al. 2021): a convolution whose stride
 * is its kernel size, as one product.
 *
 * @param x [batch, channels, height, width], f32 or f16
 * @param weight [dimension, channels, patch, patch]
 * @param bias [dimension]
 * @returns [batch, (height / patch)(width / patch), dimension]
 */
export function patchEmbed<D extends FloatDtype = 'f32'>(
  x: Tensor<FloatDtype>,
  weight: Tensor<'f32'>,
  bias?: Tensor<'f32'>,
  { dtype = 'f32' as D }: PatchEmbedOptions<D> = {},
): Tensor<D> {
  const [dimension = 0, channels = 0, patch = 0] = weight.shape
  expect(weight.shape.length === 4, 'patchEmbed', () => {
    return `weight is ${weight.toString()}, expected [dimension, channels, patch, patch]`
  })
  expectShape('patchEmbed', 'weight', weight.shape, [dimension, x.shape[1] ?? 0, patch, patch])
  const patches = patchify(x, patch)
  const matrix = reshape(weight, [dimension, channels * patch * patch])
  const out = linear(patches, matrix, bias, { dtype })
  patches.dispose()
  matrix.dispose()
  return out
}
