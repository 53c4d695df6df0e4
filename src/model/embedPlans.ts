import type { Device } from '../runtime/device.ts'
import { record, type Plan } from '../runtime/plan.ts'
import type { Tensor } from '../runtime/tensor.ts'
import { normalizePixels, type Pixels, type PreprocessConfig } from './preprocess.ts'
import { paddedBatch, ReplayQueue } from './replayQueue.ts'
import { classRowsOf, type VisionTransformer } from './vit/vit.ts'

// A type, as an interface would have no index signature.
type EmbedInputs = { readonly pixels: Tensor<'f32'>; readonly classRows: Tensor<'u32'> }

/** The recorded plans of one encoder, by batch and input size. */
export class EmbedPlans {
  readonly #device: Device
  readonly #encoder: VisionTransformer
  readonly #queue = new ReplayQueue<EmbedInputs>()

  constructor(device: Device, encoder: VisionTransformer) {
    this.#device = device
    this.#encoder = encoder
  }

  /**
   * Features of one batch, in one submit.
   *
   * @param pictures B prepared pictures, or their bytes: S×S RGB each, S = `preprocess.size`
   * @returns [B, D]
   */
  async run(
    pictures: readonly Pixels[] | Uint8Array,
    preprocess: PreprocessConfig,
  ): Promise<Float32Array<ArrayBuffer>> {
    const { size } = preprocess
    const bytes = size * size * 3
    const images = pictures instanceof Uint8Array ? pictures.length / bytes : pictures.length
    const batch = paddedBatch(images)
    const all = await this.#queue.run(
      `${batch} × ${size}`,
      () => this.#record(batch, size),
      () => {
        const pixels = new Float32Array(batch * bytes)
        pixels.set(normalizePixels(pictures, preprocess))
        return { pixels }
      },
    )
    return images === batch ? all : all.slice(0, (all.length / batch) * images)
  }

  #record(batch: number, size: number): Promise<Plan<EmbedInputs, Tensor<'f32'>>> {
    const tokens = this.#encoder.preparePositions(size, size).shape[0]!
    const shape = [batch, 3, size, size]
    const pixels = this.#device.tensor(new Float32Array(batch * 3 * size * size), shape)
    const classRows = this.#device.constant(classRowsOf(batch, tokens), [batch])
    return record(this.#device, { pixels, classRows }, (inputs) => {
      return this.#encoder.forward(inputs.pixels, inputs.classRows).feature
    })
  }

  dispose(): Promise<void> {
    return this.#queue.dispose()
  }
}
