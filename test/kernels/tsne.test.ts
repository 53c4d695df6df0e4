import { describe, expect, it } from 'vitest'
import {
  tsneGradientKernel,
  tsneMoveKernel,
  tsneTotalKernel,
} from '../../src/kernels/tsneGradient.ts'
import { tsneProbabilitiesKernel } from '../../src/kernels/tsneProbabilities.ts'
import { repulsionHeight, tsneRepulsionKernel } from '../../src/kernels/tsneRepulsion.ts'
import * as reference from '../reference/tsne.ts'
import { expectClose } from '../support/compare.ts'
import { useDevice } from '../support/device.ts'
import { framed } from '../support/framed.ts'
import { kernelVariants, runKernel } from '../support/kernels.ts'
import { randomArray } from '../support/random.ts'
import { sparse, symmetricMatrix } from '../support/tsneGraph.ts'

const at = <T>(data: T, ...shape: number[]): { data: T; shape: number[] } => ({ data, shape })

describe('tsneProbabilities', () => {
  const device = useDevice()

  it.each([1, 63, 64, 65])('bisects %i rows to the perplexity', async (rows) => {
    const k = 17
    // Rows of nearest distances from 1e-4 to 1e4, the last with more equal ones than the perplexity.
    const squared = randomArray(rows * k, 3).map((value, i) => {
      const row = Math.floor(i / k)
      return row === rows - 1 && rows > 1
        ? Number(i % k > 8)
        : 10 ** (8 * (row / rows) - 4) * (1 + value)
    })
    for (let row = 0; row < rows; row++) squared.subarray(row * k, (row + 1) * k).sort()
    const sizes = { rows, k, entropy: Math.log(6), tolerance: 1e-5, tries: 50 }
    const { probabilities } = await runKernel(
      device(),
      tsneProbabilitiesKernel,
      { squared: at(squared, rows, k) },
      { probabilities: [rows, k] },
      sizes,
    )
    expectClose('p', probabilities!, reference.conditional(squared, k, 6), 5e-5)
  })
})

describe('tsneRepulsion', () => {
  const device = useDevice()

  it('sums over all pairs around its tiles, in parts and from any first point', async () => {
    for (const variant of kernelVariants(device())) {
      const height = repulsionHeight(variant)
      const counts = [2, height - 1, height, height + 1, 255, 256, 257]
      const cases = [
        ...counts.map((count) => ({ count, first: 0, rows: count, splits: 1 })),
        { count: 131, first: 0, rows: 131, splits: 4 },
        { count: 131, first: height, rows: 3, splits: 1 },
      ]
      for (const { count, ...part } of cases) {
        const layout = randomArray(2 * count, 5, 3)
        const { partials } = await runKernel(
          device(),
          tsneRepulsionKernel({ variant }),
          { points: at(layout, count, 2) },
          { partials: [part.splits, count, 4] },
          { count, ...part },
        )
        const expected: number[] = []
        const actual: number[] = []
        for (let i = part.first; i < part.first + part.rows; i++) {
          const sums = [0, 0, 0]
          for (let j = 0; j < count; j++) {
            const [dx, dy] = [0, 1].map((c) => layout[2 * i + c]! - layout[2 * j + c]!)
            const w = 1 / (1 + dx! ** 2 + dy! ** 2)
            ;[w * w * dx!, w * w * dy!, w].forEach((term, c) => (sums[c]! += term))
          }
          expected.push(...sums)
          for (let c = 0; c < 3; c++) {
            let sum = 0
            for (let s = 0; s < part.splits; s++) sum += partials![(s * count + i) * 4 + c]!
            actual.push(sum)
          }
        }
        expectClose(JSON.stringify({ variant, count, ...part }), actual, expected, 1e-6)
      }
    }
  })
})

describe('tsneTotal, tsneGradient and tsneMove', () => {
  const device = useDevice()

  it.each([3, 63, 64, 65, 257])('descend as plain loops do: %i points', async (count) => {
    const splits = count === 65 ? 3 : 1
    const layout = randomArray(2 * count, 1, 2)
    const matrix = symmetricMatrix(count, 2)
    const expected = reference.gradient(layout, matrix, 4)
    const [variant] = kernelVariants(device())
    const operand = { points: at(layout, count, 2) }
    const { partials } = await runKernel(
      device(),
      tsneRepulsionKernel({ variant: variant! }),
      operand,
      { partials: [splits, count, 4] },
      { count, first: 0, rows: count, splits },
    )
    const sums = at(partials!, splits, count, 4)
    const sizes = { count, splits }
    const z = await runKernel(device(), tsneTotalKernel, { partials: sums }, { total: [1] }, sizes)
    expectClose('total', z.total!, [expected.total], 1e-6)
    const graph = sparse(device(), matrix, count)
    const slopes = {
      gradient: framed(device(), 'f32', [count, 2]),
      divergence: framed(device(), 'f32', [count]),
    }
    const total = device().tensor(z.total!, [1])
    device().dispatch(
      tsneGradientKernel,
      {
        ...graph,
        points: device().tensor(layout, [count, 2]),
        partials: device().tensor(partials!, sums.shape),
        total,
        gradient: slopes.gradient.tensor,
        divergence: slopes.divergence.tensor,
      },
      { ...sizes, exaggeration: 4 },
    )
    const gradient = (await slopes.gradient.read()) as Float32Array
    expectClose('gradient', gradient, expected.gradient, 3e-6)
    expectClose(
      'divergence',
      (await slopes.divergence.read()) as Float32Array,
      expected.divergence,
      3e-6,
    )

    const velocity = randomArray(2 * count, 6)
    const gains = randomArray(2 * count, 7).map((value) => Math.abs(value) * 0.02)
    const moving = {
      layout: framed(device(), 'f32', [count, 2], layout),
      velocity: framed(device(), 'f32', [count, 2], velocity),
      gains: framed(device(), 'f32', [count, 2], gains),
      kl: framed(device(), 'f32', [1]),
    }
    device().dispatch(
      tsneMoveKernel,
      {
        total,
        gradient: slopes.gradient.tensor,
        divergence: slopes.divergence.tensor,
        points: moving.layout.tensor,
        velocity: moving.velocity.tensor,
        gains: moving.gains.tensor,
        kl: moving.kl.tensor,
      },
      { count, rate: 50, momentum: 0.5 },
    )
    const newGains = Array.from(gains, (gain, i) =>
      Math.max(0.01, gradient[i]! * velocity[i]! < 0 ? gain + 0.2 : gain * 0.8),
    )
    const moved = newGains.map((gain, i) => 0.5 * velocity[i]! - 50 * gain * gradient[i]!)
    const places = moved.map((step, i) => layout[i]! + step)
    const mean = [0, 1].map(
      (c) => places.filter((_, i) => i % 2 === c).reduce((a, b) => a + b, 0) / count,
    )
    const read = async (name: keyof typeof moving): Promise<Float32Array> =>
      (await moving[name].read()) as Float32Array
    expectClose('gains', await read('gains'), newGains, 1e-6)
    expectClose('velocity', await read('velocity'), moved, 1e-6)
    expectClose(
      'layout',
      await read('layout'),
      places.map((y, i) => y - mean[i % 2]!),
      2e-6,
    )
    expectClose('kl', await read('kl'), [expected.kl], 1e-5)
    expect(Math.min(...newGains)).toBe(0.01)
  })
})
