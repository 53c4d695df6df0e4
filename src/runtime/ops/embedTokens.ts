import { embedTokensKernel, embedTokensNormKernel } from '../../kernels/embedTokens.ts'
import type { FloatDtype } from '../dtype.ts'
import { rowsOf } from '../rows.ts'
import { expect, expectShape, type Shape } from '../shape.ts'
import { stridedCopy } from '../stridedCopy.ts'
import { apply, needsGradient, type Op } from '../tape.ts'
import type { Tensor } from '../tensor.ts'
import { expectDtype, inStorage } from './half.ts'
import { layerNorm } from './layerNorm.ts'
import { sumRows } from './reduce.ts'
import { scaled } from './scale.ts'

interface Inputs extends Record<string, Tensor | undefined> {
  readonly patches: Tensor<'f32'>
  readonly prefix: Tensor<'f32'>
  readonly positions: Tensor<'f32'>
}

/** What the kernels read. */
interface Embedding {
  readonly patches: Tensor<FloatDtype>
  readonly prefix: Tensor<'f32'>
  readonly positions: Tensor<'f32'>
}

interface Sizes {
  readonly batch: number
  readonly n: number
  readonly prefixes: number
  readonly dimension: number
}

function sizesOf({ patches, prefix, positions }: Embedding): Sizes {
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

const storageOf = ({ dtype: from }: Tensor<FloatDtype>, to: FloatDtype) =>
  from === 'f16' || to === 'f16' ? { from, to } : {}

/** The forward pass without a norm, outside the tape. */
function embedded<D extends FloatDtype>(inputs: Embedding, dtype: D): Tensor<D> {
  const { batch, n, prefixes, dimension } = sizesOf(inputs)
  const { device } = inputs.patches
  const out = device.empty([batch, prefixes + n, dimension], dtype)
  const lanes = device.adapter.software && batch >= 4 ? 1 : 64
  const vector = dimension % 4 === 0
  device.dispatch(
    embedTokensKernel({ lanes, vector, ...storageOf(inputs.patches, dtype) }),
    { ...inputs, out },
    { batch, n, prefixes, dimension },
  )
  return out
}

const embedTokensOp: Op<Inputs, undefined, { readonly prefixShape: Shape }> = {
  name: 'embedTokens',
  forward({ patches, prefix, positions }) {
    const out = embedded({ patches, prefix, positions }, 'f32')
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

export interface EmbedTokensOptions<D extends FloatDtype = FloatDtype> {
  /** Layer norm of every token afterwards, in the same dispatch where the output is f32 without a gradient. */
  readonly norm?:
    | {
        readonly weight: Tensor<'f32'>
        readonly bias: Tensor<'f32'>
        readonly eps: number
      }
    | undefined
  /** Of the output. Default f32; f16 only where no gradient is asked for. */
  readonly dtype?: D
}

/**
 * Prefix tokens (a class token, and registers after it) before the patches of each image, and a
 * position added to every token.
 *
 * @param patches [batch, n, dimension], f32 or f16
 * @param prefix [p, dimension], or [dimension] for one
 * @param positions [p + n, dimension]
 * @returns [batch, p + n, dimension]
 * @throws KeeplightError `validation` when shapes or dtypes do not fit, or an f16 output is to have a
 *   gradient
 */
export function embedTokens<D extends FloatDtype = 'f32'>(
  patches: Tensor<FloatDtype>,
  prefix: Tensor<'f32'>,
  positions: Tensor<'f32'>,
  { norm, dtype = 'f32' as D }: EmbedTokensOptions<D> = {},
): Tensor<D> {
  expectDtype('embedTokens', { prefix, positions }, 'f32')
  const inputs = { patches, prefix, positions }
  const { weight, bias, eps = 0 } = norm ?? {}
  if (!weight || !bias) {
    return inStorage('embedTokens', inputs, dtype, {
      wide: (wide) => apply(embedTokensOp, wide, undefined),
      half: () => embedded(inputs, dtype),
    })
  }
  // The fused kernel reads back what it wrote, which must not be rounded meanwhile, and can't be cut.
  const large = patches.byteLength + positions.byteLength > patches.device.maxBindingBytes
  if (large || dtype === 'f16' || needsGradient(patches, prefix, positions, weight, bias)) {
    const tokens = embedTokens(patches, prefix, positions)
    const normed = layerNorm(tokens, weight, bias, { eps, dtype })
    tokens.dispose()
    return normed
  }
  const fused = (inputs: Embedding): Tensor<'f32'> => embeddedNormed(inputs, weight, bias, eps)
  return inStorage('embedTokens', inputs, 'f32', {
    wide: fused,
    half: () => fused(inputs),
  }) as Tensor<FloatDtype> as Tensor<D>
}

/** The forward pass with a norm, in one dispatch; outside the tape. */
function embeddedNormed(
  inputs: Embedding,
  weight: Tensor<'f32'>,
  bias: Tensor<'f32'>,
  eps: number,
): Tensor<'f32'> {
  const { batch, n, prefixes, dimension } = sizesOf(inputs)
  expectShape('embedTokens', 'norm.weight', weight.shape, [dimension])
  expectShape('embedTokens', 'norm.bias', bias.shape, [dimension])
  const { device } = weight
  const out = device.empty([batch, prefixes + n, dimension])
  const { rows, columns, options } = rowsOf(out)
  device.dispatch(
    embedTokensNormKernel({ ...options, ...storageOf(inputs.patches, 'f32') }),
    { ...inputs, weight, bias, out },
    { rows, columns, tokens: prefixes + n, prefixes, eps },
  )
  return out
}
