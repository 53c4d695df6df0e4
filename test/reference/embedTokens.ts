/** concat(prefix, patches[b]) + positions: patches [batch, n, dimension] → [batch, p + n, dimension]. */
export function embedTokens(
  patches: ArrayLike<number>,
  prefix: ArrayLike<number>,
  positions: ArrayLike<number>,
  dimension: number,
): Float64Array {
  const prefixes = prefix.length / dimension
  const tokens = positions.length / dimension
  const n = tokens - prefixes
  const batch = patches.length / (n * dimension)
  const out = new Float64Array(batch * tokens * dimension)
  for (let b = 0; b < batch; b++) {
    for (let t = 0; t < tokens; t++) {
      for (let d = 0; d < dimension; d++) {
        const token =
          t < prefixes
            ? prefix[t * dimension + d]!
            : patches[(b * n + t - prefixes) * dimension + d]!
        out[(b * tokens + t) * dimension + d] = token + positions[t * dimension + d]!
      }
    }
  }
  return out
}
