/** Optimisers in f64, one parameter at a time, as PyTorch documents them. */

export interface Group {
  readonly rate: number
  readonly decay: number
}

export interface AdamWState {
  readonly values: Float64Array
  readonly moments: Float64Array
  readonly squares: Float64Array
}

/** Step `t` (from 1) of AdamW; Adam when every decay is 0 and every rate 1. */
export function adamW(
  { values, moments, squares }: AdamWState,
  gradient: ArrayLike<number>,
  groupOf: (i: number) => Group,
  { t, lr, beta1, beta2, eps }: Record<'t' | 'lr' | 'beta1' | 'beta2' | 'eps', number>,
): void {
  for (let i = 0; i < values.length; i++) {
    const { rate, decay } = groupOf(i)
    const g = gradient[i]!
    moments[i] = beta1 * moments[i]! + (1 - beta1) * g
    squares[i] = beta2 * squares[i]! + (1 - beta2) * g * g
    const m = moments[i]! / (1 - beta1 ** t)
    const v = squares[i]! / (1 - beta2 ** t)
    values[i] = values[i]! * (1 - lr * rate * decay) - (lr * rate * m) / (Math.sqrt(v) + eps)
  }
}

/** A step of SGD; the velocity is undefined before the first, as PyTorch's buffer is. */
export function sgd(
  values: Float64Array,
  velocity: Float64Array | undefined,
  gradient: ArrayLike<number>,
  groupOf: (i: number) => Group,
  { lr, momentum, nesterov }: { lr: number; momentum: number; nesterov: boolean },
): Float64Array {
  const next = new Float64Array(values.length)
  for (let i = 0; i < values.length; i++) {
    const { rate, decay } = groupOf(i)
    const g = gradient[i]! + decay * values[i]!
    next[i] = velocity ? momentum * velocity[i]! + g : g
    values[i]! -= lr * rate * (nesterov ? g + momentum * next[i]! : next[i]!)
  }
  return next
}
