import type { Activation } from '../../kernels/activations.ts'
import { KeeplightError } from '../../runtime/errors.ts'
import type { PreprocessConfig } from '../preprocess.ts'

/** Families whose encoders are the same vision transformer up to this config. */
export type Family = 'clip' | 'dino' | 'dinov2'

export interface VitConfig {
  readonly family: Family
  /** Side of the square input that the position table was made for, in pixels. */
  readonly imageSize: number
  readonly patchSize: number
  /** Width of a token. */
  readonly hiddenSize: number
  readonly layers: number
  readonly heads: number
  readonly mlpSize: number
  readonly activation: Activation
  readonly layerNormEps: number
  /** LayerNorm on all tokens before the first block (CLIP). */
  readonly preNorm: boolean
  /** Tokens between the class token and the patches, without a position (DINOv2 with registers). */
  readonly registers: number
  /** Size of the projected feature (CLIP), or undefined when the feature is the normed class token. */
  readonly projection: number | undefined
}

/** What the weights' names and shapes do not tell. */
export const familyDefaults: Readonly<
  Record<Family, Pick<VitConfig, 'activation' | 'layerNormEps' | 'preNorm'>>
> = {
  clip: { activation: 'quickGelu', layerNormEps: 1e-5, preNorm: true },
  dino: { activation: 'gelu', layerNormEps: 1e-6, preNorm: false },
  dinov2: { activation: 'gelu', layerNormEps: 1e-6, preNorm: false },
}

/** Size of the feature of one image. */
export const featureSize = ({ projection, hiddenSize }: VitConfig): number =>
  projection ?? hiddenSize

const imageNet = { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] } as const
const statistics = {
  clip: {
    mean: [0.48145466, 0.4578275, 0.40821073],
    std: [0.26862954, 0.26130258, 0.27577711],
  },
  dino: imageNet,
  dinov2: imageNet,
} as const

/** Side of DINOv2's position tables in pixels; its authors evaluate at 224 all the same. */
const DINOV2_NATIVE = 518

/**
 * How a family's authors prepared pictures: the shortest edge to the input's size and a centre crop,
 * bicubic; but the DINO families' encoders take 224 pixels out of 256.
 */
export function familyPreprocess(family: Family, imageSize: number): PreprocessConfig {
  const size = family === 'dinov2' && imageSize === DINOV2_NATIVE ? 224 : imageSize
  const resize = family !== 'clip' && size === 224 ? 256 : size
  return { size, resize, ...statistics[family] }
}

/**
 * The same preparation for another input: what lies around the cut grows with it.
 *
 * @throws KeeplightError `validation` unless the side is a whole number of patches
 */
export function preprocessAt(
  { patchSize }: Pick<VitConfig, 'patchSize'>,
  usual: PreprocessConfig,
  size: number,
): PreprocessConfig {
  const patches = Math.max(1, Math.round(size / patchSize))
  if (patches * patchSize !== size) {
    throw new KeeplightError(
      'validation',
      `an input of ${size}×${size} pixels is no whole number of ${patchSize}-pixel patches; ` +
        `the nearest imageSize is ${patches * patchSize}`,
    )
  }
  return { ...usual, size, resize: Math.round((usual.resize * size) / usual.size) }
}
