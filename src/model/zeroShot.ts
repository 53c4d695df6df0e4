import type { Device } from '../runtime/device.ts'
import { KeeplightError } from '../runtime/errors.ts'
import { scale } from '../runtime/ops/elementwise.ts'
import { l2Normalize } from '../runtime/ops/l2Normalize.ts'
import { linear } from '../runtime/ops/matmul.ts'
import { softmax } from '../runtime/ops/softmax.ts'
import { scope } from '../runtime/tensor.ts'
import { assertNotAborted } from './ahead.ts'
import { normalizeRows, type Embeddings } from './features.ts'
import type { Images } from './imageInput.ts'
import type { VisionModel } from './model.ts'
import type { TextModel } from './text/textModel.ts'

/** A prompt with `{}` for the class's name, or a function that puts it in. */
export type Template = string | ((className: string) => string)

export interface ZeroShotOptions {
  /** Every class is the mean of these prompts. Default: `a photo of a {}.` alone. */
  readonly templates?: readonly Template[]
  readonly signal?: AbortSignal | undefined
}

/** A linear classifier made of texts, on the host. */
export interface ZeroShotClassifier {
  readonly classes: readonly string[]
  /** E */
  readonly dimension: number
  /** [C, E]: one row of length 1 for each class. */
  readonly weights: Float32Array<ArrayBuffer>
  /** Factor that turns cosines into logits. */
  readonly logitScale: number
}

export interface ZeroShotResult {
  readonly classes: readonly string[]
  /** N */
  readonly count: number
  /** [N]: the most probable class of each image, as an index into `classes`. */
  readonly labels: Int32Array<ArrayBuffer>
  /** [N, C]: softmax of the logits. */
  readonly probabilities: Float32Array<ArrayBuffer>
  /** [N, C]: the scaled cosines. */
  readonly logits: Float32Array<ArrayBuffer>
}

/** Rows of features that are compared with the classes at once. */
const ROWS = 1024

/**
 * The classes as directions (Radford et al. 2021, section 3.1.4): every prompt is embedded and divided by
 * its length, and a class is the mean of its prompts, divided by its length again.
 *
 * @throws KeeplightError `validation` without classes or templates, or for a template without `{}`
 */
export async function zeroShotClassifier(
  text: TextModel,
  classes: readonly string[],
  { templates = ['a photo of a {}.'], signal }: ZeroShotOptions = {},
): Promise<ZeroShotClassifier> {
  if (classes.length === 0 || templates.length === 0) {
    const what = classes.length === 0 ? 'class' : 'template'
    throw new KeeplightError('validation', `zero-shot: no ${what} is given; expected one or more`)
  }
  const fill = templates.map(fillerOf)
  const { dimension, logitScale } = text
  const weights = new Float32Array(classes.length * dimension)
  // Some classes at once fill batches; all of them would hold every prompt's feature.
  const together = Math.max(1, Math.floor(2048 / templates.length))
  for (let first = 0; first < classes.length; first += together) {
    const some = classes.slice(first, first + together)
    const prompts = some.flatMap((name) => fill.map((put) => put(name)))
    const { data } = await text.embed(prompts, { normalize: true, signal })
    some.forEach((_, i) => {
      const sum = new Float64Array(dimension)
      const begin = i * templates.length * dimension
      const rows = data.subarray(begin, begin + templates.length * dimension)
      rows.forEach((value, at) => (sum[at % dimension]! += value))
      const mean = sum.map((value) => value / templates.length)
      weights.set(mean, (first + i) * dimension)
    })
  }
  normalizeRows(weights, dimension)
  return { classes, dimension, weights, logitScale }
}

function fillerOf(template: Template): (name: string) => string {
  if (typeof template === 'function') return template
  if (template.includes('{}')) return (name) => template.replaceAll('{}', () => name)
  throw new KeeplightError(
    'validation',
    `zero-shot: the template ${JSON.stringify(template)} has no {} for the class's name`,
  )
}

/**
 * Compares features of images with the classes: logits are the scaled cosines.
 *
 * @throws KeeplightError `validation` when the features are not of the texts' space
 */
export async function classify(
  device: Device,
  classifier: ZeroShotClassifier,
  features: Embeddings,
  signal?: AbortSignal,
): Promise<ZeroShotResult> {
  const { classes, dimension, weights, logitScale } = classifier
  const { count, data } = features
  if (features.dimension !== dimension) {
    throw new KeeplightError(
      'validation',
      `zero-shot: the images' features have ${features.dimension} values, the texts' ${dimension}; ` +
        'both must come from one CLIP model',
    )
  }
  const logits = new Float32Array(count * classes.length)
  const probabilities = new Float32Array(count * classes.length)
  const table = device.constant(weights, [classes.length, dimension])
  try {
    for (let first = 0; first < count; first += ROWS) {
      assertNotAborted(signal)
      const rows = Math.min(ROWS, count - first)
      const part = data.slice(first * dimension, (first + rows) * dimension)
      const scores = scope(() => {
        const images = l2Normalize(device.tensor(part, [rows, dimension]))
        const scaled = scale(linear(images, table), logitScale)
        return [scaled, softmax(scaled)] as const
      })
      try {
        const [some, shares] = await Promise.all([scores[0].read(), scores[1].read()])
        logits.set(some, first * classes.length)
        probabilities.set(shares, first * classes.length)
      } finally {
        scores.forEach((tensor) => tensor.dispose())
      }
    }
  } finally {
    table.dispose()
  }
  const labels = Int32Array.from({ length: count }, (_, i) => {
    const row = logits.subarray(i * classes.length, (i + 1) * classes.length)
    return row.indexOf(row.reduce((most, value) => Math.max(most, value), -Infinity))
  })
  return { classes, count, labels, probabilities, logits }
}

/**
 * Classifies images by the names of classes alone. Both models must be the towers of one CLIP.
 *
 * @param images pictures, as `embed` takes them, or features that it gave
 * @throws KeeplightError as `embed`, {@link zeroShotClassifier} and {@link classify}
 */
export async function zeroShot(
  model: Pick<VisionModel, 'embed' | 'dimension'>,
  text: TextModel,
  images: Images | Embeddings,
  classes: readonly string[],
  options: ZeroShotOptions = {},
): Promise<ZeroShotResult> {
  const { signal } = options
  const classifier = await zeroShotClassifier(text, classes, options)
  const features = isEmbeddings(images) ? images : await model.embed(images, { signal })
  return classify(text.device, classifier, features, signal)
}

const isEmbeddings = (images: Images | Embeddings): images is Embeddings =>
  typeof images === 'object' && 'dimension' in images && 'count' in images
