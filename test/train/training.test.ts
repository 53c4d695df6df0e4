import { describe, expect, it } from 'vitest'
import { scpHeadConfig, type MlpHeadConfig } from '../../src/model/mlpHead.ts'
import type { Device } from '../../src/runtime/device.ts'
import { record, type Plan } from '../../src/runtime/plan.ts'
import { scope } from '../../src/runtime/tensor.ts'
import { ResidentSource } from '../../src/train/batchSource.ts'
import { FeatureStore } from '../../src/train/featureStore.ts'
import { cosineSchedule } from '../../src/train/schedule.ts'
import { ScpAdapter } from '../../src/train/scpAdapter.ts'
import { trainingStep, TrainingState } from '../../src/train/trainingState.ts'
import { hashBits } from '../support/compare.ts'
import { useDevice } from '../support/device.ts'
import { randomArray } from '../support/random.ts'

const [COUNT, D, K, BATCH, STEPS] = [48, 8, 3, 8, 1000]
const WEIGHTS = { crossEntropy: 1, confidence: 1, entropy: 2 }
const features = {
  ...{ count: COUNT, dimension: D, views: 1 },
  clean: randomArray(COUNT * D, 3),
  augmented: randomArray(COUNT * D, 4),
}

/** Small SCP runs, drawn and trained on the GPU as the real ones. */
class Run {
  readonly adapter: ScpAdapter
  readonly state: TrainingState
  readonly step: () => void
  plan: Plan<Record<string, never>, void> | undefined

  constructor(
    readonly device: Device,
    readonly seeds: readonly number[] = [5],
    config: MlpHeadConfig = { widths: [D, 12, 12, K] },
  ) {
    this.adapter = new ScpAdapter(device, config, WEIGHTS, seeds.length)
    this.state = new TrainingState(this.adapter, cosineSchedule(STEPS, 1e-2))
    this.adapter.initialize(seeds)
    this.state.reset(seeds)
    const store = new FeatureStore(device, features)
    const source = new ResidentSource(device, store, { batch: BATCH, pairs: 0, noise: 0.3 })
    this.step = () =>
      scope(() => trainingStep(this.adapter, this.state, source.enqueue(this.state.step)))
  }

  async record(): Promise<this> {
    this.plan = await record(this.device, {}, this.step)
    return this
  }

  async run(steps: number): Promise<void> {
    for (let done = 0; done < steps; done += 100) {
      this.plan!.runMany(Math.min(100, steps - done))
      await this.device.sync()
    }
  }

  /** Of one run's weights, statistics and losses. */
  async hash(run = 0, steps = STEPS): Promise<string> {
    const weights = [...(await this.adapter.read(run)).values()].map(({ data }) => hashBits(data))
    const trace = (await this.state.readTrace(run, steps)).map(({ total }) => total)
    return [...weights, hashBits(Float64Array.from(trace))].join(' ')
  }
}

describe('a training run', () => {
  const device = useDevice()

  it('gives the same bits twice, and resumed half-way in new objects', async () => {
    const first = await new Run(device()).record()
    await first.run(STEPS / 2)
    const half = await first.state.read(STEPS / 2)
    await first.run(STEPS / 2)
    const expected = await first.hash()
    const trace = await first.state.readTrace(0, STEPS)
    expect(trace).toHaveLength(STEPS)
    expect(trace.every(({ total }) => Number.isFinite(total))).toBe(true)
    expect(trace.at(-1)!.total).toBeLessThan(trace[0]!.total - 0.5)

    const second = await new Run(device()).record()
    await second.run(STEPS)
    expect(await second.hash()).toBe(expected)

    const resumed = await new Run(device()).record()
    resumed.adapter.initialize([99])
    resumed.state.write(half, [5])
    await resumed.run(STEPS / 2)
    expect(await resumed.hash()).toBe(expected)
  })

  it.each([1, 3])(
    'takes 25 dispatches a step with the paper’s five layers: %i runs',
    async (runs) => {
      const seeds = Array.from({ length: runs }, (_, run) => run)
      const run = await new Run(device(), seeds, scpHeadConfig(D, K)).record()
      expect(run.plan!.stats().dispatches).toBeLessThanOrEqual(25)
      run.plan!.dispose()
    },
  )

  it('gives a run the same bits whatever the others are', async () => {
    const steps = 20
    const hashes = async (seeds: readonly number[]): Promise<string[]> => {
      const runs = await new Run(device(), seeds).record()
      await runs.run(steps)
      return Promise.all(seeds.map((_, run) => runs.hash(run, steps)))
    }
    const together = await hashes([5, 6, 7])
    expect(new Set(together).size).toBe(3)
    expect(await hashes([6])).toEqual([together[1]])
    expect(await hashes([7, 5])).toEqual([together[2], together[0]])
  })

  it('gives the same bits eagerly and from a plan', async () => {
    const eager = new Run(device())
    for (let step = 0; step < 20; step++) eager.step()
    const planned = await new Run(device()).record()
    await planned.run(20)
    expect(await planned.hash(0, 20)).toBe(await eager.hash(0, 20))
  })

  it('does not depend on what its memory held before: NaN, then 42', async () => {
    const hashes: string[] = []
    const create = device().createBuffer.bind(device())
    for (const pattern of [NaN, 42]) {
      device().createBuffer = (size, label) => {
        const buffer = create(size, label)
        device().gpu.queue.writeBuffer(buffer.gpu, 0, new Float32Array(size / 4).fill(pattern))
        return buffer
      }
      const run = await new Run(device()).record()
      await run.run(10)
      hashes.push(await run.hash(0, 10))
    }
    device().createBuffer = create
    expect(hashes[0]).toBe(hashes[1])
    const plain = await new Run(device()).record()
    await plain.run(10)
    expect(await plain.hash(0, 10)).toBe(hashes[0])
  })
})
