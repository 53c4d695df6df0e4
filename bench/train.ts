/**
 * Speed of SCP's training: milliseconds a step by width, clusters, batch and runs, the whole schedule, and
 * what runs side by side save against runs one after another.
 *
 *   npm run bench:train -- [--dimensions LIST] [--runs LIST] [--schedule SECONDS] [--json [FILE]]
 */
import {
  cosineSchedule,
  createDevice,
  FeatureStore,
  measureSpeed,
  randomUniform,
  record,
  ResidentSource,
  ScpAdapter,
  scpHeadConfig,
  scope,
  timePlan,
  trainingStep,
  TrainingState,
  type Device,
  type Plan,
  type Speed,
} from '../src/index.node.ts'
import { headFlops } from './kernels/whole.ts'
import {
  circumstances,
  describeAdapter,
  readOptions,
  resultsPath,
  runMain,
  wholeNumber,
  wholeNumbers,
  writeWhole,
} from './options.ts'

/** Epochs of the paper, and its batches in an epoch of CIFAR-10: 97 full ones of 512. */
const SCHEDULE = { epochs: 30, steps: 30 * 97 }
/** Images of the made collection. Only where the rows come from depends on them. */
const COUNT = 2048
const LEARNING_RATE = 1e-3

interface Shape {
  readonly dimension: number
  readonly clusters: number
  readonly batch: number
  readonly runs: number
}

interface Result extends Shape {
  readonly ms: number
  readonly dispatches: number
  /** Of the step's products, per second, and of what its dispatches bind. */
  readonly gflops: number
  readonly ofFma: number
  readonly gigabytes: number
  readonly ofCopy: number
}

const optionTable = {
  dimensions: { value: 'LIST', default: '192,512,768', help: 'sizes of the features' },
  clusters: { value: 'LIST', default: '10,100', help: 'numbers of clusters' },
  batches: { value: 'LIST', default: '128,512', help: 'images of a step' },
  runs: { value: 'LIST', default: '1,2,8', help: 'runs side by side' },
  'run-batch': { value: 'N', default: '64', help: 'images of a step where runs are compared' },
  'run-dimension': { value: 'N', default: '64', help: 'size of the features there' },
  budget: { value: 'MS', default: '300', help: 'milliseconds of a batch of steps, of about 5' },
  schedule: {
    value: 'S',
    default: '30',
    help: 'seconds that the whole schedule may take; beyond, it is extrapolated',
  },
  adapter: { value: 'NAME', help: 'lavapipe, swiftshader, or part of the name of a GPU' },
  json: {
    value: 'FILE',
    optional: true,
    help: 'writes the results; without FILE beside those of bench:kernels, as ADAPTER-train.json',
  },
  date: { value: 'TEXT', help: 'noted in the JSON' },
}

async function main(): Promise<number> {
  const options = readOptions('Speed of training.', optionTable)
  if (!options) return 0
  const list = (name: 'dimensions' | 'clusters' | 'batches' | 'runs'): number[] =>
    wholeNumbers(name, options[name]!)
  const budget = wholeNumber('budget', options.budget!)
  const scheduleMs = 1000 * wholeNumber('schedule', options.schedule!)
  const device = await createDevice({ adapter: options.adapter })
  try {
    console.log(`adapter: ${describeAdapter(device)}; kernel variant ${device.kernelVariant}`)
    const limits = await measureSpeed(device)
    console.log(
      `limits: ${limits.fmaGflops.toFixed(1)} GFLOP/s of FMA, ${limits.copyGBs.toFixed(1)} GB/s of copying\n`,
    )
    const bench = new TrainBench(device, limits, budget)
    const [dimensions, clusters, batches] = [list('dimensions'), list('clusters'), list('batches')]
    const base = { dimension: dimensions[0], clusters: clusters[0], batch: 512, runs: 1 }
    console.log(HEAD)
    const results: Result[] = []
    const take = async (shape: Shape): Promise<Result> => {
      const known = results.find((result) => {
        return (Object.keys(shape) as (keyof Shape)[]).every((key) => result[key] === shape[key])
      })
      if (known) return known
      const result = await bench.measure(shape)
      results.push(result)
      console.log(rowOf(result))
      return result
    }
    for (const dimension of dimensions) await take({ ...base, dimension })
    for (const k of clusters) await take({ ...base, clusters: k })
    for (const batch of batches) await take({ ...base, batch })

    const side = {
      dimension: wholeNumber('run-dimension', options['run-dimension']!),
      clusters: clusters[0],
      batch: wholeNumber('run-batch', options['run-batch']!),
    }
    const ratios = []
    const one = await take({ ...side, runs: 1 })
    for (const runs of list('runs')) {
      const { ms } = await take({ ...side, runs })
      ratios.push({ runs, ms, ratio: (runs * one.ms) / ms })
    }
    console.log('')
    for (const { runs, ms, ratio } of ratios.filter((each) => each.runs > 1)) {
      console.log(
        `${runs} runs side by side, d ${side.dimension}, batch ${side.batch}: ${ms.toFixed(2)} ms a step, ` +
          `${(runs * one.ms).toFixed(2)} ms one after another: ${ratio.toFixed(2)} times as fast`,
      )
    }
    const schedule = await bench.schedule(base, scheduleMs)
    const { steps, measured, seconds } = schedule
    const how = measured === steps ? 'measured' : `extrapolated from ${measured} steps in this time`
    console.log(
      `${steps} steps (30 epochs of CIFAR-10), d ${base.dimension}, batch 512: ${seconds.toFixed(1)} s, ${how}`,
    )
    if (options.json !== undefined) {
      const path = options.json || resultsPath(device).replace(/\.json$/, '-train.json')
      const record = { ...circumstances(device, options.date), limits, results, ratios, schedule }
      await writeWhole(path, `${JSON.stringify(record, null, 2)}\n`)
      console.log(`written: ${path}`)
    }
  } finally {
    device.close()
  }
  return 0
}

