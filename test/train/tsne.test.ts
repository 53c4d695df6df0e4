import { describe, expect, it } from 'vitest'
import { principalComponents } from '../../src/train/pca.ts'
import { tsne, type TsneProgress } from '../../src/train/tsne.ts'
import { jointProbabilities } from '../../src/train/tsneGraph.ts'
import { expectClose } from '../support/compare.ts'
import { useDevice } from '../support/device.ts'
import { randomArray } from '../support/random.ts'
import { rejectionOf } from '../support/rejectionOf.ts'

const BLOBS = 3
const [COUNT, DIMENSION] = [72, 6]

/** Three clouds of points around far corners. */
const blobs = randomArray(COUNT * DIMENSION, 9).map((value, i) => {
  const [row, d] = [Math.floor(i / DIMENSION), i % DIMENSION]
  return value + (d === row % BLOBS ? 12 : 0)
})

describe('tsne', () => {
  const device = useDevice()
  const run = (more: Partial<Parameters<typeof tsne>[1]> = {}) =>
    tsne(blobs, {
      device: device(),
      count: COUNT,
      dimension: DIMENSION,
      iterations: 200,
      perplexity: 8,
      learningRate: 10,
      ...more,
    })

  it('keeps separate blobs separate, ever closer to the data, with the same bits each time', async () => {
    const seen: TsneProgress[] = []
    const result = await run({ onProgress: (progress) => seen.push(progress) })
    const { layout, kl } = result
    expect(seen.at(-1)).toMatchObject({ iteration: 200, iterations: 200 })
    expect(seen.every(({ iteration }, i) => i === 0 || iteration > seen[i - 1]!.iteration)).toBe(
      true,
    )
    expect(kl).toBeLessThan(0.6)
    expect(kl).toBeLessThan(seen[0]!.kl / 2)
    for (let i = 0; i < COUNT; i++) {
      const all = Array.from({ length: COUNT }, (_, j) => j).filter((j) => j !== i)
      const near = all.sort((a, b) => apart(layout, i, a) - apart(layout, i, b)).slice(0, 5)
      expect(near.map((j) => j % BLOBS)).toEqual(Array(5).fill(i % BLOBS))
    }
    expectClose('mean', means(layout), [0, 0], 1e-4)
    const again = await run()
    expect([...again.layout]).toEqual([...layout])
    expect(again.kl).toBe(kl)
  })

  it('starts at random by seed, or where it is told', async () => {
    const [a, b, c] = await Promise.all(
      [1, 1, 2].map((seed) => run({ init: 'random', seed, iterations: 4 })),
    )
    expect([...a!.layout]).toEqual([...b!.layout])
    expect([...a!.layout]).not.toEqual([...c!.layout])
    const init = randomArray(2 * COUNT, 4)
    const { layout } = await run({ init, iterations: 1, learningRate: 1e-9 })
    const mean = means(init)
    expectClose(
      'layout',
      layout,
      init.map((y, i) => y - mean[i % 2]!),
      1e-5,
    )
  })

  it.each([1, 2, 3, 5])('takes %i rows, equal ones too', async (count) => {
    const data = new Float32Array(count * 2).fill(1)
    const { layout, kl } = await tsne(data, {
      device: device(),
      count,
      dimension: 2,
      iterations: 8,
    })
    expect(layout).toHaveLength(2 * count)
    expect([...layout, kl].every(Number.isFinite)).toBe(true)
  })

  it.each([
    [{ perplexity: 72 }, 'perplexity is 72, expected 1 to 64 for 72 rows'],
    [{ iterations: 0 }, 'iterations is 0'],
    [{ exaggeration: 0 }, 'exaggeration is 0'],
    [{ learningRate: 0 }, 'learningRate is 0'],
    [{ count: 50_000 }, 'expected 1 to 40000 rows; give a sample'],
    [{ init: new Float32Array(3) }, 'init has 3 values'],
  ])('refuses %j', async (options, message) => {
    const error = await rejectionOf(run(options))
    expect(error).toMatchObject({ code: 'usage', message: expect.stringContaining(message) })
  })

  it('refuses data that are not finite, and stops by a signal', async () => {
    const data = blobs.slice()
    data[20] = NaN
    const options = { device: device(), count: COUNT, dimension: DIMENSION }
    expect((await rejectionOf(tsne(data, options))).message).toContain(
      'row 3 of the data holds NaN',
    )
    const signal = AbortSignal.abort()
    expect(await rejectionOf(run({ signal }))).toMatchObject({ code: 'aborted' })
  })
})

