/** Weights of the four taps around fraction `t` by the cubic convolution kernel with a = −0.75. */
function cubicWeights(t: number): [number, number, number, number] {
  const a = -0.75
  const near = (x: number): number => ((a + 2) * x - (a + 3)) * x * x + 1
  const far = (x: number): number => ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
  return [far(t + 1), near(t), near(1 - t), far(2 - t)]
}

/**
 * Resizes a position table to another grid of patches, as PyTorch's bicubic `interpolate` with
 * `size=`, `align_corners=False` and no antialiasing does (Hugging Face's ViT and CLIP).
 *
 * @param positions [1 + from·from, dimension], the class token's row first
 * @returns [1 + height·width, dimension]; the table itself when the grid is unchanged
 */
export function interpolatePositions(
  positions: Float32Array,
  dimension: number,
  from: number,
  height: number,
  width: number,
): Float32Array {
  if (height === from && width === from) return positions
  const out = new Float32Array((1 + height * width) * dimension)
  out.set(positions.subarray(0, dimension))
  const taps = (index: number, size: number): { at: number[]; weights: number[] } => {
    const source = ((index + 0.5) * from) / size - 0.5
    const base = Math.floor(source)
    const at = [-1, 0, 1, 2].map((k) => Math.min(Math.max(base + k, 0), from - 1))
    return { at, weights: cubicWeights(source - base) }
  }
  for (let y = 0; y < height; y++) {
    const vertical = taps(y, height)
    for (let x = 0; x < width; x++) {
      const horizontal = taps(x, width)
      const target = (1 + y * width + x) * dimension
      for (let c = 0; c < dimension; c++) {
        let sum = 0
        for (let j = 0; j < 4; j++) {
          let row = 0
          for (let i = 0; i < 4; i++) {
            const patch = vertical.at[j]! * from + horizontal.at[i]!
            row += horizontal.weights[i]! * positions[(1 + patch) * dimension + c]!
          }
          sum += vertical.weights[j]! * row
        }
        out[target + c] = sum
      }
    }
  }
  return out
}
