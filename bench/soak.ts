/**
 * Ten thousand replays and ten thousand eager passes of a small training step: GPU and host memory must
 * stay flat. Ends with 1 where they do not.
 *
 *     node --expose-gc --import tsx bench/soak.ts [passes] [adapter] [replays | eager]
 */
import {
  createDevice,
  layerNorm,
  linear,
  mean,
  multiply,
  record,
  softmax,
} from '../src/index.node.ts'
import { adam, adamTable, backward, Parameters, randomUniform, scope } from '../src/index.node.ts'
import type { Device, Tensor } from '../src/index.node.ts'

const [ROWS, INNER, OUTER] = [16, 24, 32]
/** Growth of the JavaScript heap, after a collection, that is put down to chance. */
const HEAP_GROWTH = 1.02
/** The same for all of the host's memory, whose level moves by so much both ways (`NOTES.md`). */
const HOST_GROWTH = 1.05
/** Looks at memory, evenly spread over the passes. */
const SAMPLES = 100

const passes = Number(process.argv[2] ?? 10_000)
const device = await createDevice({ adapter: process.argv[3] ?? 'lavapipe' })
const { step, x } = makeStep(device)
const only = process.argv[4]
let flat = true

if (only !== 'eager') {
  const plan = await record(device, { x }, ({ x }) => step(x))
  await soak('replays', async (i) => {
    plan.run()
    if (i % 20 === 0) await plan.outputs.read()
  })
  plan.dispose()
}
if (only !== 'replays') {
  await soak('eager passes', async (i) => {
    const loss = step(x)
    if (i % 20 === 0) await loss.read()
    loss.dispose()
  })
}
device.close()
process.exitCode = flat ? 0 : 1

/**
 * Runs `pass` over and over. The GPU's bytes must be the same after a fifth and at the end. Of the host's
 * memory, medians over the second fifth and over the last are compared, as single looks tell of the moment.
 */
async function soak(name: string, pass: (i: number) => Promise<void>): Promise<void> {
  const samples: Memory[] = []
  const start = performance.now()
  for (let i = 1; i <= passes; i++) {
    await pass(i)
    if (i % Math.ceil(passes / SAMPLES) === 0 || i === passes) samples.push(await memory())
  }
  const fifth = (which: number): Memory[] =>
    samples.slice((which * samples.length) / 5, ((which + 1) * samples.length) / 5)
  const medians = (of: keyof Memory): number[] =>
    [0, 1, 2, 3, 4].map((which) => median(fifth(which).map((look) => look[of])))
  const growth = (of: keyof Memory): number => medians(of)[4]! / medians(of)[1]!
  const gpus = [fifth(1)[0]!.gpu, samples.at(-1)!.gpu]
  const held = gpus[1] === gpus[0] && growth('heap') <= HEAP_GROWTH && growth('host') <= HOST_GROWTH
  flat &&= held
  const mib = (bytes: number): string => (bytes / 2 ** 20).toFixed(1)
  const seconds = ((performance.now() - start) / 1000).toFixed(0)
  console.log(
    `${passes} ${name} in ${seconds} s: GPU ${gpus.join(' → ')} bytes, ` +
      `heap × ${growth('heap').toFixed(3)}, host × ${growth('host').toFixed(3)}: ` +
      `${held ? 'flat' : 'GROWS'}`,
  )
  const list = (of: keyof Memory): string => medians(of).map(mib).join(' ')
  const spread = samples.slice(samples.length / 5).map(({ host }) => host)
  console.log(
    `  medians of fifths in MiB: host ${list('host')}, heap ${list('heap')}; ` +
      `host after the first from ${mib(Math.min(...spread))} to ${mib(Math.max(...spread))}`,
  )
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)]!
}

interface Memory {
  readonly gpu: number
  readonly host: number
  /** JavaScript's share of the host's. */
  readonly heap: number
}

async function memory(): Promise<Memory> {
  await device.sync()
  globalThis.gc?.()
  const { rss, heapUsed } = process.memoryUsage()
  return { gpu: device.stats().bytes, host: rss, heap: heapUsed }
}

/** A training step over two linear layers around a layer norm. */
function makeStep(device: Device): { step: (x: Tensor<'f32'>) => Tensor<'f32'>; x: Tensor<'f32'> } {
  const values = (size: number, stream: number): Float32Array =>
    Float32Array.from({ length: size }, (_, i) => randomUniform(1, stream, i) - 0.5)
  const shapes = new Map([
    ['first', [OUTER, INNER]],
    ['weight', [OUTER]],
    ['bias', [OUTER]],
    ['second', [INNER, OUTER]],
  ])
  const parameters = new Parameters(device, shapes)
  parameters.write(
    new Map(Array.from(shapes, ([name, [n = 1, m = 1]], i) => [name, values(n * m, i)])),
  )
  const { size } = parameters.values
  const zeros = (): Tensor<'f32'> => device.tensor(new Float32Array(size), [size])
  const state = { moments: zeros(), squares: zeros() }
  const schedule = device.tensor(adamTable([1e-3]), [1, 4])
  const count = device.tensor(Uint32Array.of(0), [1])
  const step = (x: Tensor<'f32'>): Tensor<'f32'> =>
    scope(() => {
      const hidden = linear(x, parameters.get('first'), undefined, { activation: 'gelu' })
      const normal = layerNorm(hidden, parameters.get('weight'), parameters.get('bias'))
      const loss = mean(multiply(softmax(linear(normal, parameters.get('second'))), x))
      backward(loss, parameters.list())
      adam(parameters, state, schedule, count)
      return loss
    })
  return { step, x: device.tensor(values(ROWS * INNER, 9), [ROWS, INNER]) }
}
