import type { Device } from '../../runtime/device.ts'
import type { FloatDtype } from '../../runtime/dtype.ts'
import { reshape } from '../../runtime/ops/elementwise.ts'
import { embedTokens } from '../../runtime/ops/embedTokens.ts'
import { gatherRows } from '../../runtime/ops/gatherRows.ts'
import { layerNorm } from '../../runtime/ops/layerNorm.ts'
import type { LinearWeight } from '../../runtime/ops/linear.ts'
import { linear } from '../../runtime/ops/matmul.ts'
import { patchEmbed } from '../../runtime/ops/patchEmbed.ts'
import { expect, sizeOf } from '../../runtime/shape.ts'
import { keep, scope, type Tensor } from '../../runtime/tensor.ts'
import { attentionMap } from '../attentionMap.ts'
import type { AnyLeaves } from '../checkpoint.ts'
import {
  transformerBlock,
  uploadBlock,
  uploadNorm,
  uploadTo,
  type Affine,
  type BlockTensors,
} from '../transformerBlock.ts'
import type { VitConfig } from './config.ts'
import type { VitWeights } from './names.ts'
import { interpolatePositions } from './positions.ts'

export interface VitOutput {
  /** [B, D or E]: the class token, normed, and projected for CLIP. */
  readonly feature: Tensor<'f32'>
  /** [B, 1 + R + n, D]: the last block's output, before the final norm. */
  readonly tokens: Tensor<'f32'>
  /** Input of every block, then the last one's output, when asked for. */
  readonly hiddenStates: readonly Tensor<'f32'>[]
}

export interface VitForwardOptions {
  /** Whether to return every block's input. Default false. */
  readonly hiddenStates?: boolean
  /**
   * Of what passes between the layers of a block, and of the patches; tokens between blocks are f32.
   * Default f32.
   */
  readonly dtype?: FloatDtype
}

/**
 * The vision transformer of Dosovitskiy et al. 2021 with pre-norm blocks, x += attention(norm(x)),
 * x += mlp(norm(x)): one forward for CLIP, DINO and DINOv2, which differ in {@link VitConfig} alone.
 */
export class VisionTransformer {
  readonly config: VitConfig
  readonly #device: Device
  readonly #patch: { weight: Tensor<'f32'>; bias: Tensor<'f32'> | undefined }
  /** [1 + R, D]: class token and registers. */
  readonly #prefix: Tensor<'f32'>
  readonly #positionTable: Float32Array
  readonly #positions = new Map<string, Tensor<'f32'>>()
  readonly #preNorm: Affine | undefined
  readonly #blocks: readonly BlockTensors[]
  readonly #finalNorm: Affine
  readonly #projection: LinearWeight | undefined
  readonly #owned: Tensor[] = []

  /** @param weights host arrays, which are uploaded, or tensors, which are taken over */
  constructor(device: Device, config: VitConfig, weights: VitWeights<AnyLeaves>) {
    this.config = config
    this.#device = device
    const { hiddenSize: d, patchSize, projection } = config
    const upload = uploadTo(device, this.#owned)
    this.#patch = {
      weight: upload.plain(weights.patchWeight, [d, 3, patchSize, patchSize]),
      bias: weights.patchBias && upload.plain(weights.patchBias, [d]),
    }
    const prefix = new Float32Array((1 + config.registers) * d)
    prefix.set(weights.classToken)
    if (weights.registers) prefix.set(weights.registers, d)
    this.#prefix = upload.plain(prefix, [1 + config.registers, d])
    this.#positionTable = weights.positions
    this.#preNorm = weights.preNorm && uploadNorm(upload, weights.preNorm)
    this.#blocks = weights.blocks.map((block) => uploadBlock(upload, block))
    this.#finalNorm = uploadNorm(upload, weights.finalNorm)
    this.#projection = weights.projection && upload.matrix(weights.projection, [projection!, d])
  }

  /** Weights of the blocks, in their order; they stay the encoder's. */
  get blocks(): readonly BlockTensors[] {
    return this.#blocks
  }

