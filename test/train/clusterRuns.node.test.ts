import { describe, expect, it } from 'vitest'
import { randomUniform } from '../../src/kernels/random.ts'
import { MlpHead } from '../../src/model/mlpHead.ts'
import type { Device } from '../../src/runtime/device.ts'
import { cluster, type ClusterOptions, type ClusterResult } from '../../src/train/cluster.ts'
import { parseCheckpoint, serializeCheckpoint } from '../../src/train/checkpoint.ts'
import { runGroups } from '../../src/train/runGroups.ts'
import { ScpAdapter } from '../../src/train/scpAdapter.ts'
import { scpMaker, scpSettings } from '../../src/train/scpSettings.ts'
import { errorOf } from '../support/errorOf.ts'
import { useDevice } from '../support/device.ts'
import { randomArray } from '../support/random.ts'
import { rejectionOf } from '../support/rejectionOf.ts'

const [COUNT, D, K, STEPS] = [21, 8, 3, 10]
const features = {
  ...{ count: COUNT, dimension: D, views: 1 },
  clean: randomArray(COUNT * D, 1),
  augmented: randomArray(COUNT * D, 2),
}
const quick = { k: K, noise: 0.5, pairs: 2, epochs: 1, minSteps: STEPS, batch: 6, seed: 5 }

/** What two runs of the same bits share, whatever they trained beside. */
const resultOf = ({ groups: _, settings: __, ...result }: ClusterResult): unknown => result