describe('jointProbabilities', () => {
  it('adds both directions, columns ascending', () => {
    const nearest = Uint32Array.from([2, 1, 2, 0, 1, 0])
    const conditional = Float32Array.from([0.75, 0.25, 0.5, 0.5, 1, 0])
    const { starts, columns, weights } = jointProbabilities({ nearest, k: 2 }, conditional)
    expect([...starts]).toEqual([0, 2, 4, 6])
    expect([...columns]).toEqual([1, 2, 0, 2, 0, 1])
    expectClose('p', weights, [0.125, 0.125, 0.125, 0.25, 0.125, 0.25], 1e-7)
  })

  it('leaves out pairs of probability 0', () => {
    const lists = { nearest: Uint32Array.from([1, 2, 0, 2, 0, 1]), k: 2 }
    const { columns } = jointProbabilities(lists, Float32Array.from([1, 0, 1, 0, 0.5, 0.5]))
    expect([...columns]).toEqual([1, 2, 0, 2, 0, 1])
    const { starts } = jointProbabilities(lists, Float32Array.from([1, 0, 1, 0, 1, 0]))
    expect([...starts]).toEqual([0, 2, 3, 4])
  })
})

describe('principalComponents', () => {
  const device = useDevice()

  it('finds the axes of stretched data, turned to their largest entry', async () => {
    const [count, dimension] = [200, 5]
    const stretch = [1, 9, 0.5, 4, 0.1]
    const data = randomArray(count * dimension, 3).map((value, i) => {
      return stretch[i % dimension]! * value + 7
    })
    const sizes = { count, dimension, components: 2 }
    const { scores, deviations } = await principalComponents(device(), data, sizes)
    const column = (d: number): number[] =>
      Array.from({ length: count }, (_, row) => data[row * dimension + d]!)
    for (const [c, d] of [1, 3].entries()) {
      const values = column(d)
      const mean = values.reduce((a, b) => a + b, 0) / count
      const projected = Array.from({ length: count }, (_, row) => scores[row * 2 + c]!)
      expect(correlation(values, projected)).toBeGreaterThan(0.98)
      const deviation = Math.sqrt(values.reduce((a, b) => a + (b - mean) ** 2, 0) / count)
      expect(Math.abs(deviations[c]! / deviation - 1)).toBeLessThan(0.05)
    }
  })
})

function correlation(a: readonly number[], b: readonly number[]): number {
  const centred = (x: readonly number[]): number[] => {
    const mean = x.reduce((sum, value) => sum + value, 0) / x.length
    return x.map((value) => value - mean)
  }
  const [p, q] = [centred(a), centred(b)]
  const dot = (x: readonly number[], y: readonly number[]): number =>
    x.reduce((sum, value, i) => sum + value * y[i]!, 0)
  return dot(p, q) / Math.sqrt(dot(p, p) * dot(q, q))
}

const apart = (layout: Float32Array, i: number, j: number): number =>
  Math.hypot(layout[2 * i]! - layout[2 * j]!, layout[2 * i + 1]! - layout[2 * j + 1]!)

const means = (layout: Float32Array): number[] =>
  [0, 1].map(
    (c) => layout.filter((_, i) => i % 2 === c).reduce((a, b) => a + b, 0) / (layout.length / 2),
  )
