import { describe, expect, it } from 'vitest'
import { randomUniform } from '../../src/kernels/random.ts'
import type { Features } from '../../src/model/features.ts'
import { cluster } from '../../src/train/cluster.ts'
import { kmeans } from '../../src/train/kmeans.ts'
import { inertiaOf } from '../../src/train/predictRuns.ts'
import { scpSettings } from '../../src/train/scpSettings.ts'
import { clusteringAccuracy } from '../../src/train/metrics.ts'
import { hashBits } from '../support/compare.ts'
import { useDevice } from '../support/device.ts'

/** `k` well separated blobs of unit vectors with a little spread, and one view of every row. */
function blobs(k: number, each: number, dimension: number): Features & { labels: Int32Array } {
  const count = k * each
  const labels = Int32Array.from({ length: count }, (_, i) => i % k)
  const noise = (stream: number, i: number): number => (randomUniform(3, stream, i) - 0.5) * 0.5
  const row = (stream: number): Float32Array =>
    Float32Array.from({ length: count * dimension }, (_, i) => {
      const label = labels[Math.floor(i / dimension)]!
      return (i % dimension === label ? 1 : 0) + noise(stream, i) / Math.sqrt(dimension / 8)
    })
  return { count, dimension, views: 1, clean: row(0), augmented: row(1), labels }
}

// Noise is in deviations per dimension, so eight dimensions bear less of it than a real feature's.
const quick = { minSteps: 60, epochs: 1, restarts: 2, batch: 32, noise: 0.5, learningRate: 5e-3 }

describe('cluster', () => {
  const device = useDevice()

  it('finds blobs, reports progress, and keeps the run of lowest inertia', async () => {
    const { labels, ...features } = blobs(4, 24, 32)
    const progress: number[] = []
    const result = await cluster(features, {
      k: 4,
      device: device(),
      ...quick,
      minSteps: 120,
      onProgress: ({ restart, runs, step, steps }) => progress.push(restart * steps + runs * step),
    })
    expect(clusteringAccuracy(labels, result.assignments)).toBeGreaterThan(0.95)
    expect(result.steps).toBe(120)
    expect(progress.at(-1)).toBe(240)
    expect(progress).toEqual([...progress].sort((a, b) => a - b))
    expect(result.restarts).toHaveLength(2)
    const inertias = result.restarts.map(({ inertia }) => inertia)
    expect(result.inertia).toBe(Math.min(...inertias))
    expect(inertias[result.kept]).toBe(result.inertia)
    expect(result.trace).toHaveLength(120)
    for (let row = 0; row < features.count; row++) {
      const line = result.probabilities.subarray(row * 4, row * 4 + 4)
      expect(line.reduce((sum, p) => sum + p, 0)).toBeCloseTo(1, 5)
      expect(line.indexOf(Math.max(...line))).toBe(result.assignments[row])
    }
    expect(result.head.get('12.weight')?.shape).toEqual([4, 32])
  })

  it('gives the same bits for the same seed, others for another, and leaks nothing', async () => {
    const features = blobs(3, 12, 8)
    const run = async (seed: number): Promise<string> => {
      const { probabilities } = await cluster(features, {
        k: 3,
        device: device(),
        seed,
        ...quick,
        minSteps: 12,
        restarts: 1,
      })
      return hashBits(probabilities)
    }
    const first = await run(1)
    const used = device().stats().usedBytes
    expect(await run(1)).toBe(first)
    expect(await run(2)).not.toBe(first)
    expect(device().stats().usedBytes).toBe(used)
  })

  it('trains on collections smaller than a batch or a neighbourhood', async () => {
    const features = blobs(2, 2, 8)
    const result = await cluster(features, { k: 2, device: device(), ...quick, minSteps: 20 })
    expect(result.batch).toBe(4)
    expect(result.settings.pairs).toBe(3)
    expect(result.assignments).toHaveLength(4)
  })

  it('stops when its signal says so', async () => {
    const controller = new AbortController()
    const running = cluster(blobs(3, 12, 8), {
      k: 3,
      device: device(),
      ...quick,
      signal: controller.signal,
      onProgress: () => controller.abort(),
    })
    await expect(running).rejects.toMatchObject({ code: 'aborted' })
  })

  it.each([
    [{ k: 1 }, /k is 1, expected a whole number of 2 or more/],
    [{ k: 2.5 }, /k is 2.5/],
    [{ k: 37 }, /k is 37, but there are only 36 images; ask for 36 clusters at most/],
    [{ k: 3, restarts: 0 }, /restarts is 0, expected 1 or more/],
    [{ k: 3, noise: -1 }, /noise is -1, expected 0 or more/],
    [{ k: 3, alpha: NaN }, /alpha is NaN/],
    [{ k: 3, learningRate: 0 }, /learningRate is 0, expected above 0/],
  ])('refuses %o', async (options, message) => {
    const running = cluster(blobs(3, 12, 8), { device: device(), ...quick, ...options })
    await expect(running).rejects.toThrow(message)
    await expect(running).rejects.toMatchObject({ code: 'usage' })
  })

  it('has the presets of its documentation', () => {
    expect(scpSettings('keeplight', 10)).toMatchObject({
      noise: 2,
      pairs: 10,
      restarts: 8,
      alpha: 2,
    })
    expect(scpSettings('paper', 100)).toMatchObject({ noise: 0, pairs: 0, restarts: 1, alpha: 5 })
    expect(scpSettings('paper', 20)).toMatchObject({ alpha: 3, epochs: 30, batch: 512 })
  })
})

describe('kmeans', () => {
  const device = useDevice()

  it('finds blobs, and its centres are the means of their rows', async () => {
    const { labels, clean, count, dimension } = blobs(5, 20, 8)
    const options = { device: device(), count, dimension, k: 5, restarts: 4, seed: 1 }
    const { assignments, centres, inertia } = await kmeans(clean, options)
    expect(clusteringAccuracy(labels, assignments)).toBe(1)
    const means = new Float64Array(5 * dimension)
    assignments.forEach((cluster, row) => {
      for (let d = 0; d < dimension; d++) {
        means[cluster * dimension + d]! += clean[row * dimension + d]! / 20
      }
    })
    centres.forEach((value, i) => expect(value).toBeCloseTo(means[i]!, 5))
    expect(inertia).toBeCloseTo(inertiaOf(clean, dimension, assignments, 5), 4)
  })

  it('keeps every cluster in use when rows coincide', async () => {
    const data = new Float32Array(12 * 2)
    data.fill(1, 20)
    const { assignments } = await kmeans(data, { device: device(), count: 12, dimension: 2, k: 2 })
    expect(new Set(assignments).size).toBe(2)
    expect(assignments[11]).toBe(assignments[10])
  })

  it('refuses more clusters than rows', async () => {
    const options = { device: device(), count: 2, dimension: 2, k: 3 }
    await expect(kmeans(new Float32Array(4), options)).rejects.toThrow(/k is 3, expected 1 to 2/)
  })
})
