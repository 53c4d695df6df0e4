import { KeeplightError } from '../runtime/errors.ts'

/** Features of a collection, on the host. */
export interface Features {
  /** N, number of images. */
  readonly count: number
  /** D, size of one feature. */
  readonly dimension: number
  /** V, augmented views of every image. */
  readonly views: number
  /** [N, D]: features of the plainly prepared images; not normalised. */
  readonly clean: Float32Array
  /** [V, N, D]: features of the augmented views. */
  readonly augmented: Float32Array
}

/** One feature for each of N images or texts, on the host. Plain data: it may be sent to a worker. */
export interface Embeddings {
  /** N */
  readonly count: number
  /** D, size of one feature. */
  readonly dimension: number
  /** [N, D]: feature i is `data.subarray(i * dimension, (i + 1) * dimension)`. */
  readonly data: Float32Array<ArrayBuffer>
}

/** Divides every row by its length, in place; a row of zeros stays. */
export function normalizeRows(data: Float32Array, dimension: number): void {
  for (let start = 0; start < data.length; start += dimension) {
    let squares = 0
    for (let i = start; i < start + dimension; i++) squares += data[i]! * data[i]!
    const scale = 1 / Math.max(Math.sqrt(squares), 1e-12)
    for (let i = start; i < start + dimension; i++) data[i]! *= scale
  }
}

/** All of them as one, in order. */
export function joinEmbeddings(parts: readonly Embeddings[], dimension: number): Embeddings {
  const count = parts.reduce((sum, part) => sum + part.count, 0)
  const data = new Float32Array(count * dimension)
  let row = 0
  for (const part of parts) {
    data.set(part.data, row * dimension)
    row += part.count
  }
  return { count, dimension, data }
}

/**
 * Features of the same images by several encoders, side by side (SCP-MIX). Each encoder's rows are
 * divided by their length first, so that none outweighs the others by its scale; where a command gives
 * lengths of 1, as `cluster` does, these are then those of the whole rows.
 *
 * @param parts of the same images in the same order, with equally many views
 * @returns rows of length √parts, as many columns as the parts together
 * @throws KeeplightError `validation` when counts or views differ, or there are no parts
 */
export function concatFeatures(parts: readonly Features[]): Features {
  const [first] = parts
  if (!first)
    throw new KeeplightError('validation', 'concatFeatures: there are no features to join')
  const { count, views } = first
  const other = parts.find((part) => part.count !== count || part.views !== views)
  if (other) {
    throw new KeeplightError(
      'validation',
      `concatFeatures: ${other.count} images with ${other.views} views beside ${count} with ${views}; ` +
        'embed the same images with the same number of views by every encoder',
    )
  }
  const join = (key: 'clean' | 'augmented'): Float32Array =>
    concatRows(parts.map((part) => ({ data: part[key], dimension: part.dimension })))
  const dimension = parts.reduce((sum, part) => sum + part.dimension, 0)
  return { count, dimension, views, clean: join('clean'), augmented: join('augmented') }
}

/** Rows of length 1 of every part, side by side. */
export function concatRows(
  parts: readonly { readonly data: Float32Array; readonly dimension: number }[],
): Float32Array<ArrayBuffer> {
  const width = parts.reduce((sum, { dimension }) => sum + dimension, 0)
  const rows = parts[0]!.data.length / parts[0]!.dimension
  const out = new Float32Array(rows * width)
  let column = 0
  for (const { data, dimension } of parts) {
    const unit = data.slice()
    normalizeRows(unit, dimension)
    for (let row = 0; row < rows; row++) {
      out.set(unit.subarray(row * dimension, (row + 1) * dimension), row * width + column)
    }
    column += dimension
  }
  return out
}
