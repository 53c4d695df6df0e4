import { randomBits } from '../../src/kernels/random.ts'
import { halfToFloat } from '../../src/model/half.ts'
import type { Device } from '../../src/runtime/device.ts'
import { linear, matmul } from '../../src/runtime/ops/matmul.ts'
import { normalizedError } from '../reference/matmul.ts'
import { randomArray } from './random.ts'

/** Shapes of products around the edges of vectors, subgroups and tiles, and those of transformers. */

type Size = readonly [m: number, n: number, k: number]

const EDGES = [1, 2, 7, 8, 31, 32, 33, 49, 50, 51, 64, 65, 129, 197, 257, 500, 768, 1000, 1024]
const LARGE: readonly Size[] = [
  [1024, 1024, 257],
  [500, 768, 1000],
  [197, 1024, 1024],
]
/** Multiply-adds that the other shapes stay below, so that all of them together take a second or two. */
const WORK = 2 ** 21
export const SHAPES = 300
/** Elements of each product that are compared. */
const SAMPLES = 48

/** Bounds of the normalised squared error, by the type of the output. */
export const LIMITS = { f32: 1e-10, f16: 1e-6 } as const

export interface ShapesResult {
  readonly shapes: number
  /** The largest normalised squared errors. */
  readonly worst: { readonly f32: number; readonly f16: number }
  /** Shapes whose error is at the bound or above, or no number. */
  readonly wrong: readonly string[]
}

function* sizes(work: number): Generator<Size> {
  if (work >= WORK) yield* LARGE
  let found: number = LARGE.length
  for (let draw = 0; found < SHAPES; draw++) {
    const pick = (which: number): number => EDGES[randomBits(9, which, draw) % EDGES.length]!
    const [m, n, k] = [pick(0), pick(1), pick(2)]
    if (m * n * k > WORK) continue
    found++
    if (m * n * k <= work) yield [m, n, k]
  }
}

/**
 * Multiplies at {@link SHAPES} shapes by the kernels that the device takes for them, few pipelines for
 * many shapes, and compares sampled elements, the last row and column among them, with sums in f64.
 *
 * @param work leaves out shapes of more multiply-adds than this
 */
export async function multiplyShapes(device: Device, work = WORK): Promise<ShapesResult> {
  const pool = randomArray(2 ** 20 + SHAPES, 1)
  const worst = { f32: 0, f16: 0 }
  const wrong: string[] = []
  let index = 0
  for (const [m, n, k] of sizes(work)) {
    const transposeB = index % 3 !== 0
    const [a, b] = [
      pool.subarray(index, index + m * k),
      pool.subarray(SHAPES - index, SHAPES - index + k * n),
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
    const judge = (out: ArrayLike<number>, dtype: keyof typeof LIMITS): void => {
      const sampled = places.map(([row, column]) => out[row * n + column]!)
      const error = normalizedError(sampled, expected)
      worst[dtype] = Math.max(worst[dtype], error)
      if (!(error < LIMITS[dtype])) wrong.push(`${m}×${n}×${k} in ${dtype}: ${error}`)
    }
    const left = device.tensor(a, [m, k])
    const right = device.tensor(b, transposeB ? [n, k] : [k, n])
    const out = matmul(left, right, { transposeB })
    judge(await out.read(), 'f32')
    if (transposeB && index % 5 === 0) {
      const half = linear(left, right, undefined, { dtype: 'f16' })
      judge(Float32Array.from(await half.read(), halfToFloat), 'f16')
      half.dispose()
    }
    for (const tensor of [left, right, out]) tensor.dispose()
    index++
  }
  return { shapes: index, worst, wrong }
}
