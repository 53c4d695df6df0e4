import { embedTokensKernel } from '../../kernels/embedTokens.ts'
import { expect, expectShape } from '../shape.ts'
import { stridedCopy } from '../stridedCopy.ts'
import { apply, type Op } from '../tape.ts'
import type { Tensor } from '../tensor.ts'
import { sumRows } from './reduce.ts'
import { scaled } from './scale.ts'

interface Inputs extends Record<string, Tensor | undefined> {
  readonly patches: Tensor<'f32'>
  readonly classToken: Tensor<'f32'>
  readonly positions: Tensor<'f32'>
}

const embedTokensOp: Op<Inputs, undefined, undefined> = {
  name: 'embedTokens',
  forward({ patches, classToken, positions }) {
    expect(patches.shape.length === 3, 'embedTokens', () => {
      return `patches is ${patches.toString()}, expected [batch, n, dimension]`
    })
    const [batch, n, dimension] = patches.shape as [number, number, number]
    expectShape('embedTokens', 'classToken', classToken.shape, [dimension])
    expectShape('embedTokens', 'positions', positions.shape, [n + 1, dimension])
    const out = patches.device.empty([batch, n + 1, dimension])
    const { software } = patches.device.adapter
    patches.device.dispatch(
      embedTokensKernel({ lanes: software && batch >= 4 ? 1 : 64, vector: dimension % 4 === 0 }),
      { patches, classToken, positions, out },
      { batch, n, dimension },
    )
    return { out, saved: undefined }
  },
  backward({ gradient: dOut, wants, output }) {
    const { device } = dOut
    const [batch, tokens, dimension] = dOut.shape as [number, number, number]
    const dPatches = wants('patches') ? output('patches') : null
    if (dPatches) {
      stridedCopy('embedTokens', 'read', dOut, dPatches, {
        shape: [batch, (tokens - 1) * dimension],
        strides: [tokens * dimension, 1],
        offset: dimension,
      })
    }
    if (!wants('positions') && !wants('classToken')) {
      return { patches: dPatches, classToken: null, positions: null }
    }
    // dPositions = Σ dOut over the batch, and its first row is the class token's gradient.
    const flat = dOut.view([batch, tokens * dimension])
    const dPositions = wants('positions') ? output('positions') : device.empty([tokens, dimension])
    sumRows(flat, dPositions)
    flat.dispose()
    const dClassToken = wants('classToken') ? output('classToken') : null
    if (dClassToken) {
      const first = dPositions.rows(0, 1)
      scaled(first, 1, dClassToken)
      first.dispose()
    }
    if (!wants('positions')) dPositions.dispose()
    return {
      patches: dPatches,
      classToken: dClassToken,
      positions: wants('positions') ? dPositions : null,
    }
  },
}

/**
 * A class token before the patches of each image, and a position added to every token.
 *
 * @param patches [batch, n, dimension]
 * @param classToken [dimension]
 * @param positions [n + 1, dimension]
 * @returns [batch, n + 1, dimension]
 */
export const embedTokens = (
  patches: Tensor<'f32'>,
  classToken: Tensor<'f32'>,
  positions: Tensor<'f32'>,
): Tensor<'f32'> => apply(embedTokensOp, { patches, classToken, positions }, undefined)
