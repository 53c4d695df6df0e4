import type { Activation } from '../kernels/activations.ts'
import type { Device } from '../runtime/device.ts'
import { KeeplightError } from '../runtime/errors.ts'
import { inBatches, mapAhead } from './ahead.ts'
import { bufferSource, type ByteSource } from './byteSource.ts'
import { EmbedPlans } from './embedPlans.ts'
import { joinEmbeddings, normalizeRows, type Embeddings } from './features.ts'
import { isMany, nameOf, pixelsOnly, type ImageDecoder, type Images } from './imageInput.ts'
import { inspectBatch, joinInspections, type Inspection, type InspectOptions } from './inspect.ts'
import { loadVit } from './loadTowers.ts'
import { IN_FLIGHT } from './replayQueue.ts'
import type { LoadOptions } from './loadWeights.ts'
import { normalizePixels, preprocess, type Pixels, type PreprocessConfig } from './preprocess.ts'
import type { ShardedSource } from './safetensorsSource.ts'
import { familyPreprocess, featureSize, preprocessAt, type VitConfig } from './vit/config.ts'
import type { VisionTransformer } from './vit/vit.ts'

/** Images that one replay embeds at most; more gain nothing and only cost memory. */
const MAX_BATCH = 32
/** What a caller may ask for. */
const LARGEST_BATCH = 64
/** Pictures that are decoded ahead of the batch that takes them. */
const DECODE_AHEAD = 4
/** Images that are inspected at once: every hidden state of theirs is kept. */
const INSPECT_BATCH = 4

