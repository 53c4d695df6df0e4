import { describe, expect, it } from 'vitest'
import type { Device } from '../../src/runtime/device.ts'
import { add, gelu, multiply, relu, scale } from '../../src/runtime/ops/elementwise.ts'
import { layerNorm } from '../../src/runtime/ops/layerNorm.ts'
import { linear } from '../../src/runtime/ops/matmul.ts'
import { mean, sum } from '../../src/runtime/ops/reduce.ts'
import { softmax } from '../../src/runtime/ops/softmax.ts'
import { Parameters } from '../../src/runtime/parameters.ts'
import { record } from '../../src/runtime/plan.ts'
import { backward } from '../../src/runtime/tape.ts'
import { keep, scope, type Tensor } from '../../src/runtime/tensor.ts'
import { adam } from '../../src/train/adam.ts'
import { adamTable } from '../../src/train/schedule.ts'
import { hashBits } from '../support/compare.ts'
import { useDevice } from '../support/device.ts'
import { errorOf } from '../support/errorOf.ts'
import { randomArray } from '../support/random.ts'

type F32 = Tensor<'f32'>

const [ROWS, INNER, OUTER] = [9, 20, 33]

/** A small regression model: two linear layers around a layer norm, trained by Adam. */
function makeModel(device: Device) {
  const shapes = new Map<string, number[]>([
    ['first', [OUTER, INNER]],
    ['bias', [OUTER]],
    ['weight', [OUTER]],
    ['shift', [OUTER]],
    ['second', [INNER, OUTER]],
  ])
  const parameters = new Parameters(device, shapes)
  const values = Array.from(shapes, ([name, shape], seed) => {
    const size = shape.reduce((product, n) => product * n)
    return [name, randomArray(size, 50 + seed, 0.5)] as const
  })
  parameters.write(new Map(values))
  const { size } = parameters.values
  const zeros = (): F32 => device.tensor(new Float32Array(size), [size])
  const state = { moments: zeros(), squares: zeros() }
  const schedule = device.tensor(adamTable([0.1]), [1, 4])
  const count = device.tensor(Uint32Array.of(0), [1])
  const forward = (x: F32): F32 => {
    const hidden = linear(x, parameters.get('first'), parameters.get('bias'), {
      activation: 'gelu',
    })
    const normal = layerNorm(hidden, parameters.get('weight'), parameters.get('shift'))
    return softmax(linear(normal, parameters.get('second')))
  }
  const step = (x: F32): F32 =>
    scope(() => {
      const loss = mean(multiply(forward(x), x))
      backward(loss, parameters.list())
      adam(parameters, state, schedule, count)
      return loss
    })
  return { parameters, forward, step }
}

