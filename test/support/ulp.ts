/** Distance between neighbouring f32 around a value, not below that of the smallest normal. */
export function ulp(value: number): number {
  const exponent = Math.floor(Math.log2(Math.max(Math.abs(value), 2 ** -126)))
  return 2 ** (Math.max(exponent, -126) - 23)
}

/** |actual − expected| in ULP of the f32 next to `expected`; 0 where both are the same infinity. */
export function ulps(actual: number, expected: number): number {
  const nearest = Math.fround(expected)
  if (actual === nearest) return 0
  return Math.abs(actual - expected) / ulp(expected)
}

/** Finite f32 whose bits are spread evenly over both signs and all normal exponents, and edges. */
export function spreadFloats(count: number): Float32Array<ArrayBuffer> {
  const first = 0x00800000
  const range = 0x7f7fffff - first
  const bits = Uint32Array.from({ length: count }, (_, i) => {
    const magnitude = first + Math.floor(((i >> 1) / (count >> 1)) * range) + ((i * 7919) % 1021)
    return (Math.min(magnitude, 0x7f7fffff) | (i % 2 === 1 ? 0x80000000 : 0)) >>> 0
  })
  return new Float32Array(bits.buffer)
}
