import type { Activation } from '../../src/kernels/activations.ts'

/** erf in f64: Maclaurin series, or Lentz's continued fraction of erfc for large |x|. */
export function erf(x: number): number {
  const a = Math.abs(x)
  if (a < 3) {
    let term = a
    let sum = a
    for (let n = 1; n < 200 && Math.abs(term) > 1e-18; n++) {
      term *= (-a * a) / n
      sum += term / (2 * n + 1)
    }
    return (Math.sign(x) * 2 * sum) / Math.sqrt(Math.PI)
  }
  return Math.sign(x) * (1 - erfc(a))
}

/** erfc for x ≥ 3 by its continued fraction. */
function erfc(x: number): number {
  let fraction = 0
  for (let n = 100; n > 0; n--) fraction = n / 2 / (x + fraction)
  return Math.exp(-x * x) / Math.sqrt(Math.PI) / (x + fraction)
}

/** Φ(x), with erfc where 1 + erf would cancel. */
const normalCdf = (x: number): number => {
  const z = x / Math.SQRT2
  return z < -3 ? 0.5 * erfc(-z) : 0.5 * (1 + erf(z))
}

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x))

export const activations: Readonly<Record<Activation, (x: number) => number>> = {
  none: (x) => x,
  relu: (x) => Math.max(x, 0),
  gelu: (x) => x * normalCdf(x),
  quickGelu: (x) => x * sigmoid(1.702 * x),
  silu: (x) => x * sigmoid(x),
}

export const activationGradients: Readonly<Record<Activation, (x: number) => number>> = {
  none: () => 1,
  relu: (x) => (x > 0 ? 1 : 0),
  gelu: (x) => normalCdf(x) + (x * Math.exp(-0.5 * x * x)) / Math.sqrt(2 * Math.PI),
  quickGelu: (x) => {
    const s = sigmoid(1.702 * x)
    return s * (1 + 1.702 * x * (1 - s))
  },
  silu: (x) => {
    const s = sigmoid(x)
    return s * (1 + x * (1 - s))
  },
}
