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
