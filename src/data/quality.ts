import type { Appearance } from './appearance.ts'

export const qualityKinds = [
  'blurry',
  'dark',
  'bright',
  'low-contrast',
  'odd-size',
  'odd-shape',
] as const

export type QualityKind = (typeof qualityKinds)[number]

/** What is unusual about an image, and the figure that says so. */
export interface QualityIssue {
  /** Place in the list of images. */
  readonly image: number
  readonly kind: QualityKind
  readonly figure: number
  /** The figure in words, with what it was held against. */
  readonly reason: string
}

/** Limits beyond which an image is listed; see `docs/cli.md`. */
export const qualityLimits = {
  /**
   * Sharpness under which an image is blurry. Photographs in focus have 0.1 to 0.7 and CIFAR-10's
   * pictures 0.06 to 0.7; blurred by two pixels of 256 photographs have 0.03 to 0.04.
   */
  sharpness: 0.05,
  /** Dark when 95 % of the pixels are darker than this share of white. */
  dark: 0.2,
  /** Bright when 95 % of the pixels are lighter. */
  bright: 0.85,
  /** Between the luma that 5 % are darker than and the one that 5 % are lighter than. */
  contrast: 0.1,
  /** Times that √(width · height) is larger or smaller than the collection's median. */
  size: 4,
  /** Longer edge over shorter edge, unless the collection's median is beyond half of it. */
  aspect: 3,
} as const

/**
 * Lists what is unusual about images. Darkness, brightness, contrast and sharpness are held against fixed
 * limits, since a collection of blurry images has no sharp median; size and shape against the others'.
 *
 * @returns issues by kind, worst first; a flat image is not called blurry as well
 */
export function findQualityIssues(looks: readonly Appearance[]): QualityIssue[] {
  const issues: QualityIssue[] = []
  const sizes = looks.map(({ width, height }) => Math.sqrt(width * height))
  const size = median(sizes)
  const aspect = median(looks.map(aspectOf))
  const add = (image: number, kind: QualityKind, figure: number, reason: string): void => {
    issues.push({ image, kind, figure, reason })
  }
  looks.forEach((look, image) => {
    const { low, high, sharpness, width, height } = look
    const { dark, bright, contrast } = qualityLimits
    if (high < dark) {
      add(image, 'dark', high, `95 % of it is darker than ${percent(high)} of white`)
    } else if (low > bright) {
      add(image, 'bright', low, `95 % of it is lighter than ${percent(low)} of white`)
    }
    if (high - low < contrast) {
      add(image, 'low-contrast', high - low, `contrast ${percent(high - low)} of the full range`)
    } else if (sharpness < qualityLimits.sharpness) {
      const least = qualityLimits.sharpness
      add(image, 'blurry', sharpness, `sharpness ${sharpness.toFixed(3)}, under ${least}`)
    }
    const ratio = sizes[image] / size
    if (Math.max(ratio, 1 / ratio) > qualityLimits.size) {
      const times = ratio > 1 ? `${ratio.toFixed(1)} times` : `1/${(1 / ratio).toFixed(1)} of`
      add(image, 'odd-size', ratio, `${width}×${height}, ${times} the median edge`)
    }
    const own = aspectOf(look)
    if (own > qualityLimits.aspect && aspect < qualityLimits.aspect / 2) {
      add(image, 'odd-shape', own, `${width}×${height}, ${own.toFixed(1)} to 1`)
    }
  })
  return issues.sort(
    (a, b) =>
      qualityKinds.indexOf(a.kind) - qualityKinds.indexOf(b.kind) ||
      severity(b) - severity(a) ||
      a.image - b.image,
  )
}

/** How far beyond its limit an issue is; larger is worse. */
function severity({ kind, figure }: QualityIssue): number {
  if (kind === 'odd-size') return Math.abs(Math.log(figure))
  return kind === 'bright' || kind === 'odd-shape' ? figure : -figure
}

const aspectOf = ({ width, height }: Appearance): number =>
  Math.max(width, height) / Math.min(width, height)

const percent = (share: number): string => `${Math.round(share * 100)} %`

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 1
}