describe('restarts side by side', () => {
  const device = useDevice()
  const run = (options: Partial<ClusterOptions>): Promise<ClusterResult> =>
    cluster(features, { ...quick, device: device(), ...options })

  it.each<Partial<ClusterOptions>>([
    {},
    {
      ...{ hidden: [12, 6], norm: 'layer', activation: 'gelu', dropout: 0.25 },
      ...{ initialization: 'truncated-normal', normalize: false, symmetric: false },
    },
    { norm: 'none', activation: 'silu', stopGradient: true, entropyOver: 'mean', dropLast: false },
    { normViews: 'apart', crossEntropyWeight: 0, finalLearningRate: 1e-4, beta1: 0.5, beta2: 0.9 },
  ])('are what each would be by itself: %o', async (options) => {
    const together = await run({ ...options, restarts: 3 })
    expect(together.groups).toEqual([3])
    expect(new Set(together.restarts.map(({ loss }) => loss)).size).toBe(3)
    for (const r of [0, 2]) {
      const alone = await run({ ...options, restarts: 1, seed: 5 + r })
      expect(alone.restarts[0]).toEqual(together.restarts[r])
      expect(alone.runs[0]).toEqual(together.runs[r])
      if (r !== together.kept) continue
      expect(alone.head).toEqual(together.head)
      expect(alone.trace).toEqual(together.trace)
      expect(alone.probabilities).toEqual(together.probabilities)
    }
    const { inertia, kept, restarts, runs, assignments } = together
    expect(inertia).toBe(Math.min(...restarts.map((restart) => restart.inertia)))
    expect(restarts[kept]!.inertia).toBe(inertia)
    expect(runs[kept]).toEqual(assignments)
    const stepsPerEpoch = options.dropLast === false ? 4 : 3
    expect(together.steps).toBe(Math.max(STEPS, stepsPerEpoch))
  })

  it('change with every choice', async () => {
    const choices: readonly Partial<ClusterOptions>[] = [
      {},
      ...[{ alpha: 3 }, { crossEntropyWeight: 2 }, { confidenceWeight: 0 }],
      ...[{ symmetric: false }, { stopGradient: true }, { entropyOver: 'mean' as const }],
      ...[{ normViews: 'apart' as const }, { dropLast: false }, { normalize: false }],
      ...[{ finalLearningRate: 1e-4 }, { beta1: 0.8 }, { beta2: 0.9 }, { dropout: 0.1 }],
    ]
    const losses: number[] = []
    for (const choice of choices) {
      losses.push((await run({ restarts: 1, minSteps: 4, ...choice })).restarts[0]!.loss)
    }
    expect(losses.every(Number.isFinite)).toBe(true)
    expect(losses.filter((loss, i) => losses.indexOf(loss) < i)).toEqual([])
  })

  it('go on from any checkpoint to the same bits, in groups or not', async () => {
    const expected = await run({ restarts: 3 })
    const files: Uint8Array<ArrayBuffer>[] = []
    // Memory for less than one run: every run is a group.
    const options = {
      ...{ restarts: 3, memory: 1, snapshotEvery: 4 },
      onCheckpoint: (bytes: Uint8Array<ArrayBuffer>) => void files.push(bytes),
    }
    const grouped = await run(options)
    expect(grouped.groups).toEqual([1, 1, 1])
    expect(resultOf(grouped)).toEqual(resultOf(expected))
    // Two within each group, and one after each but the last.
    expect(files).toHaveLength(8)
    for (const at of [0, 2, 4]) {
      const checkpoint = parseCheckpoint(files[at]!)
      expect(serializeCheckpoint(checkpoint)).toEqual(files[at])
      const steps: number[] = []
      const resumed = await run({
        ...options,
        resume: files[at],
        onCheckpoint: () => undefined,
        onProgress: ({ restart, step }) => steps.push(restart * STEPS + step),
      })
      expect(resultOf(resumed)).toEqual(resultOf(expected))
      expect(steps[0]).toBeGreaterThan([4, 10, 18][at / 2]!)
    }

    const other = await rejectionOf(run({ ...options, resume: files[0], alpha: 1 }))
    expect(other).toMatchObject({ code: 'input' })
    expect(String(other)).toMatch(/checkpoint: its alpha is 2, this run's is 1/)
    const clean = features.clean.map((value, i) => (i === 7 ? value + 1 : value))
    const changed = cluster(
      { ...features, clean },
      { ...quick, ...options, device: device(), resume: files[0] },
    )
    expect(String(await rejectionOf(changed))).toMatch(/checkpoint: its features is/)
    expect(errorOf(() => parseCheckpoint(files[0]!.slice(0, 99)))).toMatchObject({ code: 'format' })
  })

  it('leave a checkpoint when they are stopped', async () => {
    const controller = new AbortController()
    let file: Uint8Array | undefined
    const stopped = run({
      restarts: 2,
      signal: controller.signal,
      onProgress: () => controller.abort(),
      onCheckpoint: (bytes) => void (file = bytes),
    })
    expect(await rejectionOf(stopped)).toMatchObject({ code: 'aborted' })
    const resumed = await run({ restarts: 2, resume: file })
    expect(resultOf(resumed)).toEqual(resultOf(await run({ restarts: 2 })))
  })

  it('call a probe at the steps it names', async () => {
    const seen: [number, number[]][] = []
    await run({
      restarts: 2,
      probe: {
        steps: [0, 7, STEPS],
        take: async (step, adapter) => {
          const x = device().tensor(features.clean, [COUNT, D])
          const logits = adapter.logits(x, false)
          seen.push([step, [...logits.shape]])
          const values = await logits.read()
          expect(values.every(Number.isFinite)).toBe(true)
          for (const tensor of [x, logits]) tensor.dispose()
        },
      },
    })
    expect(seen).toEqual([0, 7, STEPS].map((step) => [step, [2, COUNT, K]]))
  })
})

/** SCP whose run of this seed begins with weights that are no numbers. */
const spoiled = (seed: number): ClusterOptions['method'] => ({
  name: 'scp',
  maker: (device, sizes) => {
    const adapter = scpMaker(scpSettings('keeplight', K))(device, sizes) as ScpAdapter
    const { initialize } = adapter.head
    adapter.head.initialize = (seeds) => {
      initialize.call(adapter.head, seeds)
      const weight = adapter.parameters.get('0.weight')
      const size = weight.size / sizes.runs
      const data = Float32Array.from({ length: weight.size }, (_, i) => {
        const own = seeds[Math.floor(i / size)]!
        return own === seed ? NaN : (randomUniform(own, 9, i % size) - 0.5) / 2
      })
      weight.write(data)
    }
    return adapter
  },
})

describe('a loss that is not finite', () => {
  const device = useDevice()
  const run = (options: Partial<ClusterOptions>): Promise<ClusterResult> =>
    cluster(features, { ...quick, device: device(), ...options })

  it('leaves out its run, and no bit of the others, side by side or in groups', async () => {
    const method = spoiled(6)!
    const { kept, restarts, runs, inertia } = await run({ restarts: 3, method })
    expect(restarts[1]).toMatchObject({ seed: 6, inertia: NaN, diverged: { step: 0, terms: [] } })
    expect(runs.map(({ length }) => length)).toEqual([COUNT, 0, COUNT])
    expect(kept).not.toBe(1)
    const alone = await run({ restarts: 1, seed: 5 + kept, method })
    expect(alone.inertia).toBe(inertia)
    const grouped = await run({ restarts: 3, method, memory: 1 })
    expect(grouped.restarts).toEqual(restarts)
  })

  it('stops when no run is left, with the step, the term and what to do', async () => {
    const used = device().stats().usedBytes
    const all = await rejectionOf(run({ restarts: 1, seed: 6, method: spoiled(6)! }))
    expect(all).toMatchObject({ code: 'internal' })
    expect(String(all)).toMatch(
      /scp: the loss of seed 6 is not finite from step 0 on, in every term, so the weights were not finite before it; lower the learning rate \(now 0.001\)/,
    )
    const wild = await rejectionOf(run({ restarts: 2, norm: 'none', learningRate: 1e30 }))
    expect(String(wild)).toMatch(
      /of all 2 runs, first that of seed \d is not finite from step [1-9]/,
    )
    expect(device().stats().usedBytes).toBe(used)
  })
})

describe('runGroups', () => {
  const device = useDevice()
  const groups = (limits: Partial<Device>, memory: number, restarts = 50): number[] => {
    const widths = [64, 64, 64, 10]
    const weights = { crossEntropy: 1, confidence: 1, entropy: 1 }
    const adapter = new ScpAdapter(device(), { widths }, weights)
    try {
      return runGroups({ ...device(), ...limits } as Device, adapter, 128, restarts, memory)
    } finally {
      adapter.dispose()
    }
  }

  it('takes all runs that fit memory and a binding, in groups as even as can be', () => {
    const maxBindingBytes = 2 ** 27
    expect(groups({ maxBindingBytes }, 2 ** 30)).toEqual([50])
    // Parameters of 36 KiB, activations of 32 KiB: 12 runs to 7/8 of half a MiB.
    expect(groups({ maxBindingBytes: 2 ** 19 }, 2 ** 30)).toEqual([10, 10, 10, 10, 10])
    expect(groups({ maxBindingBytes }, 1, 3)).toEqual([1, 1, 1])
  })

  it('gives names of PyTorch’s Sequential to layers with dropout and without norms', () => {
    const names = (config: Omit<ConstructorParameters<typeof MlpHead>[1], 'widths'>): string[] => {
      const head = new MlpHead(device(), { widths: [4, 6, 3], ...config })
      head.dispose()
      return [...head.parameters.tensors.keys()]
    }
    expect(names({})).toEqual(['0.weight', '1.weight', '1.bias', '3.weight', '3.bias'])
    expect(names({ norm: 'layer', dropout: 0.1 })).toEqual([
      '0.weight',
      '0.bias',
      '1.weight',
      '1.bias',
      '4.weight',
      '4.bias',
    ])
    expect(names({ norm: 'none' })).toEqual(['0.weight', '0.bias', '2.weight', '2.bias'])
  })
})
