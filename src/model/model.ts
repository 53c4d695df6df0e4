import type { Device } from '../runtime/device.ts'
import { KeeplightError } from '../runtime/errors.ts'
import { record, type Plan } from '../runtime/plan.ts'
import type { Tensor } from '../runtime/tensor.ts'
import { normalizePixels, type PreprocessConfig } from './preprocess.ts'
import { bufferSource, type ByteSource } from './byteSource.ts'
import { loadVit } from './loadTowers.ts'
import type { LoadOptions } from './loadWeights.ts'
import type { ShardedSource } from './safetensorsSource.ts'
import { familyPreprocess, featureSize, type VitConfig } from './vit/config.ts'
import { classRowsOf, type VisionTransformer } from './vit/vit.ts'

type EmbedPlan = Plan<{ pixels: Tensor<'f32'>; classRows: Tensor<'u32'> }, Tensor<'f32'>>

/** Images that one replay embeds at most; more gain nothing and only cost memory. */
const MAX_BATCH = 32

/** A frozen image encoder on a device. */
export class VisionModel {
  readonly name: string
  /** SHA-256 of the weight file, in hex: with the preprocessing, what a feature depends on. */
  readonly hash: string
  readonly config: VitConfig
  readonly preprocess: PreprocessConfig
  /** Naming scheme of the file, e.g. `Hugging Face CLIP`. */
  readonly scheme: string
  readonly encoder: VisionTransformer
  readonly #device: Device
  readonly #plans = new Map<number, Promise<EmbedPlan>>()
  #turn: Promise<unknown> = Promise.resolve()
  readonly #afterwards: (() => void)[] = []

  /** @internal Use `loadModel`. */
  constructor(
    device: Device,
    encoder: VisionTransformer,
    about: { name: string; hash: string; preprocess: PreprocessConfig; scheme: string },
  ) {
    this.#device = device
    this.encoder = encoder
    this.config = encoder.config
    this.name = about.name
    this.hash = about.hash
    this.preprocess = about.preprocess
    this.scheme = about.scheme
  }

  /** D, size of one feature. */
  get dimension(): number {
    return featureSize(this.config)
  }

  /**
   * Features of prepared images, one submit per batch of up to 32.
   *
   * @param pixels B images of S×S RGB bytes, S = `preprocess.size`
   * @returns [B, D], not normalised
   */
  embedPixels(pixels: Uint8Array): Promise<Float32Array<ArrayBuffer>> {
    // Plans have one set of buffers, so calls take turns.
    const result = this.#turn.then(() => this.#embed(pixels))
    this.#turn = result.catch(() => {})
    return result
  }

  async #embed(pixels: Uint8Array): Promise<Float32Array<ArrayBuffer>> {
    const bytes = this.preprocess.size ** 2 * 3
    const count = pixels.length / bytes
    if (!Number.isInteger(count) || count === 0) {
      throw new KeeplightError(
        'validation',
        `embed: ${pixels.length} bytes of pixels are no whole number of images of ` +
          `${this.preprocess.size}×${this.preprocess.size} RGB (${bytes} bytes each)`,
      )
    }
    const features = new Float32Array(count * this.dimension)
    for (let start = 0; start < count; start += MAX_BATCH) {
      const images = Math.min(MAX_BATCH, count - start)
      const batch = Math.min(MAX_BATCH, 2 ** Math.ceil(Math.log2(images)))
      const plan = await this.#plan(batch)
      const part = pixels.subarray(start * bytes, (start + images) * bytes)
      const values = new Float32Array(batch * bytes)
      values.set(normalizePixels(part, this.preprocess, images))
      plan.run({ pixels: values })
      const rows = await plan.outputs.read()
      features.set(rows.subarray(0, images * this.dimension), start * this.dimension)
    }
    return features
  }

  #plan(batch: number): Promise<EmbedPlan> {
    let plan = this.#plans.get(batch)
    if (!plan) {
      const { size } = this.preprocess
      const tokens = this.encoder.preparePositions(size, size).shape[0]!
      const pixels = this.#device.tensor(new Float32Array(batch * 3 * size * size), [
        batch,
        3,
        size,
        size,
      ])
      const classRows = this.#device.constant(classRowsOf(batch, tokens), [batch])
      plan = record(this.#device, { pixels, classRows }, (inputs) => {
        return this.encoder.forward(inputs.pixels, inputs.classRows).feature
      })
      this.#plans.set(batch, plan)
      // A plan that a lost device kept from being recorded is recorded at the next call.
      plan.catch(() => this.#plans.delete(batch))
    }
    return plan
  }

  /** Frees weights and plans. */
  async dispose(): Promise<void> {
    for (const recorded of this.#plans.values()) {
      const plan = await recorded
      plan.dispose()
      Object.values(plan.inputs).forEach((tensor) => tensor.dispose())
    }
    this.#plans.clear()
    this.encoder.dispose()
    for (const run of this.#afterwards.splice(0)) run()
  }

  /** Has something run at the end of `dispose`, such as closing a device of the model's own. */
  onDispose(run: () => void): void {
    this.#afterwards.push(run)
  }
}

export interface ModelOptions extends LoadOptions {
  /** Overrides the family's preparation of pictures. */
  readonly preprocess?: PreprocessConfig
}

/**
 * Builds an encoder from the bytes of a safetensors file, whichever known naming scheme it follows.
 *
 * @throws KeeplightError `format` when the file is damaged or holds no known encoder
 */
export function modelFromBytes(
  name: string,
  bytes: Uint8Array<ArrayBuffer>,
  options: ModelOptions,
): Promise<VisionModel> {
  return modelFromSource(name, bufferSource(name, bytes), options)
}

/**
 * Builds an encoder from a safetensors file or the files of an index, reading its tensors and no
 * others. The source is closed at the end; it can be read from again.
 *
 * The model's `hash` is the SHA-256 of a file in memory or on disk. Of what is fetched by ranges it
 * is that over the hashes of header and tensors, see {@link SafetensorsSource.hash}; after either
 * stands the dtype where it is not f32.
 *
 * @throws KeeplightError `format` when the file is damaged or holds no known encoder, `input` when it
 *   can't be read, `internal` when the GPU does not hold what it was given, `aborted`
 */
export async function modelFromSource(
  name: string,
  source: ByteSource | ShardedSource,
  { preprocess, ...options }: ModelOptions,
): Promise<VisionModel> {
  const { encoder, scheme, hash } = await loadVit(source, options)
  const { family, imageSize } = encoder.config
  return new VisionModel(options.device, encoder, {
    name,
    hash,
    preprocess: preprocess ?? familyPreprocess(family, imageSize),
    scheme,
  })
}