  /** Uploads the position table for an input size; call it before recording a plan of that size. */
  preparePositions(height: number, width: number): Tensor<'f32'> {
    const { patchSize, hiddenSize, imageSize, registers } = this.config
    expect(height % patchSize === 0 && width % patchSize === 0, 'vit', () => {
      return `an input of ${height}×${width} pixels is no whole number of ${patchSize}-pixel patches`
    })
    const rows = height / patchSize
    const columns = width / patchSize
    const key = `${rows}×${columns}`
    let positions = this.#positions.get(key)
    if (!positions) {
      const grid = [rows, columns] as const
      const table = interpolatePositions(
        this.#positionTable,
        hiddenSize,
        imageSize / patchSize,
        grid,
        { antialias: registers > 0 },
      )
      // Registers have no position.
      const shape = [1 + registers + rows * columns, hiddenSize]
      const padded = new Float32Array(sizeOf(shape))
      padded.set(table.subarray(0, hiddenSize))
      padded.set(table.subarray(hiddenSize), (1 + registers) * hiddenSize)
      positions = keep(this.#device.constant(padded, shape))
      this.#positions.set(key, positions)
      this.#owned.push(positions)
    }
    return positions
  }

  /**
   * @param pixels [B, 3, H, W], normalised; H and W are multiples of the patch
   * @param classRows [B] u32: row of every image's class token among all tokens, i·(1 + R + n)
   */
  forward(
    pixels: Tensor<'f32'>,
    classRows: Tensor<'u32'>,
    { hiddenStates = false, dtype = 'f32' }: VitForwardOptions = {},
  ): VitOutput {
    const states: Tensor<'f32'>[] = []
    let tokens = this.embed(pixels, { dtype })
    for (const block of this.#blocks) {
      const next = this.block(tokens, block, { dtype })
      if (hiddenStates) states.push(tokens)
      else tokens.dispose()
      tokens = next
    }
    if (hiddenStates) states.push(tokens)
    return { feature: this.feature(tokens, classRows), tokens, hiddenStates: states }
  }

  /**
   * What the first block takes: patches, class token and registers, with positions.
   *
   * @param pixels [B, 3, H, W], normalised
   * @returns [B, 1 + R + n, D]
   */
  embed(
    pixels: Tensor<'f32'>,
    { dtype = 'f32' }: Pick<VitForwardOptions, 'dtype'> = {},
  ): Tensor<'f32'> {
    const [, , height = 0, width = 0] = pixels.shape
    const { layerNormEps: eps } = this.config
    const positions = this.preparePositions(height, width)
    return scope(() => {
      const patches = patchEmbed(pixels, this.#patch.weight, this.#patch.bias, { dtype })
      const norm = this.#preNorm
      return embedTokens(patches, this.#prefix, positions, norm && { norm: { ...norm, eps } })
    })
  }

  /** One block of this encoder, with the given weights: one of {@link VisionTransformer.blocks}, or adapted. */
  block(
    tokens: Tensor<'f32'>,
    weights: BlockTensors,
    { dtype = 'f32' }: Pick<VitForwardOptions, 'dtype'> = {},
  ): Tensor<'f32'> {
    const { activation, heads, layerNormEps: eps } = this.config
    return transformerBlock(tokens, weights, { heads, activation, eps, dtype })
  }

  /**
   * The features of images from their tokens after the last block.
   *
   * @param tokens [B, 1 + R + n, D]
   * @param classRows [B] u32, as for {@link VisionTransformer.forward}
   * @returns [B, D or E]
   */
  feature(tokens: Tensor<'f32'>, classRows: Tensor<'u32'>): Tensor<'f32'> {
    const { hiddenSize } = this.config
    return scope(() => {
      const all = reshape(tokens, [tokens.size / hiddenSize, hiddenSize])
      expect(
        classRows.size === tokens.shape[0],
        'vit',
        () => `classRows has ${classRows.size} rows, not ${tokens.shape[0]}`,
      )
      const normed = this.normalize(gatherRows(all, classRows))
      return this.#projection ? linear(normed, this.#projection) : normed
    })
  }

  /**
   * The attention weights of one block; see {@link attentionMap}.
   *
   * @param x [B, T, D], the block's input: hidden state `block`
   * @returns [B, H, queries, T]
   */
  attentionMap(x: Tensor<'f32'>, block: number, queries: number): Tensor<'f32'> {
    const { heads, layerNormEps: eps } = this.config
    return attentionMap(x, this.#blocks[block]!, { heads, eps }, queries)
  }

  /** The final layerNorm, of any rows of tokens. */
  normalize(tokens: Tensor<'f32'>): Tensor<'f32'> {
    const { weight, bias } = this.#finalNorm
    return layerNorm(tokens, weight, bias, { eps: this.config.layerNormEps })
  }

  dispose(): void {
    this.#owned.forEach((tensor) => tensor.dispose())
  }
}

/** The `classRows` of a batch, as host values. */
export const classRowsOf = (batch: number, tokens: number): Uint32Array<ArrayBuffer> =>
  Uint32Array.from({ length: batch }, (_, i) => i * tokens)
