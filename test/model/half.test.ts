import { describe, expect, it } from 'vitest'
import {
  bfloat16sToFloats,
  bfloat16ToFloat,
  floatToBfloat16,
  floatsToHalves,
  floatToHalf,
  halfToFloat,
  halvesToFloats,
} from '../../src/model/half.ts'
import { randomBits } from '../../src/kernels/random.ts'

/** The definition of a binary format with an exponent field and a mantissa field. */
function decode(bits: number, mantissaBits: number, bias: number): number {
  const sign = bits & 0x8000 ? -1 : 1
  const exponent = (bits & 0x7fff) >>> mantissaBits
  const mantissa = bits & ((1 << mantissaBits) - 1)
  if (exponent === 2 * bias + 1) return mantissa === 0 ? sign * Infinity : NaN
  if (exponent === 0) return sign * mantissa * 2 ** (1 - bias - mantissaBits)
  return sign * (1 + mantissa / 2 ** mantissaBits) * 2 ** (exponent - bias)
}

const formats = [
  {
    name: 'f16',
    mantissaBits: 10,
    bias: 15,
    to: floatToHalf,
    from: halfToFloat,
    all: halvesToFloats,
  },
  {
    name: 'bf16',
    mantissaBits: 7,
    bias: 127,
    to: floatToBfloat16,
    from: bfloat16ToFloat,
    all: bfloat16sToFloats,
  },
]

describe.each(formats)('$name', ({ mantissaBits, bias, to, from, all }) => {
  const everyPattern = Uint16Array.from({ length: 0x10000 }, (_, bits) => bits)
  const infinity = (2 * bias + 1) << mantissaBits

  it('decodes all 65,536 patterns as the format defines them', () => {
    const values = all(everyPattern)
    const wrong: number[] = []
    for (const bits of everyPattern) {
      const expected = decode(bits, mantissaBits, bias)
      if (!Object.is(from(bits), expected) || !Object.is(values[bits], expected)) wrong.push(bits)
    }
    expect(wrong).toEqual([])
  })

  it('encodes all decoded values back to their pattern, NaNs to a quiet NaN', () => {
    const wrong: number[] = []
    for (const bits of everyPattern) {
      const value = decode(bits, mantissaBits, bias)
      const back = to(value)
      const isNaNPattern = (back & 0x7fff) > infinity
      if (Number.isNaN(value) ? !isNaNPattern : back !== bits) wrong.push(bits)
    }
    expect(wrong).toEqual([])
  })

  it('rounds to nearest, ties to even, between all neighbours', () => {
    const wrong: number[] = []
    for (let bits = 0; bits < infinity - 1; bits++) {
      const low = decode(bits, mantissaBits, bias)
      const high = decode(bits + 1, mantissaBits, bias)
      const middle = (low + high) / 2
      const step = (high - low) * 2 ** -20
      const even = bits % 2 === 0 ? bits : bits + 1
      if (to(middle) !== even || to(-middle) !== (even | 0x8000)) wrong.push(bits)
      // Closer to the tie than f32 can tell: rounding to f32 first would get these wrong.
      if (to(middle - step) !== bits || to(middle + step) !== bits + 1) wrong.push(bits)
    }
    expect(wrong).toEqual([])
  })

  it('overflows to infinity from half a step beyond the largest value', () => {
    const largest = decode(infinity - 1, mantissaBits, bias)
    const limit = largest + (largest - decode(infinity - 2, mantissaBits, bias)) / 2
    expect(to(limit)).toBe(infinity)
    expect(to(limit * (1 - 2 ** -40))).toBe(infinity - 1)
    expect(to(-limit)).toBe(infinity | 0x8000)
    expect(to(Number.MAX_VALUE)).toBe(infinity)
    expect(to(-Infinity)).toBe(infinity | 0x8000)
  })

  it('keeps the sign of zero and of what underflows to it', () => {
    expect(to(0)).toBe(0)
    expect(to(-0)).toBe(0x8000)
    expect(to(Number.MIN_VALUE)).toBe(0)
    expect(to(-1e-300)).toBe(0x8000)
  })

  it('finds the nearest of all values for random numbers of every magnitude', () => {
    const finite = Array.from({ length: infinity }, (_, bits) => decode(bits, mantissaBits, bias))
    for (let i = 0; i < 2000; i++) {
      const exponent = (randomBits(1, 2, 2 * i) % (2 * bias)) - bias
      const value = (1 + randomBits(1, 2, 2 * i + 1) / 2 ** 32) * 2 ** exponent
      const bits = to(value)
      const error = Math.abs(finite[bits] - value)
      const neighbours = [finite[bits - 1], finite[bits + 1]].filter((x) => x !== undefined)
      expect(Math.min(...neighbours.map((x) => Math.abs(x - value)))).toBeGreaterThanOrEqual(error)
    }
  })
})

describe('known values', () => {
  it.each([
    [1, 0x3c00, 0x3f80],
    [-2, 0xc000, 0xc000],
    [65504, 0x7bff, 0x4780],
    [1 / 3, 0x3555, 0x3eab],
    [2 ** -24, 0x0001, 0x3380],
  ])('%f', (value, half, bfloat16) => {
    expect(floatToHalf(value)).toBe(half)
    expect(floatToBfloat16(value)).toBe(bfloat16)
  })

  it('keeps the payload of a NaN through whole arrays', () => {
    const bits = new Uint32Array(halvesToFloats(Uint16Array.of(0x7e01, 0xfc01)).buffer)
    expect([...bits]).toEqual([0x7fc02000, 0xff802000])
  })
})

it('rounds arrays of f32 as it rounds values', () => {
  // Each exponent with mantissas at, below and above the middle of a step, odd and even, and at random.
  const bits: number[] = []
  for (let exponent = 0; exponent < 256; exponent++) {
    for (const mantissa of [
      0, 1, 0xfff, 0x1000, 0x1001, 0x2fff, 0x3000, 0x3001, 0x7fffff, 0x7ff000,
    ]) {
      bits.push((exponent << 23) | mantissa, (exponent << 23) | mantissa | 0x80000000)
    }
    for (let i = 0; i < 200; i++) {
      bits.push((exponent << 23) | (randomBits(11, exponent, i) & 0x807fffff))
    }
  }
  const values = new Float32Array(Uint32Array.from(bits).buffer)
  const halves = floatsToHalves(values)
  const wrong: number[] = []
  values.forEach((value, i) => {
    const expected = Number.isNaN(value)
      ? ((bits[i]! >>> 16) & 0x8000) | 0x7e00
      : floatToHalf(value)
    if (halves[i] !== expected) wrong.push(bits[i]!)
  })
  expect(wrong).toEqual([])
  expect([...floatsToHalves(values.subarray(3, 5))]).toEqual([...halves.subarray(3, 5)])
})
