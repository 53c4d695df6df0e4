import { describe, expect, it } from 'vitest'
import { permutationKernel, randomFillKernel } from '../../../src/kernels/randomFill.ts'
import { permutationKey, permute } from '../../../src/kernels/permutation.ts'
import { randomInteger, randomNormal, randomUniform } from '../../../src/kernels/random.ts'
import {
  integers,
  normal,
  NORMAL_TOLERANCE,
  permutation,
  uniform,
} from '../../../src/runtime/ops/random.ts'
import { record } from '../../../src/runtime/plan.ts'
import { useDevice } from '../../support/device.ts'
import { errorOf } from '../../support/errorOf.ts'
import { framed } from '../../support/framed.ts'

const KEY = { seed: 0xfedcba98, stream: 7 }

/** Five standard deviations of a mean of `count` values whose variance is `variance`. */
const near = (variance: number, count: number): number => 5 * Math.sqrt(variance / count)

const mean = (values: ArrayLike<number>, of = (x: number): number => x): number => {
  let sum = 0
  for (let i = 0; i < values.length; i++) sum += of(values[i]!)
  return sum / values.length
}

describe('random numbers', () => {
  const device = useDevice()

  // A workgroup makes 256 numbers.
  it.each([1, 3, 4, 5, 255, 256, 257])('equal their twins on the host: %i numbers', async (n) => {
    const { seed, stream } = KEY
    for (const [first, step] of [
      [0, 0],
      [2 ** 33 + 3, 5],
    ] as const) {
      const at = device().tensor(Uint32Array.of(step), [1])
      const run = async (distribution: 'uniform' | 'normal' | 'integer') => {
        const out = framed(device(), distribution === 'integer' ? 'u32' : 'f32', [n])
        device().dispatch(
          randomFillKernel({ distribution }),
          { step: at, out: out.tensor },
          { size: n, ...KEY, block: Math.floor(first / 4), skip: first % 4, bound: 1000 },
        )
        return out.read()
      }
      const expected = (of: (index: number) => number): number[] =>
        Array.from({ length: n }, (_, i) => of(first + i))
      const uniforms = expected((index) => randomUniform(seed, stream, index, step))
      expect([...(await run('uniform'))]).toEqual(uniforms)
      const whole = expected((index) => randomInteger(1000, seed, stream, index, step))
      expect([...(await run('integer'))]).toEqual(whole)
      const normals = expected((index) => randomNormal(seed, stream, index, step))
      for (const [i, value] of [...(await run('normal'))].entries()) {
        const error = Math.abs(value - normals[i]!) / Math.abs(normals[i]!)
        expect(error, `normal ${i}`).toBeLessThan(NORMAL_TOLERANCE)
      }
    }
  })

  it('are the same wherever a range of the stream starts', async () => {
    const whole = await uniform(device(), [40], KEY).read()
    for (const first of [1, 2, 3, 4, 11]) {
      const part = await uniform(device(), [17], { ...KEY, first }).read()
      expect([...part]).toEqual([...whole.subarray(first, first + 17)])
    }
  })

  it('have the moments, and normals the tails, of their distributions', async () => {
    const n = 2 ** 16
    const uniforms = await uniform(device(), [n], KEY).read()
    expect(Math.abs(mean(uniforms) - 0.5)).toBeLessThan(near(1 / 12, n))
    const square = mean(uniforms, (u) => (u - 0.5) ** 2)
    expect(Math.abs(square - 1 / 12)).toBeLessThan(near(1 / 180, n))
    const normals = await normal(device(), [n], KEY).read()
    expect(normals.every(Number.isFinite)).toBe(true)
    expect(Math.abs(mean(normals))).toBeLessThan(near(1, n))
    expect(Math.abs(mean(normals, (z) => z ** 2) - 1)).toBeLessThan(near(2, n))
    expect(Math.abs(mean(normals, (z) => z ** 3))).toBeLessThan(near(15, n))
    expect(Math.abs(mean(normals, (z) => z ** 4) - 3)).toBeLessThan(near(96, n))
    // P(|z| > 2) = 0.0455, P(|z| > 3) = 0.0027.
    for (const [limit, share] of [
      [2, 0.0455],
      [3, 0.0027],
    ] as const) {
      const beyond = mean(normals, (z) => (Math.abs(z) > limit ? 1 : 0))
      expect(Math.abs(beyond - share)).toBeLessThan(near(share, n))
    }
    const dice = await integers(device(), [n], 6, KEY).read()
    const faces = [0, 1, 2, 3, 4, 5].map((face) => dice.filter((value) => value === face).length)
    const chiSquare = faces.reduce((sum, f) => sum + (f - n / 6) ** 2 / (n / 6), 0)
    // 5 degrees of freedom: 5 on average, standard deviation 3.2.
    expect(chiSquare).toBeLessThan(5 + 5 * 3.2)
    expect(faces.reduce((sum, f) => sum + f)).toBe(n)
  })

  it('draw anew at every run of a plan that counts its step', async () => {
    const step = device().tensor(Uint32Array.of(0), [1])
    const plan = await record(device(), { step }, () => uniform(device(), [8], { ...KEY, step }))
    for (const at of [0, 1, 2 ** 32 - 1]) {
      plan.run({ step: Uint32Array.of(at) })
      const expected = Array.from({ length: 8 }, (_, i) => randomUniform(KEY.seed, 7, i, at))
      expect([...(await plan.outputs.read())]).toEqual(expected)
    }
    plan.dispose()
  })

  it('name what they cannot take', () => {
    expect(errorOf(() => uniform(device(), [4], { seed: -1 })).message).toBe(
      'uniform: seed is -1, expected 0 to 2³² − 1',
    )
    expect(errorOf(() => normal(device(), [4], { first: 2 ** 34 - 3 })).message).toBe(
      'normal: numbers 17179869181 to 17179869185 of a stream are asked for, expected 0 to 2³⁴',
    )
    expect(errorOf(() => integers(device(), [4], 0)).message).toBe(
      'integers: bound is 0, expected 1 to 2³² − 1',
    )
    expect(errorOf(() => permutation(device(), 0)).message).toBe(
      'permutation: n is 0, expected 1 to 2³¹',
    )
  })
})

