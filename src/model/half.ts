/**
 * 16-bit floats. Decoding is exact; encoding rounds once, to the nearest value, ties to even, from
 * any JavaScript number (so also from f64, without rounding to f32 on the way).
 *
 * f16 is IEEE 754 binary16: 5 exponent bits, 10 mantissa bits. bf16 is the upper half of an f32:
 * 8 exponent bits, 7 mantissa bits.
 */

const float32 = new Float32Array(1)
const float32Bits = new Uint32Array(float32.buffer)
const float64 = new Float64Array(1)
/** Low word first: every engine with WebGPU is little-endian. */
const float64Bits = new Uint32Array(float64.buffer)

/** The f32 bits of an f16; a NaN keeps its sign and payload. */
function halfToFloatBits(bits: number): number {
  const sign = (bits & 0x8000) << 16
  const exponent = (bits >>> 10) & 0x1f
  const mantissa = bits & 0x3ff
  if (exponent === 0x1f) return (sign | 0x7f800000 | (mantissa << 13)) >>> 0
  if (exponent !== 0) return (sign | ((exponent + 112) << 23) | (mantissa << 13)) >>> 0
  if (mantissa === 0) return sign >>> 0
  // A subnormal half is a normal f32: shift until the leading one is the implicit bit.
  const shift = Math.clz32(mantissa) - 21
  return (sign | ((113 - shift) << 23) | (((mantissa << shift) & 0x3ff) << 13)) >>> 0
}

/** The value of an f16. @param bits 0 to 65,535 */
export function halfToFloat(bits: number): number {
  float32Bits[0] = halfToFloatBits(bits)
  return float32[0]
}

/** The value of a bf16. @param bits 0 to 65,535 */
export function bfloat16ToFloat(bits: number): number {
  float32Bits[0] = bits << 16
  return float32[0]
}

/** 2^exponent, exactly, for exponents from -1022 to 1023. */
function powerOfTwo(exponent: number): number {
  float64Bits[0] = 0
  float64Bits[1] = (exponent + 1023) << 20
  return float64[0]
}

/** Bits of `value` in the 16-bit format with this many mantissa bits and this exponent bias. */
function encode(value: number, mantissaBits: number, bias: number): number {
  float64[0] = value
  const high = float64Bits[1]
  const sign = (high >>> 16) & 0x8000
  const infinity = ((1 << (15 - mantissaBits)) - 1) << mantissaBits
  if (Number.isNaN(value)) return sign | infinity | (1 << (mantissaBits - 1))
  const exponent = Math.max(((high >>> 20) & 0x7ff) - 1023, 1 - bias)
  if (exponent > bias) return sign | infinity
  // Scaled so that one step of the format is 1; adding and taking away 2^52 then rounds to even.
  const scaled = Math.abs(value) * powerOfTwo(mantissaBits - exponent)
  const steps = scaled + 2 ** 52 - 2 ** 52
  // A carry out of the mantissa lands in the exponent, and from the largest exponent in infinity.
  return sign | (((exponent + bias - 1) << mantissaBits) + steps)
}

/** The f16 nearest to `value`, ties to even; beyond 65,519 infinity; NaN is a quiet NaN. */
export function floatToHalf(value: number): number {
  return encode(value, 10, 15)
}

/** The bf16 nearest to `value`, ties to even; NaN is a quiet NaN. */
export function floatToBfloat16(value: number): number {
  return encode(value, 7, 127)
}

let halfTable: Uint32Array | undefined

/** All values of an f16 array as f32. */
export function halvesToFloats(halves: Uint16Array): Float32Array<ArrayBuffer> {
  halfTable ??= Uint32Array.from({ length: 0x10000 }, (_, bits) => halfToFloatBits(bits))
  const bits = new Uint32Array(halves.length)
  for (let i = 0; i < halves.length; i++) bits[i] = halfTable[halves[i]]
  return new Float32Array(bits.buffer)
}

/** All values of a bf16 array as f32. */
export function bfloat16sToFloats(values: Uint16Array): Float32Array<ArrayBuffer> {
  const bits = new Uint32Array(values.length)
  for (let i = 0; i < values.length; i++) bits[i] = values[i] << 16
  return new Float32Array(bits.buffer)
}

/** All values of an f32 array as f16, each rounded as {@link floatToHalf} does. */
export function floatsToHalves(values: Float32Array): Uint16Array<ArrayBuffer> {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length)
  const halves = new Uint16Array(values.length)
  for (let i = 0; i < bits.length; i++) {
    const sign = (bits[i] >>> 16) & 0x8000
    const magnitude = bits[i] & 0x7fffffff
    const exponent = magnitude >>> 23
    if (magnitude >= 0x477ff000) {
      halves[i] = sign | (magnitude > 0x7f800000 ? 0x7e00 : 0x7c00)
    } else if (exponent >= 113) {
      // Adding what is just below half a step, and one more where the last bit kept is odd, rounds to even.
      const rebased = magnitude - (112 << 23)
      halves[i] = sign | ((rebased + 0xfff + ((rebased >>> 13) & 1)) >>> 13)
    } else if (exponent >= 102) {
      const shift = 126 - exponent
      const mantissa = (magnitude & 0x7fffff) | 0x800000
      halves[i] =
        sign | ((mantissa + (1 << (shift - 1)) - 1 + ((mantissa >>> shift) & 1)) >>> shift)
    } else halves[i] = sign
  }
  return halves
}
