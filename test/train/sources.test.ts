import { describe, expect, it } from 'vitest'
import { drawView, prepareViews } from '../../src/data/augment.ts'
import { normalizeRows } from '../../src/model/features.ts'
import { scope } from '../../src/runtime/tensor.ts'
import { ResidentSource, type BatchSource } from '../../src/train/batchSource.ts'
import { FeatureStore, storeChunks } from '../../src/train/featureStore.ts'
import { HostRows } from '../../src/train/hostRows.ts'
import { nearestNeighbours } from '../../src/train/neighbours.ts'
import { StreamingSource } from '../../src/train/streamingSource.ts'
import { ViewEmbedder } from '../../src/train/viewEmbedder.ts'
import { expectClose } from '../support/compare.ts'
import { useDevice } from '../support/device.ts'
import { limitBindings } from '../support/limitBindings.ts'
import { smallModel } from '../support/smallModel.ts'
import {
  COUNT,
  DIMENSION,
  features,
  onlineViews,
  pictures,
  streamOf,
} from '../support/smallViews.ts'

const seeds = [7, 8, 9]

describe('batches from features on the host', () => {
  const device = useDevice()
  const batch = 6

  async function batches(source: BatchSource, steps: number[]): Promise<number[][]> {
    const found: number[][] = []
    for (const step of steps) {
      expect(await source.prepare?.(step, 3, seeds)).toBeOneOf([undefined, 1, 2, 3])
      const state = device().tensor(Uint32Array.from(seeds.flatMap((seed) => [step, seed])), [3, 2])
      const drawn = scope(() => {
        const { features, images } = source.enqueue(state)
        return [features, images] as const
      })
      found.push([...(await drawn[0].read()), ...(await drawn[1].read())])
      for (const tensor of [...drawn, state]) tensor.dispose()
    }
    return found
  }

  it.each([
    { pairs: 4, normalize: true, dropLast: true },
    { pairs: 0, normalize: false, dropLast: false },
  ])('gives the rows of a resident store, bit for bit: $pairs pairs', async (given) => {
    const { pairs, normalize } = given
    const sizes = { count: COUNT, dimension: DIMENSION, neighbours: 4 }
    const neighbours = await nearestNeighbours(device(), features.clean, sizes)
    const options = {
      ...given,
      batch,
      noise: 0.3,
      neighbours: pairs > 0 ? neighbours : undefined,
    }
    const store = new FeatureStore(device(), features, normalize)
    const rows = new HostRows(features, normalize)
    expect(rows.deviation).toBe(store.deviation)
    const resident = new ResidentSource(device(), store, options)
    // Room for two steps: blocks end, are gone back to, and are filled ahead and passed over.
    const stepBytes = 3 * 2 * batch * DIMENSION * 4
    const streaming = await limitBindings(device(), 2 * stepBytes, () =>
      Promise.resolve(new StreamingSource(device(), rows, { ...options, runs: 3 })),
    )
    const steps = [0, 1, 2, 3, 9, 8, 4, 5]
    expect(await batches(streaming, steps)).toEqual(await batches(resident, steps))
    resident.dispose()
    streaming.dispose()
  })
})

describe('fresh views', () => {
  const device = useDevice()

  it('embeds the views that the host makes of the same draws, chunk by chunk and encoder by encoder', async () => {
    const pass = 3
    const draws = { views: 2 * pass + 2, seed: 6 }
    const model = smallModel(device())
    const { preprocess } = model
    const bytes = preprocess.size ** 2 * 3
    const prepared = pictures.map((picture, image) => {
      return prepareViews(picture, preprocess, { ...draws, stream: streamOf(image) })
    })
    const blurred = [0, 1].flatMap((view) =>
      pictures.map((_, image) => drawView(6, streamOf(image), 2 * pass + view).blur),
    )
    const both = [0, 1].flatMap((view) =>
      prepared.flatMap((views) => [
        ...views.subarray((1 + 2 * pass + view) * bytes).subarray(0, bytes),
      ]),
    )
    const expected = await model.embedPixels(Uint8Array.from(both))
    normalizeRows(expected, DIMENSION)

    const { encoders } = onlineViews(model)
    const width = 2 * DIMENSION
    const chunks = await limitBindings(device(), 20 * width * 4, () =>
      Promise.resolve(
        storeChunks(device(), 2 * COUNT, width, (_, __, shape) => device().empty(shape)),
      ),
    )
    expect(chunks).toHaveLength(3)
    const target = { count: COUNT, dimension: width, chunks, normalize: true }
    const embedder = await ViewEmbedder.open(device(), target, [...encoders, ...encoders])
    const told: number[] = []
    await embedder.embed(6, pass, { onProgress: (done) => told.push(done) })
    expect(told).toEqual([32, 52, 84, 104])
    const parts = await Promise.all(chunks.map(({ tensor }) => tensor.read()))
    const table = Float32Array.from(parts.flatMap((part) => [...part]))
    let equal = 0
    for (let row = 0; row < 2 * COUNT; row++) {
      const wanted = expected.slice(row * DIMENSION, (row + 1) * DIMENSION)
      for (const encoder of [0, 1]) {
        const at = row * width + encoder * DIMENSION
        const found = table.slice(at, at + DIMENSION).map((value) => value * Math.SQRT2)
        // One level of 255 in a byte of a blurred view.
        expectClose(`row ${row}`, found, wanted, blurred[row] ? 2e-2 : 1e-5)
        if (found.every((value, i) => Math.abs(value - wanted[i]!) < 1e-5)) equal++
      }
    }
    expect(equal).toBeGreaterThan(COUNT)
    embedder.dispose()
    chunks.forEach(({ tensor }) => tensor.dispose())
    await model.dispose()
  })
})