export interface EmbeddingOptions {
  /** Rows of length 1, as cosines want them. Default false: features as the encoder gives them. */
  readonly normalize?: boolean
  /**
   * Another side of the square input, in pixels, a multiple of the patch: positions are interpolated, and
   * pictures prepared in the same proportions. Default: the model's own, `preprocess.size`.
   */
  readonly imageSize?: number
  /** Images of a batch, 1 to 64. Default 32. */
  readonly batch?: number
  /** Told the number of images whose features are complete, after every batch. */
  readonly onProgress?: (done: number) => void
  readonly signal?: AbortSignal | undefined
}

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
  readonly device: Device
  readonly #decode: ImageDecoder
  readonly #plans: EmbedPlans
  readonly #afterwards: (() => void)[] = []

  /** @internal Use `loadModel`. */
  constructor(
    device: Device,
    encoder: VisionTransformer,
    about: {
      name: string
      hash: string
      preprocess: PreprocessConfig
      scheme: string
      decode?: ImageDecoder
    },
  ) {
    this.device = device
    this.encoder = encoder
    this.config = encoder.config
    this.name = about.name
    this.hash = about.hash
    this.preprocess = about.preprocess
    this.scheme = about.scheme
    this.#decode = about.decode ?? pixelsOnly
    this.#plans = new EmbedPlans(device, encoder)
  }

  /** D, size of one feature. */
  get dimension(): number {
    return featureSize(this.config)
  }

  /**
   * Features of pictures: decoded, prepared to the byte as Pillow would, and encoded, each step while the
   * others go on. Beside the features, memory stays constant however many images an iterable gives.
   *
   * @param images one picture, or an iterable of them, of mixed kinds; see {@link ImageInput}
   * @returns one row for each, in their order; none for an empty iterable
   * @throws KeeplightError `input` naming the index of a picture that can't be decoded, `validation` for
   *   options that make no sense, `aborted` after `signal`
   */
  async embed(images: Images, options: EmbeddingOptions = {}): Promise<Embeddings> {
    const parts: Embeddings[] = []
    for await (const part of this.embedBatches(images, options)) parts.push(part)
    return joinEmbeddings(parts, this.dimension)
  }

  /**
   * Like {@link VisionModel.embed}, but gives the features batch by batch, for collections whose features
   * fit no memory. What is not asked for is not computed, but for two batches ahead.
   */
  async *embedBatches(
    images: Images,
    { normalize = false, imageSize, batch = MAX_BATCH, onProgress, signal }: EmbeddingOptions = {},
  ): AsyncGenerator<Embeddings> {
    if (!Number.isInteger(batch) || batch < 1 || batch > LARGEST_BATCH) {
      throw new KeeplightError(
        'validation',
        `embed: a batch of ${batch} images; expected 1 to ${LARGEST_BATCH}`,
      )
    }
    const config = this.#preprocessAt(imageSize)
    const batches = inBatches(this.#prepared(images, config, signal), batch)
    const embedded = mapAhead(
      batches,
      IN_FLIGHT,
      async (pictures) => ({
        count: pictures.length,
        data: await this.#plans.run(pictures, config),
      }),
      signal,
    )
    let done = 0
    for await (const { count, data } of embedded) {
      if (normalize) normalizeRows(data, this.dimension)
      done += count
      onProgress?.(done)
      yield { count, dimension: this.dimension, data }
    }
  }

  /**
   * Features of prepared images, one submit per batch of up to 32.
   *
   * @param pixels B images of S×S RGB bytes, S = `preprocess.size`
   * @returns [B, D], not normalised
   */
  async embedPixels(pixels: Uint8Array): Promise<Float32Array<ArrayBuffer>> {
    const { size } = this.preprocess
    const bytes = size ** 2 * 3
    const count = pixels.length / bytes
    if (!Number.isInteger(count) || count === 0) {
      throw new KeeplightError(
        'validation',
        `embed: ${pixels.length} bytes of pixels are no whole number of images of ` +
          `${size}×${size} RGB (${bytes} bytes each)`,
      )
    }
    const starts = Array.from({ length: Math.ceil(count / MAX_BATCH) }, (_, i) => i * MAX_BATCH)
    const features = new Float32Array(count * this.dimension)
    let at = 0
    const parts = mapAhead(starts, IN_FLIGHT, (start) => {
      const part = pixels.subarray(start * bytes, (start + MAX_BATCH) * bytes)
      return this.#plans.run(part, this.preprocess)
    })
    for await (const rows of parts) {
      features.set(rows, at)
      at += rows.length
    }
    return features
  }

  /**
   * What the encoder computes on the way to a few images' features: outputs of chosen blocks, tokens of
   * patches, attention of a block. Off the fast path, and all of it is held in memory.
   *
   * @throws KeeplightError as {@link VisionModel.embed} does, and `input` when there are no images
   */
  async inspect(
    images: Images,
    options: InspectOptions & Pick<EmbeddingOptions, 'imageSize' | 'signal'> = {},
  ): Promise<Inspection> {
    const { imageSize, signal } = options
    const config = this.#preprocessAt(imageSize)
    const parts: Inspection[] = []
    for await (const batch of inBatches(this.#prepared(images, config, signal), INSPECT_BATCH)) {
      const values = normalizePixels(batch, config)
      const size = [config.size, config.size] as const
      parts.push(await inspectBatch(this.device, this.encoder, values, size, options))
    }
    return joinInspections(parts)
  }

  /** Decoded and prepared pictures in order, a few ahead of who asks. */
  #prepared(
    images: Images,
    config: PreprocessConfig,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<Pixels> {
    const items = isMany(images) ? images : [images]
    return mapAhead(
      items,
      DECODE_AHEAD,
      async (image, index) => {
        const name = nameOf(image, index)
        return preprocess(await this.#decode(image, { name, signal }), config)
      },
      signal,
    )
  }

  #preprocessAt(imageSize: number | undefined): PreprocessConfig {
    if (imageSize === undefined) return this.preprocess
    return preprocessAt(this.config, this.preprocess, imageSize)
  }

  /** Frees weights and plans. */
  async dispose(): Promise<void> {
    await this.#plans.dispose()
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
  /**
   * Side of the square input, in pixels, a multiple of the patch: positions are interpolated, and pictures
   * prepared in the same proportions. Default: what the family uses.
   */
  readonly imageSize?: number
  /** Overrides the family's activation, which no file names: OpenCLIP's own models have `gelu`. */
  readonly activation?: Activation
  /** How `embed` gets pixels of pictures. `loadModel` brings what the page or Node can decode. */
  readonly decode?: ImageDecoder
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
  { preprocess, imageSize, decode, ...options }: ModelOptions,
): Promise<VisionModel> {
  const { encoder, scheme, hash } = await loadVit(source, options)
  const { config } = encoder
  const usual = preprocess ?? familyPreprocess(config.family, config.imageSize)
  return new VisionModel(options.device, encoder, {
    name,
    hash,
    preprocess: imageSize === undefined ? usual : preprocessAt(config, usual, imageSize),
    scheme,
    ...(decode && { decode }),
  })
}
