import { expect } from 'vitest'

/**
 * Largest |actual − expected| over the largest |expected|, the relative error that our tolerances
 * are stated in; NaN when any value is not finite.
 */
export function relativeError(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  let worst = 0
  let scale = 0
  for (let i = 0; i < expected.length; i++) {
    const difference = Math.abs(actual[i]! - expected[i]!)
    // At once, or a later and finite difference would hide it.
    if (Number.isNaN(difference)) return NaN
    worst = Math.max(worst, difference)
    scale = Math.max(scale, Math.abs(expected[i]!))
  }
  return worst / (scale || 1)
}

/** Asserts closeness and, when it fails, says where. */
export function expectClose(
  name: string,
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  tolerance: number,
): void {
  expect(actual.length, `${name}: length`).toBe(expected.length)
  const error = relativeError(actual, expected)
  if (error <= tolerance) return
  let at = 0
  for (let i = 0; i < expected.length; i++) {
    const worse = Math.abs(actual[i]! - expected[i]!) > Math.abs(actual[at]! - expected[at]!)
    if (worse || Number.isNaN(actual[i])) at = i
    if (Number.isNaN(actual[i])) break
  }
  expect.fail(
    `${name}[${at}]: expected ${expected[at]}, got ${actual[at]} ` +
      `(relative error ${error.toExponential(2)}, tolerance ${tolerance})`,
  )
}

/** FNV-1a over the bytes, for comparing results across machines. */
export function hashBits(data: ArrayBufferView): string {
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
  let hash = 0x811c9dc5
  for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x01000193)
  return (hash >>> 0).toString(16).padStart(8, '0')
}

/** Cosine of the angle between two vectors; NaN where either holds one. */
export function cosine(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) throw new Error(`cosine: ${a.length} values and ${b.length}`)
  let [dot, x, y] = [0, 0, 0]
  for (let i = 0; i < a.length; i++) {
    dot += a[i]! * b[i]!
    x += a[i]! * a[i]!
    y += b[i]! * b[i]!
  }
  return dot / Math.sqrt(x * y)
}
