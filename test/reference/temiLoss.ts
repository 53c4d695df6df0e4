export interface TemiSizes {
  /** H: all heads of all runs. */
  readonly heads: number
  /** Heads of a run. */
  readonly perRun: number
  readonly batch: number
  readonly clusters: number
}

export interface TemiConstants {
  readonly temperature: number
  readonly teacherTemperature: number
  readonly beta: number
  readonly momentum: number
}

/**
 * TEMI's loss of every head in f64, by its definition: products of probabilities, no logarithms of sums.
 *
 * @param student [H, 2B, K]
 * @param teacher [H, 2B, K]
 * @param before [H, K], the marginals before this batch
 */
export function temiLoss(
  student: ArrayLike<number>,
  teacher: ArrayLike<number>,
  before: ArrayLike<number>,
  { heads, perRun, batch, clusters }: TemiSizes,
  { temperature, teacherTemperature, beta, momentum }: TemiConstants,
): { losses: Float64Array; marginals: Float64Array } {
  const all = Array.from({ length: heads }, (_, h) => h)
  const matrix = (logits: ArrayLike<number>, head: number, tau: number): number[][] =>
    Array.from({ length: 2 * batch }, (_, i) => {
      const start = (head * 2 * batch + i) * clusters
      const z = Array.from({ length: clusters }, (_, k) => logits[start + k]! / tau)
      const top = Math.max(...z)
      const exps = z.map((value) => Math.exp(value - top))
      const sum = exps.reduce((a, b) => a + b, 0)
      return exps.map((value) => value / sum)
    })
  const teachers = all.map((h) => matrix(teacher, h, teacherTemperature))
  const marginals = new Float64Array(heads * clusters)
  teachers.forEach((rows, h) => {
    for (let k = 0; k < clusters; k++) {
      const mean = rows.reduce((sum, p) => sum + p[k]!, 0) / rows.length
      marginals[h * clusters + k] = momentum * before[h * clusters + k]! + (1 - momentum) * mean
    }
  })
  const losses = new Float64Array(heads)
  for (const h of all) {
    const p = matrix(student, h, temperature)
    const run = Math.floor(h / perRun) * perRun
    for (let i = 0; i < batch; i++) {
      let weight = 0
      for (const rows of teachers.slice(run, run + perRun)) {
        weight += rows[i]!.reduce((sum, a, k) => sum + a * rows[batch + i]![k]!, 0) / perRun
      }
      for (const [own, other] of [
        [i, batch + i],
        [batch + i, i],
      ] as const) {
        const sum = p[own]!.reduce((total, value, k) => {
          const product = value * teachers[h]![other]![k]!
          return total + product ** beta / marginals[h * clusters + k]!
        }, 0)
        losses[h]! -= (weight * Math.log(sum)) / (2 * batch)
      }
    }
  }
  return { losses, marginals }
}
