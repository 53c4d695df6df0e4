import { KeeplightError, record, scope, type Device, type Tensor } from '../../src/index.ts'
import type { TensorArray } from '../../src/runtime/dtype.ts'
import { sizeOf, type Shape } from '../../src/runtime/shape.ts'
import { GRADIENT_TOLERANCE, TOLERANCE, type OpCase, type Tensors } from '../catalogue/case.ts'
import { catalogue, titleOf } from '../catalogue/index.ts'
import { measure } from '../catalogue/measure.ts'
import { enqueue, runCase, upload } from '../catalogue/run.ts'
import { Draws } from './draws.ts'
import { randomCase } from './shapes.ts'

/**
 * Random calls of the public API, right and wrong. A right one must give what the catalogue's
 * reference gives; a wrong one a KeeplightError. Neither may hang, leave memory in use, or leave an
 * error for a later sync, which would mean that the GPU found what the host should have.
 */
export interface FuzzOptions {
  readonly cases: number
  readonly seed: number
  /** Kinds that take part; default all. */
  readonly kinds?: readonly string[]
}

/** Far above what a case takes on a software adapter, compiling included. */
const TIMEOUT_MS = 60_000

interface Context {
  readonly device: Device
  /** A closed device, and a tensor that it left behind. */
  readonly closed: Device
  readonly other: Device
  readonly orphan: Tensor<'f32'>
  readonly draws: Draws
}

/** What a case did, for the report of a failure; throws what it must not. */
type Kind = (context: Context) => Promise<string>

const ODD = [0, -1, NaN, 1.5, Infinity, 2 ** 40, 2 ** 53]

function fail(what: string): never {
  throw new Error(what)
}

/** Runs what may throw a KeeplightError, and nothing else; true when it did. */
function refused(run: () => unknown): KeeplightError | undefined {
  try {
    scope(() => void run())
  } catch (error) {
    if (error instanceof KeeplightError) return error
    throw error
  }
  return undefined
}

/** As {@link refused}, of a call that must be refused. */
function mustRefuse(what: string, code: string | undefined, run: () => unknown): string {
  const error = refused(run)
  if (!error) fail(`${what}: was not refused`)
  if (code !== undefined && error.code !== code)
    fail(`${what}: ${error.code}, not ${code}: ${error.message}`)
  return what
}

/** Uploads a case, changes its inputs and calls the op. */
async function withInputs(
  { device, draws }: Context,
  change: (inputs: Record<string, Tensor>, opCase: OpCase, name: string) => void,
  call: (opCase: OpCase, inputs: Tensors, name: string) => string,
): Promise<string> {
  const opCase = draws.pick(catalogue.filter(({ inputs }) => Object.keys(inputs).length > 0))
  const inputs: Record<string, Tensor> = { ...upload(device, opCase, draws.below(2) === 1) }
  const mine = Object.values(inputs)
  const name = draws.pick(Object.keys(inputs))
  try {
    change(inputs, opCase, name)
    return call(opCase, inputs as unknown as Tensors, name)
  } finally {
    for (const tensor of [...mine, ...Object.values(inputs)]) {
      if (tensor.device === device) tensor.dispose()
    }
  }
}

function zeros(dtype: string, size: number): TensorArray {
  const make: Record<string, () => TensorArray> = {
    f32: () => new Float32Array(size),
    f16: () => new Uint16Array(size),
    u32: () => new Uint32Array(size),
    i32: () => new Int32Array(size),
    i8: () => new Int8Array(size),
    u8: () => new Uint8Array(size),
  }
  return make[dtype]!()
}

