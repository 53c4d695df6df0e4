/** concat(classToken, patches[b]) + positions: patches [batch, n, dimension] → [batch, n + 1, dimension]. */
export function embedTokens(
  patches: ArrayLike<number>,
  classToken: ArrayLike<number>,
  positions: ArrayLike<number>,
): Float64Array {
  const dimension = classToken.length
  const tokens = positions.length / dimension
  const batch = patches.length / ((tokens - 1) * dimension)
  const out = new Float64Array(batch * tokens * dimension)
  for (let b = 0; b < batch; b++) {
    for (let t = 0; t < tokens; t++) {
      for (let d = 0; d < dimension; d++) {
        const token =
          t === 0 ? classToken[d]! : patches[(b * (tokens - 1) + t - 1) * dimension + d]!
        out[(b * tokens + t) * dimension + d] = token + positions[t * dimension + d]!
      }
    }
  }
  return out
}
