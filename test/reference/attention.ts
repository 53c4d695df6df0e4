export interface AttentionCase {
  readonly batches: number
  readonly heads: number
  readonly tokens: number
  readonly headSize: number
  /** Default 1/√headSize. */
  readonly scale?: number
  readonly causal?: boolean
}

export interface AttentionGradients {
  readonly dQ: Float64Array
  readonly dK: Float64Array
  readonly dV: Float64Array
}

/** Softmax of one query's scores over the keys it may see. */
function probabilities(
  q: ArrayLike<number>,
  k: ArrayLike<number>,
  row: number,
  base: number,
  { tokens, headSize: d, scale = 1 / Math.sqrt(d), causal = false }: AttentionCase,
): { p: Float64Array; logSumExp: number } {
  const seen = causal ? row + 1 : tokens
  const p = new Float64Array(seen)
  for (let key = 0; key < seen; key++) {
    for (let i = 0; i < d; i++) p[key]! += q[base + row * d + i]! * k[base + key * d + i]! * scale
  }
  const maximum = p.reduce((a, b) => Math.max(a, b), -Infinity)
  let total = 0
  for (let key = 0; key < seen; key++) total += p[key] = Math.exp(p[key]! - maximum)
  return { p: p.map((x) => x / total), logSumExp: maximum + Math.log(total) }
}

/** softmax(scale · Q·Kᵀ) in f64; q, k [B, H, T, d] → [B, H, T, T]. */
export function attentionWeights(
  q: ArrayLike<number>,
  k: ArrayLike<number>,
  size: AttentionCase,
): Float64Array {
  const { batches, heads, tokens, headSize: d } = size
  const out = new Float64Array(batches * heads * tokens * tokens)
  for (let row = 0; row < batches * heads * tokens; row++) {
    const base = Math.floor(row / tokens) * tokens * d
    out.set(probabilities(q, k, row % tokens, base, size).p, row * tokens)
  }
  return out
}

/** softmax(scale · Q·Kᵀ) · V in f64; q, k, v and out [B, H, T, d], logSumExp [B, H, T]. */
export function attention(
  q: ArrayLike<number>,
  k: ArrayLike<number>,
  v: ArrayLike<number>,
  size: AttentionCase,
): { out: Float64Array; logSumExp: Float64Array } {
  const { batches, heads, tokens, headSize: d } = size
  const out = new Float64Array(batches * heads * tokens * d)
  const logSumExp = new Float64Array(batches * heads * tokens)
  for (let slice = 0; slice < batches * heads; slice++) {
    const base = slice * tokens * d
    for (let row = 0; row < tokens; row++) {
      const softmax = probabilities(q, k, row, base, size)
      logSumExp[slice * tokens + row] = softmax.logSumExp
      softmax.p.forEach((p, key) => {
        for (let i = 0; i < d; i++) out[base + row * d + i]! += p * v[base + key * d + i]!
      })
    }
  }
  return { out, logSumExp }
}

/**
 * Gradients of Σ dOut · attention(q, k, v) in f64: dV = Pᵀ·dOut, dP = dOut·Vᵀ,
 * dS = P ∘ (dP − rowsum(P ∘ dP)), dQ = scale · dS·K, dK = scale · dSᵀ·Q.
 */
export function attentionBackward(
  q: ArrayLike<number>,
  k: ArrayLike<number>,
  v: ArrayLike<number>,
  dOut: ArrayLike<number>,
  size: AttentionCase,
): AttentionGradients {
  const { batches, heads, tokens, headSize: d, scale = 1 / Math.sqrt(d) } = size
  const length = batches * heads * tokens * d
  const [dQ, dK, dV] = [0, 0, 0].map(() => new Float64Array(length)) as [
    Float64Array,
    Float64Array,
    Float64Array,
  ]
  for (let slice = 0; slice < batches * heads; slice++) {
    const base = slice * tokens * d
    for (let row = 0; row < tokens; row++) {
      const { p } = probabilities(q, k, row, base, size)
      const rowAt = base + row * d
      const dP = p.map((_, key) => {
        let sum = 0
        for (let i = 0; i < d; i++) sum += dOut[rowAt + i]! * v[base + key * d + i]!
        return sum
      })
      const mean = p.reduce((sum, x, key) => sum + x * dP[key]!, 0)
      p.forEach((x, key) => {
        const keyAt = base + key * d
        const dS = x * (dP[key]! - mean) * scale
        for (let i = 0; i < d; i++) {
          dQ[rowAt + i]! += dS * k[keyAt + i]!
          dK[keyAt + i]! += dS * q[rowAt + i]!
          dV[keyAt + i]! += x * dOut[rowAt + i]!
        }
      })
    }
  }
  return { dQ, dK, dV }
}

/** q, k, v [B, H, T, d] → [B, T, 3·H·d], or one of them → [B, T, H·d]. */
export function packHeads(
  parts: readonly ArrayLike<number>[],
  { batches, heads, tokens, headSize: d }: AttentionCase,
): Float64Array {
  const packed = new Float64Array(parts.length * batches * heads * tokens * d)
  parts.forEach((part, index) => {
    for (let i = 0; i < part.length; i++) {
      const token = Math.floor(i / d) % tokens
      const head = Math.floor(i / (d * tokens)) % heads
      const batch = Math.floor(i / (d * tokens * heads))
      const row = (batch * tokens + token) * parts.length + index
      packed[(row * heads + head) * d + (i % d)] = part[i]!
    }
  })
  return packed
}

/** Part `index` of `parts` of a tensor made by {@link packHeads}, as [B, H, T, d]. */
export function unpackHeads(
  packed: ArrayLike<number>,
  index: number,
  parts: number,
  { batches, heads, tokens, headSize: d }: AttentionCase,
): Float64Array {
  return Float64Array.from({ length: batches * heads * tokens * d }, (_, i) => {
    const token = Math.floor(i / d) % tokens
    const head = Math.floor(i / (d * tokens)) % heads
    const batch = Math.floor(i / (d * tokens * heads))
    return packed[(((batch * tokens + token) * parts + index) * heads + head) * d + (i % d)]!
  })
}
