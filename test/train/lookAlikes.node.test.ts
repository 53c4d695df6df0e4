import { expect, it } from 'vitest'
import { randomNormal } from '../../src/kernels/random.ts'
import { findLookAlikes } from '../../src/train/lookAlikes.ts'
import { useDevice } from '../support/device.ts'

const device = useDevice()

it('finds pairs much closer than the background, which is that of all pairs', async () => {
  const [count, dimension] = [40, 16]
  const clean = Float32Array.from({ length: count * dimension }, (_, i) => randomNormal(1, 0, i))
  // Features of a real encoder share a direction: any two of them have a cosine well above 0.
  for (let i = 0; i < clean.length; i += dimension) clean[i] += 6
  const copy = (from: number, to: number, noise: number): void => {
    for (let j = 0; j < dimension; j++) {
      clean[to * dimension + j] = 3 * clean[from * dimension + j] + noise * Math.cos(j)
    }
  }
  copy(3, 20, 0.1)
  copy(20, 31, 0.1)
  const { pairs, background, threshold } = await findLookAlikes(device(), {
    count,
    dimension,
    clean,
  })
  const cosine = (a: number, b: number): number => {
    let [dot, aa, bb] = [0, 0, 0]
    for (let j = 0; j < dimension; j++) {
      const [x, y] = [clean[a * dimension + j], clean[b * dimension + j]]
      dot += x * y
      aa += x * x
      bb += y * y
    }
    return dot / Math.sqrt(aa * bb)
  }
  let sum = 0
  for (let a = 0; a < count; a++) for (let b = 0; b < a; b++) sum += cosine(a, b)
  expect(background).toBeCloseTo(sum / ((count * (count - 1)) / 2), 5)
  expect(background).toBeGreaterThan(0.5)
  expect(threshold).toBeCloseTo(1 - 0.1 * (1 - background), 12)
  const found = pairs.map(({ a, b }) => `${a} ${b}`).sort()
  expect(found).toEqual(['20 31', '3 20', '3 31'])
  for (const { a, b, cosine: given } of pairs) expect(given).toBeCloseTo(cosine(a, b), 5)
  // A larger share finds more, a share of nothing only what is equal.
  const wide = await findLookAlikes(device(), { count, dimension, clean }, { share: 0.9 })
  expect(wide.pairs.length).toBeGreaterThan(20)
  const one = { count: 1, dimension, clean: clean.slice(0, dimension) }
  expect(await findLookAlikes(device(), one)).toMatchObject({ pairs: [] })
})
