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
