import { describe, expect, it } from 'vitest'
import { MlpHead, scpHeadConfig, type HeadWeights } from '../../src/model/mlpHead.ts'
import { sampleBatchKernel } from '../../src/kernels/sampleBatch.ts'
import type { Device } from '../../src/runtime/device.ts'
import { record, type Plan } from '../../src/runtime/plan.ts'
import { scope, type Tensor } from '../../src/runtime/tensor.ts'
import { cosineSchedule } from '../../src/train/schedule.ts'
import { scpStep, TrainingState, type TrainingSnapshot } from '../../src/train/scpStep.ts'
import { hashBits } from '../support/compare.ts'
import { useDevice } from '../support/device.ts'
import { randomArray } from '../support/random.ts'

const [COUNT, D, K, BATCH, STEPS] = [48, 8, 3, 8, 1000]
const WEIGHTS = { crossEntropy: 1, confidence: 1, entropy: 2 }

/** A small SCP run, drawn and trained on the GPU as the real one. */
class Run {
  readonly head: MlpHead
  readonly state: TrainingState
  readonly step: () => void
  plan: Plan<Record<string, never>, void> | undefined

  constructor(readonly device: Device) {
    this.head = new MlpHead(device, { widths: [D, 12, 12, K], batchNorm: true })
    this.state = new TrainingState(device, this.head, cosineSchedule(STEPS, 1e-2))
    this.head.initialize(5)
    this.state.reset(5)
    const store = device.tensor(randomArray(2 * COUNT * D, 3), [2 * COUNT, D])
    const neighbours = device.tensor(new Uint32Array(1), [1])
    this.step = () =>
      scope(() => {
        const out = device.empty([2 * BATCH, D])
        device.dispatch(
          sampleBatchKernel,
          { store, neighbours, state: this.state.step as Tensor, out },
          {
            batch: BATCH,
            count: COUNT,
            views: 2,
            pairs: 0,
            dimension: D,
            stepsPerEpoch: COUNT / BATCH,
            firstRow: 0,
            rows: 2 * COUNT,
            noise: 0.1,
          },
        )
        scpStep(this.head, this.state, out, WEIGHTS)
      })
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

  async hash(): Promise<string> {
    const weights = [...(await this.head.read()).values()].map(({ data }) => hashBits(data))
    return [...weights, hashBits(await this.state.trace.read())].join(' ')
  }
}

describe('a training run', () => {
  const device = useDevice()

  it('gives the same bits twice, and resumed half-way in new objects', async () => {
    const first = await new Run(device()).record()
    await first.run(STEPS / 2)
    const half: { head: HeadWeights; state: TrainingSnapshot } = {
      head: await first.head.read(),
      state: await first.state.read(),
    }
    await first.run(STEPS / 2)
    const expected = await first.hash()
    const trace = await first.state.readTrace()
    expect(trace).toHaveLength(STEPS)
    expect(trace.every(({ total }) => Number.isFinite(total))).toBe(true)
    expect(trace.at(-1)!.total).toBeLessThan(trace[0]!.total - 0.5)

    const second = await new Run(device()).record()
    await second.run(STEPS)
    expect(await second.hash()).toBe(expected)

    const resumed = await new Run(device()).record()
    resumed.head.initialize(99)
    resumed.head.write(half.head)
    resumed.state.write(half.state)
    await resumed.run(STEPS / 2)
    expect(await resumed.hash()).toBe(expected)
  })

  it('takes 25 dispatches a step with the paper’s five layers', async () => {
    const head = new MlpHead(device(), scpHeadConfig(D, K))
    const state = new TrainingState(device(), head, cosineSchedule(10, 1e-3))
    head.initialize(1)
    state.reset(1)
    const rows = device().tensor(randomArray(2 * BATCH * D, 4), [2 * BATCH, D])
    const plan = await record(device(), {}, () => scpStep(head, state, rows, WEIGHTS))
    // And one that draws the batch.
    expect(plan.stats().dispatches).toBeLessThanOrEqual(24)
    plan.dispose()
  })

  it('gives the same bits eagerly and from a plan', async () => {
    const eager = new Run(device())
    for (let step = 0; step < 20; step++) eager.step()
    const planned = await new Run(device()).record()
    await planned.run(20)
    expect(await planned.hash()).toBe(await eager.hash())
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
      hashes.push(await run.hash())
    }
    device().createBuffer = create
    expect(hashes[0]).toBe(hashes[1])
    const plain = await new Run(device()).record()
    await plain.run(10)
    expect(await plain.hash()).toBe(hashes[0])
  })
})
