import type { Device } from '../../runtime/device.ts'
import { KeeplightError } from '../../runtime/errors.ts'
import { add } from '../../runtime/ops/elementwise.ts'
import { gatherRows } from '../../runtime/ops/gatherRows.ts'
import { layerNorm } from '../../runtime/ops/layerNorm.ts'
import type { LinearWeight } from '../../runtime/ops/linear.ts'
import { linear } from '../../runtime/ops/matmul.ts'
import { expect } from '../../runtime/shape.ts'
import { scope, type Tensor } from '../../runtime/tensor.ts'
import type { AnyLeaves } from '../checkpoint.ts'
import {
  transformerBlock,
  uploadBlock,
  uploadNorm,
  uploadTo,
  type Affine,
  type BlockTensors,
} from '../transformerBlock.ts'
import type { TextConfig, TextWeights } from './names.ts'

/** Of every published CLIP. */
const EPS = 1e-5

/** What the tower is told of a batch of texts, as host values; see {@link textInputs}. */
export interface TextInputs {
  /** [B·T]: token ids, row by row. */
  readonly tokens: Uint32Array<ArrayBuffer>
  /** [B·T]: 0 … T − 1 for every text. */
  readonly positions: Uint32Array<ArrayBuffer>
  /** [B]: row of every text's first end token. */
  readonly endRows: Uint32Array<ArrayBuffer>
}

export interface TextOutput {
  /** [B, E]: the projected feature at the end token, not normalised. */
  readonly feature: Tensor<'f32'>
  /** [B, T, D]: the last block's output, before the final norm. */
  readonly tokens: Tensor<'f32'>
}

/**
 * CLIP's text tower (Radford et al. 2021): token and position embeddings, causal pre-norm blocks with
 * QuickGELU, and the projection of the final norm at the first end token.
 */
export class TextTransformer {
  readonly config: TextConfig
  readonly #tokens: Tensor<'f32'>
  readonly #positions: Tensor<'f32'>
  readonly #blocks: readonly BlockTensors[]
  readonly #finalNorm: Affine
  readonly #projection: LinearWeight
  readonly #owned: Tensor[] = []

  /** @param weights host arrays, which are uploaded, or tensors, which are taken over */
  constructor(device: Device, config: TextConfig, weights: TextWeights<AnyLeaves>) {
    this.config = config
    const { vocabulary, context, hiddenSize, projection } = config
    const upload = uploadTo(device, this.#owned)
    this.#tokens = upload.plain(weights.tokens, [vocabulary, hiddenSize])
    this.#positions = upload.plain(weights.positions, [context, hiddenSize])
    this.#blocks = weights.blocks.map((block) => uploadBlock(upload, block))
    this.#finalNorm = uploadNorm(upload, weights.finalNorm)
    this.#projection = upload.matrix(weights.projection, [projection, hiddenSize])
  }

  /** @param inputs what {@link textInputs} made, on the device */
  forward(inputs: { readonly [K in keyof TextInputs]: Tensor<'u32'> }): TextOutput {
    const { heads, hiddenSize } = this.config
    const batch = inputs.endRows.size
    const length = inputs.tokens.size / batch
    expect(Number.isInteger(length) && length <= this.config.context, 'text', () => {
      return `${inputs.tokens.size} tokens are no ${batch} texts of ${this.config.context} tokens or fewer`
    })
    let tokens = scope(() => {
      const embedded = gatherRows(this.#tokens, inputs.tokens)
      const positions = gatherRows(this.#positions, inputs.positions)
      return add(embedded, positions).view([batch, length, hiddenSize])
    })
    for (const block of this.#blocks) {
      const options = { heads, activation: 'quickGelu', eps: EPS, causal: true } as const
      const next = transformerBlock(tokens, block, options)
      tokens.dispose()
      tokens = next
    }
    const feature = scope(() => {
      const all = tokens.view([batch * length, hiddenSize])
      return linear(this.normalize(gatherRows(all, inputs.endRows)), this.#projection)
    })
    return { feature, tokens }
  }

  /** The final layerNorm, of any rows of tokens. */
  normalize(tokens: Tensor<'f32'>): Tensor<'f32'> {
    return layerNorm(tokens, this.#finalNorm.weight, this.#finalNorm.bias, { eps: EPS })
  }

  dispose(): void {
    this.#owned.forEach((tensor) => tensor.dispose())
  }
}

/**
 * The tower's inputs for tokenized texts. Nothing after the first end token reaches the feature, so
 * columns that lie past it in every text are cut off.
 *
 * @param ids [B, T], see `Tokenizer.tokenize`
 * @param context T
 * @param lengthFor how many columns to keep, of those that are needed at least; default: these alone
 * @throws KeeplightError `input` when a text has no end token, or an id lies outside the vocabulary
 */
export function textInputs(
  ids: Uint32Array,
  context: number,
  { vocabulary }: Pick<TextConfig, 'vocabulary'>,
  lengthFor: (needed: number) => number = (needed) => needed,
): TextInputs {
  const batch = ids.length / context
  const ends = Array.from({ length: batch }, (_, row) => {
    const text = ids.subarray(row * context, (row + 1) * context)
    const beyond = text.find((id) => id >= vocabulary)
    if (beyond !== undefined) {
      throw new KeeplightError(
        'input',
        `text ${row} has token ${beyond}, expected less than ${vocabulary}, the model's vocabulary; ` +
          'tokenize it with the tokenizer of this model',
      )
    }
    const end = text.indexOf(vocabulary - 1)
    if (end < 0) {
      throw new KeeplightError(
        'input',
        `text ${row} has no end token ${vocabulary - 1}; tokenize it with Tokenizer.tokenize`,
      )
    }
    return end
  })
  const length = lengthFor(Math.max(...ends) + 1)
  return {
    tokens: Uint32Array.from({ length: batch * length }, (_, i) => {
      return ids[Math.floor(i / length) * context + (i % length)]!
    }),
    positions: Uint32Array.from({ length: batch * length }, (_, i) => i % length),
    endRows: Uint32Array.from(ends, (end, row) => row * length + end),
  }
}
