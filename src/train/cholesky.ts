import { KeeplightError } from '../runtime/errors.ts'

/**
 * ln det(I + scale·S[0..p, 0..p]) for p = 1 … size, of a symmetric positive semi-definite matrix, all by
 * one Cholesky factorisation in f64: the factor of a leading part is the leading part of the factor.
 *
 * @param s [size, size], row-major; the lower triangle is read
 * @param width columns of `s`, when only its leading part counts
 * @throws KeeplightError `validation` when a pivot is not a positive number: S has NaN, or isn't semi-definite
 */
export function logDeterminants(
  s: ArrayLike<number>,
  size: number,
  scale: number,
  width = size,
): Float64Array {
  const factor = new Float64Array(size * size)
  const result = new Float64Array(size)
  let sum = 0
  for (let i = 0; i < size; i++) {
    const row = i * size
    for (let j = 0; j <= i; j++) {
      const other = j * size
      let value = scale * s[i * width + j]!
      for (let k = 0; k < j; k++) value -= factor[row + k]! * factor[other + k]!
      if (j < i) {
        factor[row + j] = value / factor[other + j]!
        continue
      }
      const pivot = value + 1
      if (!(pivot > 0 && pivot < Infinity)) {
        throw new KeeplightError(
          'validation',
          `logDeterminants: pivot ${i} is ${pivot}, expected a positive number; ` +
            'are all features finite?',
        )
      }
      factor[row + i] = Math.sqrt(pivot)
      result[i] = sum += Math.log(pivot)
    }
  }
  return result
}
