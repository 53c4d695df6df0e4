/** How a data set's binary file stores a picture: three planes, red, green, blue. */
export interface PlaneLayout {
  readonly width: number
  readonly height: number
  /** Pixels of a plane go down the columns, as MATLAB stores them (STL-10), not along the rows. */
  readonly columnMajor: boolean
}

/** `Pixels` that own their bytes. */
export interface PlanePixels {
  readonly width: number
  readonly height: number
  readonly data: Uint8Array<ArrayBuffer>
}

/** Pixels of a picture that is stored as planes of width · height bytes. */
export function pixelsOfPlanes(
  planes: Uint8Array,
  { width, height, columnMajor }: PlaneLayout,
): PlanePixels {
  const area = width * height
  const data = new Uint8Array(area * 3)
  for (let y = 0, to = 0; y < height; y++) {
    for (let x = 0; x < width; x++, to += 3) {
      const from = columnMajor ? x * height + y : y * width + x
      data[to] = planes[from]!
      data[to + 1] = planes[area + from]!
      data[to + 2] = planes[2 * area + from]!
    }
  }
  return { width, height, data }
}
