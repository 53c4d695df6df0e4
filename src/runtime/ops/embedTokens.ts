import { embedTokensKernel, embedTokensNormKernel } from '../../kernels/embedTokens.ts'
import { rowsOf } from '../rows.ts'
import { expect, expectShape, type Shape } from '../shape.ts'
import { stridedCopy } from '../stridedCopy.ts'
import { apply, needsGradient, type Op } from '../tape.ts'
import type { Tensor } from '../tensor.ts'
import { layerNorm } from './layerNorm.ts'
import { sumRows } from './reduce.ts'
import { scaled } from './scale.ts'

interface Inputs extends Record<string, Tensor | undefined> {
  readonly patches: Tensor<'f32'>
  readonly prefix: Tensor<'f32'>
  readonly positions: Tensor<'f32'>
}

interface Sizes {
  readonly batch: number
  readonly n: number
  readonly prefixes: number
  readonly dimension: number
}

function sizesOf({ patches, prefix, positions }: Inputs): Sizes {
  expect(patches.shape.length === 3, 'embedTokens', () => {
    return `patches is ${patches.toString()}, expected [batch, n, dimension]`
  })
  const [batch, n, dimension] = patches.shape as [number, number, number]
  const prefixes = prefix.shape.length === 1 ? 1 : prefix.shape[0]!
  if (prefix.shape.length === 1) expectShape('embedTokens', 'prefix', prefix.shape, [dimension])
  else expectShape('embedTokens', 'prefix', prefix.shape, [prefixes, dimension])
  expectShape('embedTokens', 'positions', positions.shape, [prefixes + n, dimension])
  return { batch, n, prefixes, dimension }
}

const embedTokensOp: Op<Inputs, undefined, { readonly prefixShape: Shape }> = {
  name: 'embedTokens',
  forward({ patches, prefix, positions }) {
    const { batch, n, prefixes, dimension } = sizesOf({ patches, prefix, positions })
    const out = patches.device.empty([batch, prefixes + n, dimension])
    const { software } = patches.device.adapter
    patches.device.dispatch(
      embedTokensKernel({ lanes: software && batch >= 4 ? 1 : 64, vector: dimension % 4 === 0 }),
      { patches, prefix, positions, out },
      { batch, n, prefixes, dimension },
    )
    return { out, saved: { prefixShape: prefix.shape } }
  },
  backward({ gradient: dOut, wants, output, saved: { prefixShape } }) {
    const { device } = dOut
    const prefixes = prefixShape.length === 1 ? 1 : prefixShape[0]!
    const [batch, tokens, dimension] = dOut.shape as [number, number, number]
    const dPatches = wants('patches') ? output('patches') : null
    if (dPatches) {
      stridedCopy('embedTokens', 'read', dOut, dPatches, {
        shape: [batch, (tokens - prefixes) * dimension],
        strides: [tokens * dimension, 1],
        offset: prefixes * dimension,
      })
    }
    if (!wants('positions') && !wants('prefix')) {
      return { patches: dPatches, prefix: null, positions: null }
    }
    // dPositions = Σ dOut over the batch, and its first rows are the prefix's gradient.
    const flat = dOut.view([batch, tokens * dimension])
    const dPositions = wants('positions') ? output('positions') : device.empty([tokens, dimension])
    sumRows(flat, dPositions)
    flat.dispose()
    const dPrefix = wants('prefix') ? output('prefix') : null
    if (dPrefix) {
      const first = dPositions.rows(0, prefixes)
      scaled(first, 1, dPrefix)
      first.dispose()
    }
    if (!wants('positions')) dPositions.dispose()
    return {
      patches: dPatches,
      prefix: dPrefix,
      positions: wants('positions') ? dPositions : null,
    }
  },
}

export interface EmbedTokensOptions {
  /** Layer norm of every token afterwards, in the same dispatch where no gradient is asked for. */
  readonly norm?: {
    readonly weight: Tensor<'f32'>
    readonly bias: Tensor<'f32'>
    readonly eps: number
  }
}

/**
 * Prefix tokens (a class token, and registers after it) before the patches of each image, and a
 * position added to every token.
 *
 * @param patches [batch, n, dimension]
 * @param prefix [p, dimension], or [dimension] for one
 * @param positions [p + n, dimension]
 * @returns [batch, p + n, dimension]
 */
export function embedTokens(
  patches: Tensor<'f32'>,
  prefix: Tensor<'f32'>,
  positions: Tensor<'f32'>,
  { norm }: EmbedTokensOptions = {},
): Tensor<'f32'> {
  if (!norm) return apply(embedTokensOp, { patches, prefix, positions }, undefined)
  const { weight, bias, eps } = norm
  if (needsGradient(patches, prefix, positions, weight, bias)) {
    const tokens = embedTokens(patches, prefix, positions)
    const normed = layerNorm(tokens, weight, bias, { eps })
    tokens.dispose()
    return normed
  }
  const { batch, n, prefixes, dimension } = sizesOf({ patches, prefix, positions })
  expectShape('embedTokens', 'norm.weight', weight.shape, [dimension])
  expectShape('embedTokens', 'norm.bias', bias.shape, [dimension])
  const out = patches.device.empty([batch, prefixes + n, dimension])
  const { rows, columns, options } = rowsOf(out)
  patches.device.dispatch(
    embedTokensNormKernel(options),
    { patches, prefix, positions, weight, bias, out },
    { rows, columns, tokens: prefixes + n, prefixes, eps },
  )
  return out
}
