/** t-SNE as plain loops in f64; matrices [n, n] are dense. */

/** Conditional probabilities of rows of squared distances [rows, k], by bisection to the last bit. */
export function conditional(squared: ArrayLike<number>, k: number, perplexity: number): number[] {
  const out: number[] = []
  for (let start = 0; start < squared.length; start += k) {
    const row = Array.from({ length: k }, (_, j) => squared[start + j]! - squared[start]!)
    let [low, high, beta] = [0, Infinity, 1]
    let p: number[] = []
    for (let i = 0; i < 200; i++) {
      const terms = row.map((d) => Math.exp(-beta * d))
      const sum = terms.reduce((a, b) => a + b, 0)
      p = terms.map((term) => term / sum)
      const entropy = -p.reduce((h, q) => h + (q > 0 ? q * Math.log(q) : 0), 0)
      if (entropy > Math.log(perplexity)) low = beta
      else high = beta
      beta = high === Infinity ? 2 * beta : (low + high) / 2
    }
    out.push(...p)
  }
  return out
}

/** Joint probabilities of a dense matrix of conditional ones, their gradient and divergence at a layout. */
export function gradient(
  layout: ArrayLike<number>,
  joint: ArrayLike<number>,
  exaggeration = 1,
): { gradient: number[]; divergence: number[]; total: number; kl: number } {
  const n = layout.length / 2
  const difference = (i: number, j: number): [number, number] => [
    layout[2 * i]! - layout[2 * j]!,
    layout[2 * i + 1]! - layout[2 * j + 1]!,
  ]
  const w = (i: number, j: number): number => {
    const [dx, dy] = difference(i, j)
    return 1 / (1 + dx * dx + dy * dy)
  }
  let total = 0
  for (let i = 0; i < n; i++) for (let j = 0; j < n; j++) if (j !== i) total += w(i, j)
  const slopes = new Array<number>(2 * n).fill(0)
  const divergence = new Array<number>(n).fill(0)
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) {
      if (j === i) continue
      const p = joint[i * n + j]!
      const q = w(i, j)
      difference(i, j).forEach((d, c) => {
        slopes[2 * i + c]! += 4 * (exaggeration * p - q / total) * q * d
      })
      if (p > 0) divergence[i]! += p * Math.log(p / q)
    }
  }
  const kl = divergence.reduce((a, b) => a + b, Math.log(total))
  return { gradient: slopes, divergence, total, kl }
}