describe('permutation', () => {
  const device = useDevice()

  it.each([1, 2, 3, 4, 5, 16, 17, 63, 64, 65, 1000])('is its twin on the host: %i', async (n) => {
    const out = framed(device(), 'u32', [n])
    const step = device().tensor(Uint32Array.of(3), [1])
    device().dispatch(permutationKernel, { step, out: out.tensor }, { size: n, ...KEY })
    const key = permutationKey(KEY.seed, KEY.stream, 3)
    const expected = Array.from({ length: n }, (_, i) => permute(i, n, key))
    const actual = [...(await out.read())]
    expect(actual).toEqual(expected)
    expect([...actual].sort((a, b) => a - b)).toEqual([...actual.keys()])
  })

  it('has no repeats, and no memory of where a number was', async () => {
    const n = 50_000
    const order = await permutation(device(), n, KEY).read()
    expect(new Set(order).size).toBe(n)
    expect(order.every((value) => value < n)).toBe(true)
    // Correlation of place and number; its standard deviation is 1/√n.
    const centre = (n - 1) / 2
    let sum = 0
    order.forEach((value, i) => (sum += (value - centre) * (i - centre)))
    expect(Math.abs((12 * sum) / n ** 3)).toBeLessThan(5 / Math.sqrt(n))
    // A random order keeps one number in its place on average, with standard deviation 1.
    expect(order.filter((value, i) => value === i).length).toBeLessThan(7)
    const other = await permutation(device(), n, { ...KEY, stream: 8 }).read()
    expect(other.filter((value, i) => value === order[i]).length).toBeLessThan(7)
  })
})
