import { describe, expect, it } from 'vitest'
import { randomBits } from '../../../src/kernels/random.ts'
import { halfToFloat } from '../../../src/model/half.ts'
import { linear, matmul } from '../../../src/runtime/ops/matmul.ts'
import { normalizedError } from '../../reference/matmul.ts'
import { useDevice } from '../../support/device.ts'
import { randomArray } from '../../support/random.ts'

type Size = readonly [m: number, n: number, k: number]

const EDGES = [1, 2, 7, 8, 31, 32, 33, 49, 50, 51, 64, 65, 129, 197, 257, 500, 768, 1000, 1024]
const LARGE: readonly Size[] = [
  [1024, 1024, 257],
  [500, 768, 1000],
  [197, 1024, 1024],
]
/** Multiply-adds that the other shapes stay below, so that all of them together take a second or two. */
const WORK = 2 ** 21
const COUNT = 300
/** Elements of each product that are compared. */
const SAMPLES = 48

function* sizes(): Generator<Size> {
  yield* LARGE
  let found: number = LARGE.length
  for (let draw = 0; found < COUNT; draw++) {
    const pick = (which: number): number => EDGES[randomBits(9, which, draw) % EDGES.length]!
    const [m, n, k] = [pick(0), pick(1), pick(2)]
    if (m * n * k > WORK) continue
    found++
    yield [m, n, k]
  }
}

/** Many shapes by few pipelines; sums in f64 of sampled elements, the last row and column among them. */
describe('matmul at 300 shapes', () => {
  const device = useDevice()
  const pool = randomArray(2 ** 20 + COUNT, 1)

  it('stays below a normalised squared error of 1e-10, with f16 outputs of 1e-6', async () => {
    let [worst, worstHalf, index] = [0, 0, 0]
    for (const [m, n, k] of sizes()) {
      const transposeB = index % 3 !== 0
      const [a, b] = [
        pool.subarray(index, index + m * k),
        pool.subarray(COUNT - index, COUNT - index + k * n),
      ]
      const places = Array.from({ length: SAMPLES }, (_, i) => {
        if (i === 0) return [m - 1, n - 1] as const
        return [randomBits(index, 3, i) % m, randomBits(index, 4, i) % n] as const
      })
      const expected = places.map(([row, column]) => {
        let sum = 0
        for (let i = 0; i < k; i++) {
          sum += a[row * k + i]! * b[transposeB ? column * k + i : i * n + column]!
        }
        return sum
      })
      const sampled = (out: ArrayLike<number>): number[] =>
        places.map(([row, column]) => out[row * n + column]!)
      const left = device().tensor(a, [m, k])
      const right = device().tensor(b, transposeB ? [n, k] : [k, n])
      const out = matmul(left, right, { transposeB })
      const error = normalizedError(sampled(await out.read()), expected)
      expect(error, `${m}×${n}×${k}`).toBeLessThan(1e-10)
      worst = Math.max(worst, error)
      if (transposeB && index % 5 === 0) {
        const half = linear(left, right, undefined, { dtype: 'f16' })
        const values = sampled(await half.read()).map(halfToFloat)
        const errorHalf = normalizedError(values, expected)
        expect(errorHalf, `${m}×${n}×${k} in f16`).toBeLessThan(1e-6)
        worstHalf = Math.max(worstHalf, errorHalf)
        half.dispose()
      }
      for (const tensor of [left, right, out]) tensor.dispose()
      index++
    }
    expect(index).toBe(COUNT)
    // An f16 output that were f32 in truth would have no error to speak of.
    expect(worst).toBeGreaterThan(0)
    expect(worstHalf).toBeGreaterThan(1e-9)
  })
})
