/**
 * Ten thousand replays and ten thousand eager passes of a small training step: GPU and host memory must
 * stay flat. `node --expose-gc --import tsx bench/soak.ts [passes] [adapter]`; ends with 1 where they do not.
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
/** Growth of the host's memory that is put down to its collector. */
const HOST_GROWTH = 1.02

const passes = Number(process.argv[2] ?? 10_000)
const device = await createDevice({ adapter: process.argv[3] ?? 'lavapipe' })
const { step, x } = makeStep(device)
let flat = true

const plan = await record(device, { x }, ({ x }) => step(x))
await soak('replays', async (i) => {
  plan.run()
  if (i % 20 === 0) await plan.outputs.read()
})
plan.dispose()
await soak('eager passes', async (i) => {
  const loss = step(x)
  if (i % 20 === 0) await loss.read()
  loss.dispose()
})
device.close()
process.exitCode = flat ? 0 : 1

/** Runs `pass` over and over, and compares memory after a fifth with memory at the end. */
async function soak(name: string, pass: (i: number) => Promise<void>): Promise<void> {
  let before = { gpu: 0, host: 0 }
  for (let i = 1; i <= passes; i++) {
    await pass(i)
    if (i === Math.ceil(passes / 5)) before = await memory()
  }
  const after = await memory()
  const held = after.gpu === before.gpu && after.host <= HOST_GROWTH * before.host
  flat &&= held
  const mib = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`
  console.log(
    `${passes} ${name}: GPU ${before.gpu} → ${after.gpu} bytes, ` +
      `host ${mib(before.host)} → ${mib(after.host)}: ${held ? 'flat' : 'GROWS'}`,
  )
}

async function memory(): Promise<{ gpu: number; host: number }> {
  await device.sync()
  globalThis.gc?.()
  return { gpu: device.stats().bytes, host: process.memoryUsage().rss }
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