const HEAD =
  '   d    K  batch  runs   ms/step  dispatches  GFLOP/s  of FMA    GB/s  of copy\n' +
  '-'.repeat(74)

function rowOf(result: Result): string {
  const { dimension, clusters, batch, runs, ms, dispatches } = result
  const { gflops, ofFma, gigabytes, ofCopy } = result
  const percent = (value: number): string => `${(value * 100).toFixed(0)} %`
  return [
    String(dimension).padStart(4),
    String(clusters).padStart(5),
    String(batch).padStart(7),
    String(runs).padStart(6),
    ms.toFixed(2).padStart(10),
    String(dispatches).padStart(12),
    gflops.toFixed(1).padStart(9),
    percent(ofFma).padStart(8),
    gigabytes.toFixed(2).padStart(8),
    percent(ofCopy).padStart(9),
  ].join('')
}

/** A plan of training steps, what it holds, and what a step costs. */
interface Program {
  readonly plan: Plan<Record<string, never>, void>
  readonly flops: number
  dispose(): void
}

class TrainBench {
  readonly #device: Device
  readonly #limits: Speed
  readonly #budget: number

  constructor(device: Device, limits: Speed, budget: number) {
    this.#device = device
    this.#limits = limits
    this.#budget = budget
  }

  /** The fastest of some batches of replays. */
  async measure(shape: Shape): Promise<Result> {
    const program = await prepare(this.#device, shape)
    try {
      const { plan, flops } = program
      const ms = (await timePlan(this.#device, plan, this.#budget)) * 1000
      const gflops = flops / ms / 1e6
      const gigabytes = bytesOf(shape) / ms / 1e6
      const { dispatches } = plan.stats()
      const ofFma = gflops / this.#limits.fmaGflops
      const ofCopy = gigabytes / this.#limits.copyGBs
      return { ...shape, ms, dispatches, gflops, ofFma, gigabytes, ofCopy }
    } finally {
      program.dispose()
    }
  }

  /** The paper's 2,910 steps, or as many of them as the time allows. */
  async schedule(
    shape: Shape,
    allowedMs: number,
  ): Promise<{ steps: number; measured: number; seconds: number }> {
    const { steps } = SCHEDULE
    const program = await prepare(this.#device, shape)
    try {
      const { plan } = program
      await timePlan(this.#device, plan, 1)
      const start = performance.now()
      let measured = 0
      let elapsed = 0
      while (measured < steps && elapsed < allowedMs) {
        const each = measured === 0 ? Infinity : elapsed / measured
        const left = Math.max(1, Math.floor((allowedMs - elapsed) / each))
        const count = Math.min(measured === 0 ? 1 : 100, steps - measured, left)
        await plan.replay(count)
        await this.#device.sync()
        measured += count
        elapsed = performance.now() - start
      }
      return { steps, measured, seconds: (elapsed / measured / 1000) * steps }
    } finally {
      program.dispose()
    }
  }
}

/** Records a step of SCP with the paper's head on made features. */
async function prepare(
  device: Device,
  { dimension, clusters, batch, runs }: Shape,
): Promise<Program> {
  const random = (stream: number): Float32Array =>
    Float32Array.from({ length: COUNT * dimension }, (_, i) => randomUniform(0, stream, i) - 0.5)
  const features = { count: COUNT, dimension, views: 1, clean: random(0), augmented: random(1) }
  const config = scpHeadConfig(dimension, clusters)
  const weights = { crossEntropy: 1, confidence: 1, entropy: 2 }
  const adapter = new ScpAdapter(device, config, weights, runs)
  const state = new TrainingState(adapter, cosineSchedule(SCHEDULE.steps, LEARNING_RATE))
  const store = new FeatureStore(device, features)
  const source = new ResidentSource(device, store, { batch, pairs: 0, noise: 2 })
  const seeds = Array.from({ length: runs }, (_, run) => run)
  adapter.initialize(seeds)
  state.reset(seeds)
  const plan = await record(device, {}, () => {
    scope(() => trainingStep(adapter, state, source.enqueue(state.step)))
  })
  return {
    plan,
    flops: runs * headFlops(config.widths, 2 * batch),
    dispose() {
      for (const each of [plan, source, state, adapter]) each.dispose()
    },
  }
}

/**
 * What a step reads and writes at least: every parameter with its gradient and moments once (Adam: 7 times
 * its size, forward and backward 3 more), and each hidden layer's activations about 10 times (linear, norm,
 * and their gradients).
 */
function bytesOf({ dimension, clusters, batch, runs }: Shape): number {
  const parameters = 4 * dimension ** 2 + dimension * clusters
  const activations = 4 * 2 * batch * dimension
  return 4 * runs * (10 * parameters + 10 * activations)
}

await runMain('bench:train', main)
