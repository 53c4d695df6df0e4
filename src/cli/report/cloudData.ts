/** A picture of an image that is drawn into the cloud and shown when it is pointed at. */
export interface CloudSprites {
  /** One WebP of square tiles, `columns` to a row. */
  readonly bytes: Uint8Array
  /** Edge of a tile in pixels. */
  readonly tile: number
  readonly columns: number
  /** The point of each tile. */
  readonly points: readonly number[]
}

export interface CloudPoint {
  /** Name of the image. */
  readonly path: string
  readonly x: number
  readonly y: number
  readonly cluster?: number
  /** Probability of the cluster. */
  readonly probability?: number
  /** Class of the image, where known. */
  readonly label?: string
  /** Path from the page to the image file, where there is one. */
  readonly href?: string
}

/** Everything that an image cloud shows. */
export interface Cloud {
  /** What was laid out, and how. */
  readonly about: string
  readonly points: readonly CloudPoint[]
  readonly sprites?: CloudSprites
}

/** What the page's script reads: columns by point, which take less room than objects. */
export interface CloudColumns {
  /** 0 to 1, the longer side of the layout. */
  readonly x: readonly number[]
  /** Downwards. */
  readonly y: readonly number[]
  readonly path: readonly string[]
  /** Addresses of the images; '' where there is none. */
  readonly href: readonly string[]
  readonly probability?: readonly number[]
  /** What points are coloured by; the first one to begin with. */
  readonly colourings: readonly Colouring[]
  readonly sprites?: {
    readonly tile: number
    readonly columns: number
    /** Place of each point's tile; −1 where it has none. */
    readonly of: readonly number[]
  }
}

export interface Colouring {
  /** `cluster` or `class`. */
  readonly name: string
  readonly names: readonly string[]
  /** Index into the names, by point. */
  readonly of: readonly number[]
}
