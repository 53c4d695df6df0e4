export interface ImageSizes {
  readonly batch: number
  readonly channels: number
  readonly height: number
  readonly width: number
  readonly patch: number
}

/** x [batch, channels, height, width] → [batch, n, channels · patch · patch], elements (channel, y, x). */
export function patchify(x: ArrayLike<number>, sizes: ImageSizes): Float64Array {
  const { batch, channels, height, width, patch } = sizes
  const out = new Float64Array(x.length)
  let i = 0
  for (let b = 0; b < batch; b++) {
    for (let top = 0; top < height; top += patch) {
      for (let left = 0; left < width; left += patch) {
        for (let c = 0; c < channels; c++) {
          for (let y = top; y < top + patch; y++) {
            for (let column = left; column < left + patch; column++) {
              out[i++] = x[((b * channels + c) * height + y) * width + column]!
            }
          }
        }
      }
    }
  }
  return out
}

/** Convolution of stride `patch`: weight [dimension, channels, patch, patch] → [batch, n, dimension]. */
export function patchEmbed(
  x: ArrayLike<number>,
  weight: ArrayLike<number>,
  bias: ArrayLike<number>,
  { batch, channels, height, width, patch }: ImageSizes,
): Float64Array {
  const dimension = bias.length
  const [down, across] = [height / patch, width / patch]
  const out = new Float64Array(batch * down * across * dimension)
  for (let o = 0; o < out.length; o++) {
    const d = o % dimension
    const n = Math.floor(o / dimension) % (down * across)
    const b = Math.floor(o / dimension / (down * across))
    const [top, left] = [Math.floor(n / across) * patch, (n % across) * patch]
    let sum = bias[d]!
    for (let c = 0; c < channels; c++) {
      for (let y = 0; y < patch; y++) {
        for (let k = 0; k < patch; k++) {
          const pixel = x[((b * channels + c) * height + top + y) * width + left + k]!
          sum += pixel * weight[((d * channels + c) * patch + y) * patch + k]!
        }
      }
    }
    out[o] = sum
  }
  return out
}
