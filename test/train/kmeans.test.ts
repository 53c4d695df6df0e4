import { describe, expect, it } from 'vitest'
import { kmeans } from '../../src/train/kmeans.ts'
import { useDevice } from '../support/device.ts'
import { limitBindings } from '../support/limitBindings.ts'
import { randomArray } from '../support/random.ts'

describe('kmeans', () => {
  const device = useDevice()
  const [count, dimension, k] = [600, 8, 5]
  // Coarse values, whose sums are exact however they are added up.
  const data = randomArray(count * dimension, 6).map((value) => Math.round(value * 8) / 8)
  const sizes = { count, dimension, k, restarts: 3, seed: 2 }

  it('gives the same for data that lie in several bindings', async () => {
    const options = { device: device(), ...sizes }
    const before = device().stats().usedBytes
    const whole = await kmeans(data, options)
    // 256 rows of 15 distances, the widest array.
    const parts = await limitBindings(device(), 256 * 15 * 4, () => kmeans(data, options))
    expect(parts).toEqual(whole)
    expect(device().stats().usedBytes).toBe(before)
  })

  it('keeps the best of its runs, each as if it ran alone', async () => {
    const together = await kmeans(data, { device: device(), ...sizes })
    expect(together.iterations).toBeLessThan(300)
    const initial = randomArray(3 * k * dimension, 9)
    const options = { device: device(), count, dimension, k }
    const runs = [0, 1, 2].map((run) => {
      return initial.slice(run * k * dimension, (run + 1) * k * dimension)
    })
    const alone = []
    for (const run of runs) alone.push(await kmeans(data, { ...options, initial: run }))
    const best = alone.reduce((a, b) => (b.inertia < a.inertia ? b : a))
    const joint = await kmeans(data, { ...options, initial, restarts: 3 })
    expect(joint.iterations).toBe(Math.max(...alone.map(({ iterations }) => iterations)))
    expect({ ...joint, iterations: 0 }).toEqual({ ...best, iterations: 0 })
  })

  it('gives an empty cluster the row that lies farthest from its centre', async () => {
    const line = Float32Array.of(0, 1, 2, 10)
    const options = { device: device(), count: 4, dimension: 1, k: 2 }
    const { centres, assignments } = await kmeans(line, {
      ...options,
      initial: Float32Array.of(3, 1000),
    })
    expect([...centres]).toEqual([1, 10])
    expect([...assignments]).toEqual([0, 0, 0, 1])
  })

  it('names what it cannot take', async () => {
    const options = { device: device(), ...sizes }
    await expect(kmeans(data, { ...options, restarts: 0 })).rejects.toThrow(
      'kmeans: restarts is 0, expected 1 or more',
    )
    await expect(kmeans(data, { ...options, initial: new Float32Array(7) })).rejects.toThrow(
      'kmeans: initial has 7 values, expected 3×5×8',
    )
  })
})
