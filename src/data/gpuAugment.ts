import { blurTaps, packTaps } from '../kernels/resampleTaps.ts'
import type { PreprocessConfig } from '../model/preprocess.ts'
import { blurSquares, normalizeImages, type TapTensors } from '../runtime/ops/image.ts'
import { scope, type Tensor } from '../runtime/tensor.ts'
import { blurKernelSize, blurSigma, type ViewDraw } from './augment.ts'
import { cutView, type ViewPicture } from './viewPicture.ts'

/** So narrow that every weight but the middle one is 0: bytes pass unchanged. */
const NO_BLUR = 1e-6

/**
 * A batch of views on its way to the GPU: their bytes, cut from the pictures as they are copied, and
 * the weights of their blurs. {@link augmentViews} makes of it what the encoder takes.
 */
export class ViewBatch {
  readonly config: PreprocessConfig
  /** [B, S, S, 3] */
  readonly pixels: Uint8Array<ArrayBuffer>
  /** [B, S, 2]: the same in every batch. */
  readonly spans: Uint32Array<ArrayBuffer>
  /** [B, S, stride] */
  readonly weights: Float32Array<ArrayBuffer>
  readonly #imageBytes: number
  readonly #taps: number
  #filled = 0

  /** @param views B, how many it takes */
  constructor(config: PreprocessConfig, views: number) {
    const { size } = config
    this.config = config
    this.#imageBytes = size * size * 3
    this.pixels = new Uint8Array(views * this.#imageBytes)
    const none = blurTaps(size, NO_BLUR, blurKernelSize(size))
    const packed = packTaps(
      Array.from({ length: views }, () => none),
      (length) => new Float32Array(length),
    )
    this.spans = packed.spans
    this.weights = packed.weights
    this.#taps = none.weights.length
  }

  /** Weights of one output at most. */
  get stride(): number {
    return this.#taps / this.config.size
  }

  get filled(): number {
    return this.#filled
  }

  /** Whether there is no place left. */
  get full(): boolean {
    return (this.#filled + 1) * this.#imageBytes > this.pixels.length
  }

  clear(): void {
    this.#filled = 0
  }

  add(picture: ViewPicture, draw: ViewDraw): void {
    const { size } = this.config
    const at = this.#filled++ * this.#imageBytes
    cutView(picture, draw, this.config, this.pixels.subarray(at, at + this.#imageBytes))
    const sigma = draw.blur ? blurSigma(draw, size) : NO_BLUR
    const { weights } = blurTaps(size, sigma, blurKernelSize(size))
    this.weights.set(weights, (this.#filled - 1) * this.#taps)
  }
}

/**
 * Blurs views and normalises them, in three dispatches.
 *
 * Within one level of 255 of what `prepareViews` makes of the same draws: the blur's sums are f32
 * here, so one next to a half may round to the other side. Views without a blur have equal bits.
 *
 * @param pixels u8 [B, S, S, 3]
 * @param taps of the blurs, see {@link ViewBatch}
 * @returns f32 [B, 3, S, S]
 */
export const augmentViews = (
  pixels: Tensor<'u8'>,
  taps: TapTensors,
  config: PreprocessConfig,
): Tensor<'f32'> => scope(() => normalizeImages(blurSquares(pixels, taps), config))
