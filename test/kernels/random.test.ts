import { describe, expect, it } from 'vitest'
import {
  normalOf,
  philox,
  randomBits,
  randomInteger,
  randomUniform,
} from '../../src/kernels/random.ts'

describe('philox', () => {
  // `kat_vectors` of Random123, the authors' implementation: philox4x32, 10 rounds.
  it.each<[string, [number, number, number, number], [number, number], number[]]>([
    ['zeros', [0, 0, 0, 0], [0, 0], [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]],
    [
      'ones',
      [0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff],
      [0xffffffff, 0xffffffff],
      [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd],
    ],
    [
      'digits of pi',
      [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
      [0xa4093822, 0x299f31d0],
      [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
    ],
  ])('%s', (_, counter, key, expected) => {
    expect(philox(counter, key)).toEqual(expected)
  })
})

describe('randomBits', () => {
  it('reads the words of consecutive blocks', () => {
    for (const [seed, stream] of [
      [0, 0],
      [7, 0xffffffff],
    ]) {
      for (let index = 0; index < 12; index++) {
        const block = philox([index >> 2, 0, 0, 0], [seed, stream])
        expect(randomBits(seed, stream, index)).toBe(block[index & 3])
      }
    }
  })

  it('differs by seed and by stream', () => {
    const first = (seed: number, stream: number) => randomBits(seed, stream, 0)
    const values = new Set<number>()
    for (let seed = 0; seed < 30; seed++) {
      for (let stream = 0; stream < 30; stream++) values.add(first(seed, stream))
    }
    expect(values.size).toBe(900)
    expect(first(1, 2)).not.toBe(first(2, 1))
  })

  it('sets every bit half of the time', () => {
    const count = 20_000
    const ones = new Array<number>(32).fill(0)
    for (let i = 0; i < count; i++) {
      const word = randomBits(3, 4, i)
      for (let bit = 0; bit < 32; bit++) ones[bit] += (word >>> bit) & 1
    }
    // Five standard deviations of a fair coin.
    for (const n of ones) expect(Math.abs(n / count - 0.5)).toBeLessThan(2.5 / Math.sqrt(count))
  })
})

describe('randomUniform', () => {
  const count = 50_000
  const values = Float64Array.from({ length: count }, (_, i) => randomUniform(1, 2, i))
  const mean = values.reduce((sum, value) => sum + value, 0) / count

  it('has the mean and variance of a uniform distribution', () => {
    const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / count
    expect(Math.abs(mean - 0.5)).toBeLessThan(5 * Math.sqrt(1 / 12 / count))
    // The variance of (u - 1/2)^2 is 1/180.
    expect(Math.abs(variance - 1 / 12)).toBeLessThan(5 * Math.sqrt(1 / 180 / count))
  })

  it('fills 100 bins evenly', () => {
    const bins = new Array<number>(100).fill(0)
    for (const value of values) bins[Math.floor(value * 100)]++
    const expected = count / 100
    const chiSquare = bins.reduce((sum, n) => sum + (n - expected) ** 2 / expected, 0)
    // 99 degrees of freedom: 99 on average, standard deviation 14.
    expect(chiSquare).toBeGreaterThan(99 - 5 * 14)
    expect(chiSquare).toBeLessThan(99 + 5 * 14)
  })

  it('has no correlation between neighbours or streams', () => {
    const correlation = (other: (i: number) => number) => {
      let sum = 0
      for (let i = 0; i < count; i++) sum += (values[i] - 0.5) * (other(i) - 0.5)
      return (12 * sum) / count
    }
    const limit = 5 / Math.sqrt(count)
    expect(Math.abs(correlation((i) => randomUniform(1, 2, i + 1)))).toBeLessThan(limit)
    expect(Math.abs(correlation((i) => randomUniform(1, 3, i)))).toBeLessThan(limit)
    expect(Math.abs(correlation((i) => randomUniform(2, 2, i)))).toBeLessThan(limit)
  })

  it('is a multiple of 2^-24 from 0 to below 1, so exact in f32', () => {
    for (const value of values) {
      if (!Number.isInteger(value * 2 ** 24) || value < 0 || value >= 1) {
        expect.fail(`${value} is not a multiple of 2^-24 in [0, 1)`)
      }
    }
  })
})

describe('normalOf', () => {
  it('has the quantiles of the normal distribution', () => {
    for (const [p, z] of [
      [0.5, 0],
      [0.75, 0.6744898],
      [0.975, 1.959964],
      [0.999, 3.0902323],
      [0.9999, 3.7190165],
    ] as const) {
      const word = p * 2 ** 32 - 1
      expect(normalOf(word)).toBeCloseTo(z, 3)
      expect(normalOf(2 ** 32 - 1 - word)).toBeCloseTo(-z, 3)
    }
  })

  it('is symmetric, and finite to the last word', () => {
    expect(normalOf(0xffffffff)).toBeCloseTo(5.295, 2)
    for (const word of [0, 512, 0x12345678, 0x7fffffff]) {
      expect(normalOf(word)).toBe(-normalOf(0xffffffff - word))
    }
  })
})

describe('randomInteger', () => {
  it('is the upper half of the product of its word and the bound', () => {
    for (let index = 0; index < 100; index++) {
      const word = randomBits(3, 1, index)
      expect(randomInteger(2 ** 32, 3, 1, index)).toBe(word)
      expect(randomInteger(2 ** 16, 3, 1, index)).toBe(word >>> 16)
      expect(randomInteger(1, 3, 1, index)).toBe(0)
    }
  })
})
