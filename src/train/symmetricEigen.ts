/** Eigenvalues, descending, and their unit vectors: vector i is row i of `vectors` [n, n]. */
export interface SymmetricEigen {
  readonly values: Float64Array
  readonly vectors: Float64Array
}

/**
 * All eigenvalues and vectors of a symmetric matrix in f64: Householder's reduction to a tridiagonal
 * matrix, then implicit QL steps (Golub and Van Loan, Matrix Computations, 8.3; EISPACK's tred2 and tql2).
 *
 * @param matrix [n, n], row-major
 */
export function symmetricEigen(matrix: ArrayLike<number>, n: number): SymmetricEigen {
  const { diagonal, below, basis } = tridiagonal(matrix, n)
  implicitQl(diagonal, below, basis, n)
  const order = Array.from(diagonal.keys()).sort((a, b) => diagonal[b]! - diagonal[a]! || a - b)
  const vectors = new Float64Array(n * n)
  order.forEach((from, to) => vectors.set(basis.subarray(from * n, (from + 1) * n), to * n))
  return { values: Float64Array.from(order, (i) => diagonal[i]!), vectors }
}

interface Tridiagonal {
  /** [n] */
  readonly diagonal: Float64Array
  /** [n]: element i lies beside diagonal elements i and i + 1; the last is 0. */
  readonly below: Float64Array
  /** [n, n]: rows of Q with Q·A·Qᵀ tridiagonal. */
  readonly basis: Float64Array
}

function tridiagonal(matrix: ArrayLike<number>, n: number): Tridiagonal {
  const a = Float64Array.from(matrix)
  const below = new Float64Array(n)
  /** Reflectors I − v·vᵀ, by columns. */
  const reflectors: Float64Array[] = []
  for (let k = 0; k + 2 < n; k++) {
    const v = new Float64Array(n)
    let norm = 0
    for (let i = k + 1; i < n; i++) norm += a[i * n + k]! ** 2
    norm = Math.sqrt(norm)
    const head = a[(k + 1) * n + k]!
    const target = head > 0 ? -norm : norm
    below[k] = target
    reflectors.push(v)
    // vᵀv = 2: the reflector needs no further factor.
    const squares = norm * (norm + Math.abs(head))
    if (squares === 0) continue
    const scale = 1 / Math.sqrt(squares)
    for (let i = k + 1; i < n; i++) v[i] = a[i * n + k]! * scale
    v[k + 1] = (head - target) * scale
    reflectBothSides(a, v, k + 1, n)
  }
  if (n > 1) below[n - 2] = a[(n - 1) * n + n - 2]!
  const diagonal = Float64Array.from({ length: n }, (_, i) => a[i * n + i]!)
  return { diagonal, below, basis: product(reflectors, n) }
}

/** A ← (I − v·vᵀ)·A·(I − v·vᵀ) on the part from `first` on, by the rank-two update A − v·wᵀ − w·vᵀ. */
function reflectBothSides(a: Float64Array, v: Float64Array, first: number, n: number): void {
  const w = new Float64Array(n)
  let inner = 0
  for (let i = first; i < n; i++) {
    let sum = 0
    for (let j = first; j < n; j++) sum += a[i * n + j]! * v[j]!
    w[i] = sum
    inner += sum * v[i]!
  }
  for (let i = first; i < n; i++) w[i]! -= (inner / 2) * v[i]!
  for (let i = first; i < n; i++) {
    for (let j = first; j < n; j++) a[i * n + j]! -= v[i]! * w[j]! + w[i]! * v[j]!
  }
}

/** The rows of Hₘ … H₁. */
function product(reflectors: readonly Float64Array[], n: number): Float64Array {
  const q = new Float64Array(n * n)
  for (let i = 0; i < n; i++) q[i * n + i] = 1
  // From the last to the first, each acts from the right on rows that later ones have filled.
  for (let k = reflectors.length - 1; k >= 0; k--) {
    const v = reflectors[k]!
    for (let i = k + 1; i < n; i++) {
      let sum = 0
      for (let j = k + 1; j < n; j++) sum += q[i * n + j]! * v[j]!
      for (let j = k + 1; j < n; j++) q[i * n + j]! -= sum * v[j]!
    }
  }
  return q
}

/** Most QL steps for one eigenvalue; two or three are usual. */
const MAX_STEPS = 60

/** Diagonalises in place; rotations are applied to the rows of `basis`. */
function implicitQl(d: Float64Array, e: Float64Array, basis: Float64Array, n: number): void {
  for (let l = 0; l < n; l++) {
    for (let step = 0; step < MAX_STEPS; step++) {
      let m = l
      while (
        m < n - 1 &&
        Math.abs(e[m]!) > Number.EPSILON * (Math.abs(d[m]!) + Math.abs(d[m + 1]!))
      )
        m++
      if (m === l) break
      sweep(d, e, basis, n, l, m)
    }
  }
}

/** One implicit QL step with Wilkinson's shift on elements l … m. */
function sweep(
  d: Float64Array,
  e: Float64Array,
  basis: Float64Array,
  n: number,
  l: number,
  m: number,
): void {
  let g = (d[l + 1]! - d[l]!) / (2 * e[l]!)
  let r = Math.hypot(g, 1)
  g = d[m]! - d[l]! + e[l]! / (g + (g >= 0 ? r : -r))
  let [sine, cosine, p] = [1, 1, 0]
  for (let i = m - 1; i >= l; i--) {
    const f = sine * e[i]!
    const b = cosine * e[i]!
    r = Math.hypot(f, g)
    e[i + 1] = r
    if (r === 0) {
      d[i + 1]! -= p
      e[m] = 0
      return
    }
    sine = f / r
    cosine = g / r
    g = d[i + 1]! - p
    r = (d[i]! - g) * sine + 2 * cosine * b
    p = sine * r
    d[i + 1] = g + p
    g = cosine * r - b
    const [lower, upper] = [i * n, (i + 1) * n]
    for (let k = 0; k < n; k++) {
      const [x, y] = [basis[lower + k]!, basis[upper + k]!]
      basis[upper + k] = sine * x + cosine * y
      basis[lower + k] = cosine * x - sine * y
    }
  }
  d[l]! -= p
  e[l] = g
  e[m] = 0
}
