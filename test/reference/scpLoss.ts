export interface ScpWeights {
  readonly crossEntropy: number
  readonly confidence: number
  readonly entropy: number
  /** Weights of CE(p, q) and CE(q, p). Default ½ each. */
  readonly forward?: number
  readonly reverse?: number
  /** 0: no gradient through the targets. Default 1. */
  readonly targets?: number
  /** Factor on the entropies' sum. Default 1. */
  readonly views?: number
}

/** Loss terms and their weighted gradient in f64, by the definitions of the paper. */
export function scpLoss(
  logits: ArrayLike<number>,
  batch: number,
  clusters: number,
  weights: ScpWeights,
): { terms: [number, number, number, number]; gradient: Float64Array } {
  const probabilities = Array.from({ length: 2 * batch }, (_, row) => {
    const z = Array.from({ length: clusters }, (_, k) => logits[row * clusters + k]!)
    const top = Math.max(...z)
    const log = Math.log(z.reduce((sum, value) => sum + Math.exp(value - top), 0)) + top
    return { log: z.map((value) => value - log), p: z.map((value) => Math.exp(value - log)) }
  })
  const a = probabilities.slice(0, batch)
  const b = probabilities.slice(batch)
  const dot = (x: readonly number[], y: readonly number[]): number =>
    x.reduce((sum, value, k) => sum + value * y[k]!, 0)
  const means = [a, b].map((view) =>
    Array.from({ length: clusters }, (_, k) => view.reduce((sum, { p }) => sum + p[k]!, 0) / batch),
  )
  const logMean = means.map((mean) => mean.map((value) => Math.log(Math.max(value, 1e-300))))
  const overlap = a.map(({ log }, i) => {
    const s = log.map((value, k) => value + b[i]!.log[k]!)
    const top = Math.max(...s)
    return top + Math.log(s.reduce((sum, value) => sum + Math.exp(value - top), 0))
  })
  const { forward = 0.5, reverse = 0.5, targets = 1, views = 1 } = weights
  let crossEntropy = 0
  let confidence = 0
  a.forEach(({ p, log }, i) => {
    crossEntropy -= (forward * dot(p, b[i]!.log) + reverse * dot(b[i]!.p, log)) / batch
    confidence -= overlap[i]! / batch
  })
  const entropy = views * means.reduce((sum, mean, v) => sum + dot(mean, logMean[v]!), 0)
  const gradient = new Float64Array(2 * batch * clusters)
  for (let row = 0; row < 2 * batch; row++) {
    const view = row < batch ? 0 : 1
    const i = row % batch
    const own = view === 0 ? a[i]! : b[i]!
    const other = view === 0 ? b[i]! : a[i]!
    // Of the direction in which this view is the target, and of the other.
    const [target, predicted] = view === 0 ? [forward, reverse] : [reverse, forward]
    const ce = -dot(own.p, other.log)
    const meanLog = dot(own.p, logMean[view]!)
    for (let k = 0; k < clusters; k++) {
      const p = own.p[k]!
      const r = Math.exp(own.log[k]! + other.log[k]! - overlap[i]!)
      gradient[row * clusters + k] =
        (weights.crossEntropy *
          (predicted * (p - other.p[k]!) + target * targets * p * (-other.log[k]! - ce)) +
          weights.confidence * (p - r) +
          weights.entropy * views * p * (logMean[view]![k]! - meanLog)) /
        batch
    }
  }
  const total =
    weights.crossEntropy * crossEntropy +
    weights.confidence * confidence +
    weights.entropy * entropy
  return { terms: [total, crossEntropy, confidence, entropy], gradient }
}