export const kinds: Readonly<Record<string, Kind>> = {
  async catalogue({ device, draws }) {
    const opCase = draws.pick(catalogue)
    return check(device, opCase)
  },
  async shapes({ device, draws }) {
    return check(device, randomCase(draws))
  },
  disposed: (context) =>
    withInputs(
      context,
      (inputs, _, name) => inputs[name]!.dispose(),
      (opCase, inputs, name) =>
        mustRefuse(`${titleOf(opCase)}, ${name} disposed`, 'disposed', () => opCase.run(inputs)),
    ),
  closedDevice: (context) =>
    withInputs(
      context,
      (inputs, _, name) => {
        inputs[name]!.dispose()
        inputs[name] = context.orphan
      },
      (opCase, inputs, name) =>
        mustRefuse(`${titleOf(opCase)}, ${name} of a closed device`, undefined, () =>
          opCase.run(inputs),
        ),
    ),
  otherDevice: (context) =>
    withInputs(
      context,
      (inputs, opCase, name) => {
        inputs[name]!.dispose()
        const { data, shape } = opCase.inputs[name]!
        inputs[name] = context.other.tensor(data, shape)
      },
      (opCase, inputs, name) => {
        const what = `${titleOf(opCase)}, ${name} of another device`
        try {
          // An op of one tensor runs where that lies.
          if (Object.keys(inputs).length === 1) return what
          return mustRefuse(what, 'validation', () => opCase.run(inputs))
        } finally {
          inputs[name]!.dispose()
        }
      },
    ),
  /** Another shape or rank: refused, or a right call of other sizes. */
  shape: (context) =>
    withInputs(
      context,
      (inputs, _, name) => {
        const { draws, device } = context
        const rank = draws.below(6)
        const shape = Array.from({ length: rank }, () => 1 + draws.below(7))
        const { dtype } = inputs[name]!
        inputs[name]!.dispose()
        inputs[name] = device.tensor(zeros(dtype, sizeOf(shape)), shape)
      },
      (opCase, inputs, name) => {
        refused(() => opCase.run(inputs))
        return `${titleOf(opCase)}, ${name} as ${inputs[name]!.toString()}`
      },
    ),
  dtype: (context) =>
    withInputs(
      context,
      (inputs, _, name) => {
        const { draws, device } = context
        const { shape } = inputs[name]!
        const dtype = draws.pick(['f32', 'f16', 'u32', 'i32', 'i8', 'u8'])
        inputs[name]!.dispose()
        inputs[name] = device.tensor(zeros(dtype, sizeOf(shape)), shape)
      },
      (opCase, inputs, name) => {
        refused(() => opCase.run(inputs))
        return `${titleOf(opCase)}, ${name} as ${inputs[name]!.toString()}`
      },
    ),
  async badShape({ device, draws }) {
    const shape: Shape = Array.from({ length: 1 + draws.below(4) }, (_, i) =>
      i === 0 ? draws.pick(ODD) : draws.pick([1, 3, ...ODD]),
    )
    return mustRefuse(`empty [${shape.join(', ')}]`, undefined, () => device.empty(shape))
  },
  async views({ device, draws }) {
    const tensor = device.empty([1 + draws.below(200), 1 + draws.below(70)])
    try {
      const values = [...ODD, ...Array.from({ length: 8 }, () => draws.below(200))]
      const [start, count] = [draws.pick(values), draws.pick(values)]
      refused(() => tensor.rows(start, count).view([draws.pick(values), draws.pick(values)]))
      return `rows(${start}, ${count}) of ${tensor.toString()}`
    } finally {
      tensor.dispose()
    }
  },
  async whileRecording({ device, draws }) {
    const x = device.tensor(new Float32Array(8), [8])
    const call = draws.below(3)
    let error: unknown
    try {
      const pending: Promise<unknown>[] = []
      const plan = await record(device, { x }, () => {
        if (call === 0) x.write(new Float32Array(8))
        if (call === 1) pending.push(x.read().catch((reason: unknown) => (error = reason)))
        if (call === 2)
          pending.push(record(device, {}, () => []).catch((reason: unknown) => (error = reason)))
      })
      plan.dispose()
      await Promise.all(pending)
    } catch (reason) {
      error = reason
    } finally {
      x.dispose()
    }
    const what = `${['write', 'read', 'record'][call]} while recording`
    if (!(error instanceof KeeplightError) || error.code !== 'usage')
      fail(`${what}: ${String(error)}`)
    return what
  },
  /** A plan holds what it reads: inputs may go before it runs. */
  async disposedInPlan({ device, draws }) {
    const opCase = draws.pick(catalogue)
    const inputs = upload(device, opCase)
    const plan = await record(device, inputs, () => enqueue(device, opCase, inputs))
    Object.values(inputs).forEach((tensor) => tensor.dispose())
    plan.run()
    const out = await plan.outputs.out.read()
    plan.dispose()
    const after = refused(() => plan.run())
    if (after?.code !== 'disposed') fail(`${titleOf(opCase)}: a disposed plan ran`)
    const { max } = measure({ ...opCase, leaves: [] }, { out, gradients: {} }).out
    if (!(max <= (opCase.tolerance ?? TOLERANCE)))
      fail(`${titleOf(opCase)} in a plan: error ${max}`)
    return titleOf(opCase)
  },
}

async function check(device: Device, opCase: OpCase): Promise<string> {
  const { out, gradient } = measure(opCase, await runCase(device, opCase))
  const { tolerance = TOLERANCE, gradientTolerance = GRADIENT_TOLERANCE } = opCase
  if (!(out.max <= tolerance)) fail(`${titleOf(opCase)}: error ${out.max}`)
  if (!((gradient?.max ?? 0) <= gradientTolerance)) {
    fail(`${titleOf(opCase)}: gradient's error ${gradient?.max}`)
  }
  return titleOf(opCase)
}

/** Runs the cases and returns what went wrong, each with the seed and number that repeat it. */
export async function fuzz(
  open: () => Promise<Device>,
  { cases, seed, kinds: names = Object.keys(kinds) }: FuzzOptions,
): Promise<string[]> {
  const device = await open()
  const closed = await open()
  const other = await open()
  const orphan = closed.empty([4, 4])
  closed.close()
  const uncaptured: string[] = []
  device.gpu.addEventListener('uncapturederror', ({ error }) => uncaptured.push(error.message))
  const failures: string[] = []
  try {
    for (let number = 0; number < cases; number++) {
      const draws = new Draws(seed, number)
      const kind = draws.pick(names)
      const before = device.stats().usedBytes
      try {
        const what = await within(kinds[kind]!({ device, closed, other, orphan, draws }))
        await within(device.sync()).catch((error: unknown) =>
          fail(`${what}: left ${String(error)}`),
        )
        const left = device.stats().usedBytes - before
        if (left !== 0) fail(`${what}: ${left} bytes left in use`)
        if (uncaptured.length > 0) fail(`${what}: uncaptured ${uncaptured.splice(0).join('; ')}`)
      } catch (error) {
        failures.push(`seed ${seed}, case ${number} (${kind}): ${String(error)}`)
        await device.sync().catch(() => undefined)
      }
    }
  } finally {
    device.close()
    other.close()
  }
  return failures
}

async function within<T>(work: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('hangs')), TIMEOUT_MS)
  })
  try {
    return await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}
