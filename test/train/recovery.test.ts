import { describe, expect, it } from 'vitest'
import { randomBits, randomUniform } from '../../src/kernels/random.ts'
import type { Device } from '../../src/runtime/device.ts'
import { KeeplightError } from '../../src/runtime/errors.ts'
import { recoverDevice } from '../../src/runtime/recovery.ts'
import { cluster, type ClusterOptions } from '../../src/train/cluster.ts'
import { kmeans, type KmeansResult } from '../../src/train/kmeans.ts'
import { hashBits } from '../support/compare.ts'
import { destroyAt } from '../support/destroyAt.ts'
import { openDevice } from '../support/device.ts'
import { randomArray } from '../support/random.ts'
import { smallModel } from '../support/smallModel.ts'

const IMAGES = 12
const pixels = Uint8Array.from({ length: IMAGES * 8 * 8 * 3 }, (_, i) => randomBits(1, 0, i) >>> 24)

const settings = {
  k: 3,
  seed: 5,
  noise: 0.5,
  pairs: 3,
  restarts: 2,
  epochs: 1,
  minSteps: 12,
  batch: 8,
  snapshotEvery: 5,
} as const

/** Hashes of what a whole run gives. */
async function train(
  device: Device,
  clean: Float32Array,
  options: Partial<ClusterOptions> = {},
): Promise<string> {
  const features = { count: IMAGES, dimension: 16, views: 0, clean, augmented: new Float32Array() }
  const result = await cluster(features, { ...settings, ...options, device })
  const head = [...result.head.values()].map(({ data }) => hashBits(data))
  const trace = result.trace.map(({ total }) => total)
  return [hashBits(result.probabilities), hashBits(Float64Array.from(trace)), ...head].join(' ')
}

// Every recovery compiles all pipelines again, which takes software drivers their time; the other 40
// of the plan's 50 points are in test/runtime/recovery.test.ts, where there are few to compile.
const quick = import.meta.env.VITE_KEEPLIGHT_ADAPTER === 'lavapipe'
const POINTS = quick
  ? { embedding: 2, training: 8, kmeans: 5 }
  : { embedding: 1, training: 1, kmeans: 1 }

describe('work on a device that is lost at a random submit', () => {
  it('goes on to the same bits, or fails with the cause within 10 s', async () => {
    const device = await openDevice()
    // Another device, so that either compiles only its own pipelines again.
    const encoding = await openDevice()
    const model = smallModel(encoding)
    const expectedFeatures = await model.embedPixels(pixels)
    const expected = { features: hashBits(expectedFeatures), run: '' }
    expect(expectedFeatures.every(Number.isFinite)).toBe(true)
    expected.run = await train(device, expectedFeatures)
    // How often the loss is read, and so how often something is submitted, depends on the time it takes.
    const before = device.stats().submits
    expect(await train(device, expectedFeatures)).toBe(expected.run)
    const submits = device.stats().submits - before
    expect(submits).toBeGreaterThan(20)

    const seen = { embedding: 0, training: 0, resumed: 0 }
    for (let point = 0; point < POINTS.embedding + POINTS.training; point++) {
      const start = performance.now()
      if (point < POINTS.embedding) {
        // Embedding does not go on by itself: its call fails, and the next one gives the same bits.
        const end = destroyAt(encoding, point % 2)
        const error: unknown = await model.embedPixels(pixels).then(
          () => undefined,
          (error: unknown) => error,
        )
        expect(end(), 'the device was destroyed').toBe(true)
        expect(error).toBeInstanceOf(KeeplightError)
        expect((error as KeeplightError).code).toBe('device-lost')
        expect((error as KeeplightError).message).toContain('lost (destroyed)')
        await recoverDevice(encoding)
        expect(hashBits(await model.embedPixels(pixels)), `point ${point}`).toBe(expected.features)
        seen.embedding++
      } else {
        const at = Math.floor(randomUniform(7, 0, point) * 0.8 * submits)
        const end = destroyAt(device, at)
        const steps: number[] = []
        const run = await train(device, expectedFeatures, {
          onProgress: ({ restart, step }) => steps.push(restart * settings.minSteps + step),
        })
        expect(end(), 'the device was destroyed').toBe(true)
        expect(run, `point ${point}, submit ${at} of ${submits}`).toBe(expected.run)
        // Steps come again after a loss, but not from the first on when there was a snapshot.
        const again = steps.findIndex((step, i) => i > 0 && step <= steps[i - 1]!)
        if (again > 0 && steps[again]! % settings.minSteps > settings.snapshotEvery) seen.resumed++
        seen.training++
      }
      expect(performance.now() - start).toBeLessThan(10_000)
    }
    expect(encoding.generation).toBe(POINTS.embedding)
    expect(device.generation).toBe(POINTS.training)
    expect(seen).toMatchObject({ embedding: POINTS.embedding, training: POINTS.training })
    if (quick) expect(seen.resumed).toBeGreaterThan(0)

    // Nothing of the lost devices stays.
    const { usedBytes } = device.stats()
    await train(device, expectedFeatures)
    expect(device.stats().usedBytes).toBe(usedBytes)
    await model.dispose()
    expect(encoding.stats().usedBytes).toBe(0)
    encoding.close()
    device.close()
  })

  it('seeds and assigns k-means again after a loss, to the same bits', async () => {
    const device = await openDevice()
    const data = randomArray(60 * 4, 8)
    const options = { device, count: 60, dimension: 4, k: 4, restarts: 3, seed: 2 }
    const run = async (): Promise<string> => {
      const { assignments, centres } = await kmeans(data, options)
      return [hashBits(assignments), hashBits(centres)].join(' ')
    }
    const expected = await run()
    const before = device.stats()
    expect(await run()).toBe(expected)
    const submits = device.stats().submits - before.submits
    for (let point = 0; point < POINTS.kmeans; point++) {
      const end = destroyAt(device, Math.floor(randomUniform(11, 0, point) * submits))
      expect(await run(), `point ${point}`).toBe(expected)
      expect(end(), 'the device was destroyed').toBe(true)
    }
    expect(device.stats().usedBytes).toBe(before.usedBytes)
    device.close()
  })

  it('gives up when the device is lost again and again', async () => {
    const device = await openDevice()
    const data = randomArray(60 * 4, 8)
    const run = (): Promise<KmeansResult> =>
      kmeans(data, { device, count: 60, dimension: 4, k: 4, restarts: 3, seed: 2 })
    const submit = device.submit.bind(device)
    device.submit = (encoder, batch) => {
      submit(encoder, batch)
      device.gpu.destroy()
    }
    const error: unknown = await run().catch((error: unknown) => error)
    expect((error as KeeplightError).code).toBe('device-lost')
    expect(device.generation).toBeLessThanOrEqual(3)
    device.submit = submit
    await recoverDevice(device)
    const { assignments } = await run()
    expect(hashBits(assignments)).toBe(hashBits((await run()).assignments))
    device.close()
  })
})