describe('a plan', () => {
  const device = useDevice()
  const used = (): number => device().stats().usedBytes
  const input = (seed: number): F32 =>
    device().tensor(randomArray(ROWS * INNER, seed), [ROWS, INNER])

  it('replays a forward pass bit for bit, with new inputs too', async () => {
    const { forward } = makeModel(device())
    const x = input(0)
    const plan = await record(device(), { x }, ({ x }) => ({ y: forward(x) }))
    const hashes = new Set<string>()
    for (const seed of [0, 1, 2, 1]) {
      const values = randomArray(ROWS * INNER, seed)
      plan.run({ x: values })
      const replayed = hashBits(await plan.outputs.y.read())
      x.write(values)
      const eager = await scope(() => forward(x)).read()
      expect(eager.every(Number.isFinite)).toBe(true)
      expect(replayed, `input ${seed}`).toBe(hashBits(eager))
      hashes.add(replayed)
    }
    expect(hashes.size).toBe(3)
    plan.dispose()
  })

  it('replays training steps bit for bit, one by one and many at once', async () => {
    const x = input(3)
    const eager = makeModel(device())
    let loss: F32 | undefined
    for (let i = 0; i < 6; i++) loss = eager.step(x)
    const losses = [hashBits(await loss!.read())]
    const weights = [hashBits(await eager.parameters.values.read())]

    for (const submits of [[6], [1, 1, 1, 1, 1, 1], [2, 4]]) {
      const replayed = makeModel(device())
      const plan = await record(device(), { x }, ({ x }) => replayed.step(x))
      for (const count of submits) plan.runMany(count)
      expect(plan.stats().runs).toBe(6)
      losses.push(hashBits(await plan.outputs.read()))
      weights.push(hashBits(await replayed.parameters.values.read()))
      plan.dispose()
    }
    expect(new Set(losses).size).toBe(1)
    expect(new Set(weights).size).toBe(1)
  })

  it('runs nothing while it is recorded', async () => {
    const x = device().tensor(Float32Array.of(1, 2), [2])
    const before = device().stats().dispatches
    const plan = await record(device(), { x }, ({ x }) => scale(x, 2))
    expect(device().stats().dispatches).toBe(before)
    expect(plan.stats()).toMatchObject({ dispatches: 1, runs: 0 })
    plan.run()
    expect([...(await plan.outputs.read())]).toEqual([2, 4])
    expect(device().stats().dispatches).toBe(before + 1)
    plan.dispose()
  })

  it('submits once however many runs', async () => {
    const x = device().tensor(Float32Array.of(1, 2), [2])
    const plan = await record(device(), { x }, ({ x }) => scale(scale(x, 2), 2))
    const before = device().stats()
    plan.runMany(10)
    expect(device().stats().submits - before.submits).toBe(1)
    expect(device().stats().dispatches - before.dispatches).toBe(20)
    await device().sync()
    plan.dispose()
  })

  it('keeps inputs that a run leaves out, and sees what the caller writes', async () => {
    const a = device().tensor(Float32Array.of(1, 2), [2])
    const b = device().tensor(Float32Array.of(10, 20), [2])
    const plan = await record(device(), { a, b }, ({ a, b }) => add(a, b))
    plan.run({ a: Float32Array.of(3, 4) })
    expect([...(await plan.outputs.read())]).toEqual([13, 24])
    plan.run({ b: Float32Array.of(100, 200) })
    expect([...(await plan.outputs.read())]).toEqual([103, 204])
    a.write(Float32Array.of(5, 6))
    plan.run()
    expect([...(await plan.outputs.read())]).toEqual([105, 206])
    plan.dispose()
  })

  it('sees weights that change after the recording', async () => {
    const x = device().tensor(Float32Array.of(1, 2), [2])
    const weight = device().tensor(Float32Array.of(3, 4), [2])
    const plan = await record(device(), { x }, ({ x }) => multiply(x, weight))
    weight.write(Float32Array.of(-1, -2))
    plan.run()
    expect([...(await plan.outputs.read())]).toEqual([-1, -4])
    plan.dispose()
  })

  it('keeps its constants apart from the memory that it reuses', async () => {
    const x = device().tensor(Float32Array.of(1, 2), [2])
    const plan = await record(device(), { x }, ({ x }) => {
      const first = scope(() => multiply(x, device().tensor(Float32Array.of(3, 4), [2])))
      let y = first
      for (let i = 0; i < 4; i++) y = scope(() => scale(y, 2))
      return y
    })
    for (let run = 0; run < 2; run++) {
      plan.run()
      expect([...(await plan.outputs.read())]).toEqual([48, 128])
    }
    plan.dispose()
  })

  it('shares memory among what is not alive at once, whoever disposes it', async () => {
    const size = 10_000
    const x = device().tensor(randomArray(size, 1), [size])
    let kept: F32 | undefined
    const chain = (): F32 => {
      let y = x
      for (let i = 0; i < 20; i++) {
        y = gelu(scale(y, 1.1))
        if (i === 3) kept = keep(y)
      }
      return y
    }
    const plan = await record(device(), { x }, chain)
    const fromPlan = kept!
    // Two in turn, one kept, and the output.
    const { arenaBytes, arenas, peakLiveBytes, largestBytes, constantBytes } = plan.stats()
    expect(largestBytes).toEqual([size * 4, size * 4])
    expect(peakLiveBytes).toBe(3 * size * 4)
    expect(arenaBytes).toBeLessThanOrEqual(4 * size * 4)
    expect(arenas).toBeGreaterThanOrEqual(2)
    expect(constantBytes).toBe(0)
    plan.run()
    const eager = chain()
    expect(hashBits(await plan.outputs.read())).toBe(hashBits(await eager.read()))
    expect(hashBits(await fromPlan.read())).toBe(hashBits(await kept!.read()))
    expect(String(plan.stats())).toMatch(
      /^40 dispatches, 0\.\d+ MiB in \d arenas \(at most 0\.\d+ MiB alive at once; largest two 0\.\d+ MiB and 0\.\d+ MiB, 1\.2 × both 0\.\d+ MiB\), 0\.000 MiB of constants, 0\.\d+ MiB captured, 1 runs$/,
    )
    plan.dispose()
    fromPlan.dispose()
  })

  it('has no memory to read or write before it is recorded', async () => {
    const x = device().tensor(randomArray(8, 1), [8])
    let inside: F32 | undefined
    const plan = await record(device(), { x }, () => {
      inside = keep(scale(x, 2))
      expect(errorOf(() => inside!.allocation.buffer).message).toContain('before it is recorded')
      return add(inside, x)
    })
    plan.run()
    expect((await inside!.read())[0]).toBe(2 * (await x.read())[0]!)
    plan.dispose()
  })

  it('gives back all memory when it is disposed', async () => {
    const before = used()
    const x = input(4)
    const captured = input(5)
    const plan = await record(device(), { x }, ({ x }) => ({ y: add(x, captured), n: 1 }))
    plan.run()
    await device().sync()
    captured.dispose()
    // The plan still reads it.
    plan.run()
    expect((await plan.outputs.y.read()).every(Number.isFinite)).toBe(true)
    plan.dispose()
    plan.dispose()
    expect(plan.outputs.y.disposed).toBe(true)
    expect(plan.stats().bytes).toBe(0)
    expect(x.disposed).toBe(false)
    x.dispose()
    expect(used()).toBe(before)
    for (const use of [() => plan.run(), () => plan.runMany(2)]) {
      const error = errorOf(use)
      expect(error.code).toBe('disposed')
      expect(error.message).toBe('plan: it was disposed; record it again')
    }
  })

  it('lives through the scope that it was recorded in', async () => {
    const x = device().tensor(Float32Array.of(1, 2), [2])
    const pending: { plan?: ReturnType<typeof record<{ x: F32 }, F32>> } = {}
    scope(() => {
      pending.plan = record(device(), { x }, ({ x }) => scale(x, 3))
    })
    const plan = await pending.plan!
    plan.run()
    expect([...(await plan.outputs.read())]).toEqual([3, 6])
    plan.dispose()
  })

  it('names inputs that it does not have', async () => {
    const x = device().tensor(Float32Array.of(1), [1])
    const y = device().tensor(Float32Array.of(1), [1])
    const plan = await record(device(), { x, y }, ({ x, y }) => add(x, y))
    const error = errorOf(() => plan.run({ z: Float32Array.of(1) } as never))
    expect(error.code).toBe('usage')
    expect(error.message).toBe('plan: no input z; its inputs are x, y')
    expect(errorOf(() => plan.run({ x: Float32Array.of(1, 2) })).message).toBe(
      'write: f32[1] takes 1 values of f32, got 2 of f32',
    )
    expect(plan.stats().runs).toBe(0)
    plan.dispose()
  })

  it.each([0, -1, 1.5, NaN])('refuses to run %d times', async (count) => {
    const x = device().tensor(Float32Array.of(1), [1])
    const plan = await record(device(), { x }, ({ x }) => scale(x, 2))
    const error = errorOf(() => plan.runMany(count))
    expect(error.code).toBe('usage')
    expect(error.message).toContain(`cannot run ${count} times`)
    plan.dispose()
  })

  it('refuses what could not be replayed while it is recorded', async () => {
    const x = device().tensor(Float32Array.of(1, 2), [2])
    const recording = (body: () => unknown): Promise<unknown> => record(device(), { x }, body)
    await expect(recording(() => x.write(Float32Array.of(3, 4)))).rejects.toMatchObject({
      code: 'usage',
      message: expect.stringContaining('would not be replayed'),
    })
    await expect(recording(() => device().recordInto({} as never, () => 0))).rejects.toMatchObject({
      code: 'usage',
      message: 'record: a plan is being recorded already',
    })
    let read: Promise<unknown> | undefined
    const plan = await record(device(), { x }, ({ x }) => {
      read = x.read().catch((error: unknown) => error)
      return scale(x, 2)
    })
    expect(await read).toMatchObject({
      code: 'usage',
      message: expect.stringContaining('nothing has run while a plan is recorded'),
    })
    plan.dispose()
  })

  it('leaves the device usable, and no memory taken, when its recording throws', async () => {
    const before = used()
    const x = device().tensor(Float32Array.of(1, 2), [2])
    const failing = record(device(), { x }, ({ x }) => {
      relu(scale(x, 2))
      throw new Error('stop')
    })
    await expect(failing).rejects.toThrow('stop')
    expect(device().recording).toBe(false)
    const total = sum(x)
    expect([...(await total.read())]).toEqual([3])
    total.dispose()
    x.dispose()
    expect(used()).toBe(before)
  })
})
