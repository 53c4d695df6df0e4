import { randomUniform } from '../kernels/random.ts'
import type { Device } from '../runtime/device.ts'
import { Parameters } from '../runtime/parameters.ts'
import { expect, sizeOf, type Shape } from '../runtime/shape.ts'
import { withoutTape } from '../runtime/tape.ts'
import { scope, type Tensor } from '../runtime/tensor.ts'
import type { HeadWeights } from './mlpHead.ts'
import type { BlockTensors, Dense } from './transformerBlock.ts'
import type { VisionTransformer } from './vit/vit.ts'

/** Linear layers of a block that can have a low-rank branch. */
export type LoraTarget = 'qkv' | 'out' | 'fc1' | 'fc2'

export interface LoraOptions {
  /** How many of the encoder's last blocks are adapted. Default 2. */
  readonly blocks?: number
  /** r, rank of a branch. Default 4. */
  readonly rank?: number
  /** A branch is scaled by α/r. Default r. */
  readonly alpha?: number
  /** Default all four. */
  readonly targets?: readonly LoraTarget[]
}

const TARGETS: readonly LoraTarget[] = ['qkv', 'out', 'fc1', 'fc2']

/** [out, in] of a layer's weight. */
const sizesOf = ({ weight }: Dense): readonly [number, number] => {
  const [out, inner] = ('values' in weight ? weight.values : weight).shape
  return [out!, inner!]
}

/**
 * LoRA (Hu et al., arXiv 2106.09685) on the last blocks of a frozen encoder: beside a linear layer W
 * stands α/r · B·A with A [r, in] and B [out, r], which alone are trained. Weights may be f16 or int8.
 *
 * The encoder stays as it is; only passes through {@link Lora.features} are adapted.
 */
export class Lora {
  readonly encoder: VisionTransformer
  /** `blocks.10.qkv.A`, `blocks.10.qkv.B` and so on. */
  readonly parameters: Parameters
  /** α/r */
  readonly scale: number
  readonly #first: number
  readonly #targets: readonly LoraTarget[]

  /** @throws KeeplightError `validation` for options that make no sense */
  constructor(device: Device, encoder: VisionTransformer, options: LoraOptions = {}) {
    const { blocks = 2, rank = 4, alpha = rank, targets = TARGETS } = options
    const depth = encoder.blocks.length
    const whole = (value: number): boolean => Number.isInteger(value) && value >= 1
    expect(whole(blocks) && blocks <= depth, 'Lora', () => {
      return `blocks is ${blocks}, expected a whole number from 1 to ${depth}, the encoder's depth`
    })
    expect(whole(rank), 'Lora', () => `rank is ${rank}, expected a whole number of 1 or more`)
    expect(alpha > 0 && Number.isFinite(alpha), 'Lora', () => {
      return `alpha is ${alpha}, expected a number above 0`
    })
    expect(targets.length > 0, 'Lora', () => `no targets; expected some of ${TARGETS.join(', ')}`)
    this.encoder = encoder
    this.scale = alpha / rank
    this.#first = depth - blocks
    this.#targets = targets
    const shapes = new Map<string, Shape>()
    for (let i = this.#first; i < depth; i++) {
      for (const target of targets) {
        const [out, inner] = sizesOf(encoder.blocks[i]![target])
        shapes.set(`blocks.${i}.${target}.A`, [rank, inner])
        shapes.set(`blocks.${i}.${target}.B`, [out, rank])
      }
    }
    this.parameters = new Parameters(device, shapes)
    this.initialize(0)
  }

  /** A uniform in ±1/√in, as PyTorch's linear layers and LoRA's reference code; B zero: no change at first. */
  initialize(seed: number): void {
    const values = new Map<string, Float32Array>()
    let stream = 0
    for (const [name, { size, shape }] of this.parameters.tensors) {
      const data = new Float32Array(size)
      if (name.endsWith('.A')) {
        const bound = 1 / Math.sqrt(shape[1]!)
        for (let i = 0; i < size; i++) data[i] = (2 * randomUniform(seed, stream, i) - 1) * bound
        stream++
      }
      values.set(name, data)
    }
    this.parameters.write(values)
  }

  /**
   * Tokens that the first adapted block takes: they stay the same however the branches change, so those of
   * a collection can be computed once. Outside the tape.
   *
   * @param pixels [B, 3, H, W], normalised
   * @returns [B, T, D]
   */
  frozen(pixels: Tensor<'f32'>): Tensor<'f32'> {
    const { encoder } = this
    return withoutTape(() =>
      scope(() => {
        const blocks = encoder.blocks.slice(0, this.#first)
        return blocks.reduce((tokens, block) => encoder.block(tokens, block), encoder.embed(pixels))
      }),
    )
  }

  /**
   * The adapted blocks and what follows them.
   *
   * @param tokens [B, T, D], what {@link Lora.frozen} gave
   * @param classRows [B] u32: row of every image's class token among all tokens, i·T
   * @returns [B, D or E], the images' features, not normalised; carries the tape
   */
  features(tokens: Tensor<'f32'>, classRows: Tensor<'u32'>): Tensor<'f32'> {
    const { encoder } = this
    return scope(() => {
      let adapted = tokens
      encoder.blocks.slice(this.#first).forEach((block, i) => {
        adapted = encoder.block(adapted, this.#adapted(block, this.#first + i))
      })
      return encoder.feature(adapted, classRows)
    })
  }

  #adapted(block: BlockTensors, index: number): BlockTensors {
    const layers = this.#targets.map((target): [LoraTarget, Dense] => {
      const name = `blocks.${index}.${target}`
      const down = this.parameters.get(`${name}.A`)
      const up = this.parameters.get(`${name}.B`)
      return [target, { ...block[target], lowRank: { down, up, scale: this.scale } }]
    })
    return { ...block, ...Object.fromEntries(layers) }
  }

  /** Copies the branches to the host, to be saved and put back by {@link Lora.write}. */
  async read(): Promise<HeadWeights> {
    const values = await this.parameters.read()
    return new Map(
      Array.from(values, ([name, data]) => [
        name,
        { shape: this.parameters.get(name).shape, data },
      ]),
    )
  }

  write(weights: HeadWeights): void {
    this.parameters.write(new Map(Array.from(weights, ([name, { data }]) => [name, data])))
  }

  /**
   * α/r · B·A of every adapted layer, in f64 and rounded once: added to the layer's weight [out, in], it
   * makes an encoder that needs no branches.
   *
   * @returns by `blocks.10.qkv` and so on
   */
  async deltas(): Promise<HeadWeights> {
    const weights = await this.read()
    const names = [...weights.keys()].filter((name) => name.endsWith('.A'))
    return new Map(
      names.map((name) => {
        const layer = name.slice(0, -2)
        const down = weights.get(name)!
        const up = weights.get(`${layer}.B`)!
        const [rank, inner] = down.shape as [number, number]
        const shape = [up.shape[0]!, inner]
        const data = Float32Array.from({ length: sizeOf(shape) }, (_, i) => {
          const [row, column] = [Math.floor(i / inner), i % inner]
          let sum = 0
          for (let r = 0; r < rank; r++) {
            sum += up.data[row * rank + r]! * down.data[r * inner + column]!
          }
          return sum * this.scale
        })
        return [layer, { shape, data }]
      }),
    )
  }

  /** Frees the branches; the encoder stays. */
  dispose(): void {
    this.parameters.dispose()
  }
}
