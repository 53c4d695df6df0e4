import { afterEach, describe, expect, it } from 'vitest'
import type { Features } from '../../src/model/features.ts'
import type { VisionModel } from '../../src/model/model.ts'
import { sizeClass } from '../../src/runtime/pool.ts'
import { chooseSource } from '../../src/train/chooseSource.ts'
import { cluster, type ClusterOptions } from '../../src/train/cluster.ts'
import { StreamingSource } from '../../src/train/streamingSource.ts'
import { hashBits } from '../support/compare.ts'
import { destroyAt } from '../support/destroyAt.ts'
import { useDevice } from '../support/device.ts'
import { failAllocations } from '../support/failAllocations.ts'
import { randomArray } from '../support/random.ts'
import { rejectionOf } from '../support/rejectionOf.ts'
import { smallModel } from '../support/smallModel.ts'
import { DIMENSION, features, onlineViews } from '../support/smallViews.ts'

const settings = {
  ...{ k: 3, seed: 5, noise: 0.5, pairs: 3, restarts: 2, epochs: 1, minSteps: 12, batch: 8 },
  snapshotEvery: 5,
} as const

describe('training from another source', () => {
  const device = useDevice()
  let model: VisionModel | undefined
  afterEach(async () => {
    await model?.dispose()
    model = undefined
  })

  async function train(data: Features, options: Partial<ClusterOptions> = {}): Promise<string> {
    const result = await cluster(data, { ...settings, ...options, device: device() })
    const head = [...result.head.values()].map(({ data }) => hashBits(data))
    const losses = Float64Array.from(result.trace.map(({ total }) => total))
    return [...head, hashBits(losses), hashBits(result.assignments)].join(' ')
  }

  it('streams to the same bits, also where the GPU turns out to have no memory', async () => {
    const expected = await train(features)
    expect(await train(features, { memoryBudget: 0 })).toBe(expected)
    // Of a size that no buffer waits in for reuse.
    const views = randomArray(900 * DIMENSION, 3)
    const large = { ...features, count: 300, clean: views.slice(0, 300 * DIMENSION) }
    const size = views.byteLength
    const data = { ...large, augmented: views.slice(300 * DIMENSION) }
    const used = device().stats().usedBytes
    const restore = failAllocations(device(), (bytes) => bytes === sizeClass(size))
    const options = { ...{ batch: 8, pairs: 0, noise: 0 }, normalize: true, runs: 1 }
    const chosen = await chooseSource(device(), data, { ...options, memoryBudget: 1e6 })
    restore()
    expect(chosen).toBeInstanceOf(StreamingSource)
    chosen.dispose()
    expect(device().stats().usedBytes).toBe(used)
  })

  const open = (): VisionModel => (model ??= smallModel(device()))
  const online = (changes: object = {}) => onlineViews(open(), changes)
  /** Clean features alone: what training takes of views, it makes. */
  const clean: Features = { ...features, views: 0, augmented: new Float32Array() }

  it('trains on fresh views to the same bits twice, resumed within an epoch, and after a loss of the device', async () => {
    const passes: number[] = []
    const told = { onProgress: ({ pass, done }: { pass: number; done: number }) => {
        if (done === 0) passes.push(pass)
      } } // prettier-ignore
    const checkpoints: Uint8Array<ArrayBuffer>[] = []
    const run = (changes: object = {}, options: Partial<ClusterOptions> = {}): Promise<string> =>
      train(clean, { online: online({ ...told, ...changes }), ...options })
    const expected = await run({}, { onCheckpoint: (bytes) => void checkpoints.push(bytes) })
    // 12 steps, 3 to an epoch.
    expect(passes).toEqual([0, 1, 2, 3])
    expect(await run({}, { resume: checkpoints[0] })).toBe(expected)
    expect(passes).toEqual([0, 1, 2, 3, 1, 2, 3])

    const ended = destroyAt(device(), 9)
    expect(await run()).toBe(expected)
    expect(ended()).toBe(true)
    expect(device().generation).toBe(1)

    passes.length = 0
    expect(await run({ refresh: 2 })).not.toBe(expected)
    expect(passes).toEqual([0, 1])
    expect(await run({}, { seed: 6 })).not.toBe(expected)
    expect(await train(features)).not.toBe(expected)
    const other = rejectionOf(run({ refresh: 2 }, { resume: checkpoints[0] }))
    expect((await other).message).toMatch(/checkpoint: its online is 1, this run's is 2/)
  })

  it('names pictures that do not belong to the features', async () => {
    const { encoders } = online()
    const fewer = { model: open(), pictures: () => [] }
    const failure = async (changes: object): Promise<string> =>
      (await rejectionOf(train(clean, { online: online(changes) }))).message
    expect(await failure({ encoders: [fewer] })).toMatch(/0 pictures for 26 features/)
    expect(await failure({ encoders: [...encoders, ...encoders] })).toMatch(
      /16 columns, the encoders give 16 \+ 16/,
    )
    expect(await failure({ refresh: 0 })).toMatch(/refresh is 0/)
  })
})
