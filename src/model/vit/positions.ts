/** Taps of one output along one axis: indices of the table and their weights. */
interface Taps {
  readonly at: readonly number[]
  readonly weights: readonly number[]
}

/** The cubic convolution kernel (Keys 1981) at distance x. */
function cubic(x: number, a: number): number {
  const d = Math.abs(x)
  if (d <= 1) return ((a + 2) * d - (a + 3)) * d * d + 1
  if (d < 2) return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
  return 0
}

/** PyTorch's bicubic without antialiasing: four taps, a = −0.75, the border repeated. */
function plainTaps(index: number, from: number, to: number): Taps {
  const source = ((index + 0.5) * from) / to - 0.5
  const base = Math.floor(source)
  const offsets = [-1, 0, 1, 2]
  return {
    at: offsets.map((k) => Math.min(Math.max(base + k, 0), from - 1)),
    weights: offsets.map((k) => cubic(source - base - k, -0.75)),
  }
}

/** With antialiasing: a = −0.5, as wide as the reduction, taps beyond the border left out. */
function antialiasedTaps(index: number, from: number, to: number): Taps {
  const ratio = from / to
  const scale = Math.max(ratio, 1)
  const centre = (index + 0.5) * ratio
  const first = Math.max(Math.trunc(centre - 2 * scale + 0.5), 0)
  const end = Math.min(Math.trunc(centre + 2 * scale + 0.5), from)
  const at = Array.from({ length: end - first }, (_, i) => first + i)
  const raw = at.map((i) => cubic((i - centre + 0.5) / scale, -0.5))
  const total = raw.reduce((sum, weight) => sum + weight, 0)
  return { at, weights: raw.map((weight) => weight / total) }
}

/**
 * Resizes a position table to another grid of patches, as PyTorch's bicubic `interpolate` with `size=`
 * and `align_corners=False` does: without antialiasing for Hugging Face's ViT, CLIP and DINOv2, with it
 * for DINOv2 with registers.
 *
 * @param positions [1 + from·from, dimension], the class token's row first
 * @returns [1 + height·width, dimension]; the table itself when the grid is unchanged
 */
export function interpolatePositions(
  positions: Float32Array,
  dimension: number,
  from: number,
  [height, width]: readonly [number, number],
  { antialias }: { readonly antialias: boolean },
): Float32Array {
  if (height === from && width === from) return positions
  const tapsOf = antialias ? antialiasedTaps : plainTaps
  const out = new Float32Array((1 + height * width) * dimension)
  out.set(positions.subarray(0, dimension))
  const columns = Array.from({ length: width }, (_, x) => tapsOf(x, from, width))
  const [row, sum] = [new Float64Array(dimension), new Float64Array(dimension)]
  for (let y = 0; y < height; y++) {
    const vertical = tapsOf(y, from, height)
    for (const [x, horizontal] of columns.entries()) {
      sum.fill(0)
      for (const [j, v] of vertical.at.entries()) {
        row.fill(0)
        for (const [i, h] of horizontal.at.entries()) {
          const patch = (1 + v * from + h) * dimension
          const weight = horizontal.weights[i]!
          for (let c = 0; c < dimension; c++) row[c]! += weight * positions[patch + c]!
        }
        for (let c = 0; c < dimension; c++) sum[c]! += vertical.weights[j]! * row[c]!
      }
      out.set(sum, (1 + y * width + x) * dimension)
    }
  }
  return out
}
