import { describe, expect, it } from 'vitest'
import { createDevice, type Device } from '../../src/runtime/device.ts'
import { KeeplightError } from '../../src/runtime/errors.ts'
import { add, scale } from '../../src/runtime/ops/elementwise.ts'
import { linear } from '../../src/runtime/ops/matmul.ts'
import { record } from '../../src/runtime/plan.ts'
import { recoverDevice, withRecovery } from '../../src/runtime/recovery.ts'
import { randomUniform } from '../../src/kernels/random.ts'
import { scaleKernel } from '../../src/kernels/elementwise.ts'
import { scope } from '../../src/runtime/tensor.ts'
import { hashBits } from '../support/compare.ts'
import { destroyAt } from '../support/destroyAt.ts'
import { openDevice } from '../support/device.ts'
import { errorOf } from '../support/errorOf.ts'
import { randomArray } from '../support/random.ts'

async function rejectionOf(work: Promise<unknown>): Promise<KeeplightError> {
  const error = await work.then(
    () => new Error('nothing was thrown'),
    (error: unknown) => error,
  )
  if (error instanceof KeeplightError) return error
  throw error
}

async function withDevice(body: (device: Device) => Promise<void>): Promise<void> {
  const device = await openDevice()
  try {
    await body(device)
  } finally {
    device.close()
  }
}

describe('recoverDevice', () => {
  it('does nothing to a sound device', () =>
    withDevice(async (device) => {
      const { gpu } = device
      const x = device.tensor(Float32Array.of(1, 2), [2])
      await recoverDevice(device)
      expect(device.gpu).toBe(gpu)
      expect(device.generation).toBe(0)
      expect([...(await x.read())]).toEqual([1, 2])
    }))

  it('brings constants back, and loses everything else until it is written', () =>
    withDevice(async (device) => {
      const weights = device.constant(Float32Array.of(1, 2, 3, 4), [2, 2])
      const x = device.tensor(Float32Array.of(5, 6), [1, 2])
      const before = linear(x, weights)
      expect([...(await before.read())]).toEqual([17, 39])
      const { lost, gpu } = device
      gpu.destroy()
      expect((await lost).code).toBe('device-lost')
      const shared = [recoverDevice(device), recoverDevice(device)]
      await Promise.all(shared)
      expect(device.generation).toBe(1)
      expect(device.gpu).not.toBe(gpu)
      expect(device.loss).toBeUndefined()

      expect([...(await weights.read())]).toEqual([1, 2, 3, 4])
      const uses = [
        rejectionOf(x.read()),
        rejectionOf(before.read()),
        Promise.resolve(errorOf(() => linear(x, weights))),
        Promise.resolve(
          errorOf(() =>
            device.dispatch(scaleKernel, { x: weights.rows(0, 1), out: x }, { size: 2, scale: 1 }),
          ),
        ),
      ]
      for (const error of await Promise.all(uses)) {
        expect(error.code).toBe('device-lost')
        expect(error.message).toMatch(
          /f32\[1, 2\] was lost with its device and has no copy on the host/,
        )
      }
      x.write(Float32Array.of(5, 6))
      expect([...(await linear(x, weights).read())]).toEqual([17, 39])
      // The pool hands out nothing of the old device.
      const fresh = device.empty([1, 2])
      device.dispatch(scaleKernel, { x, out: fresh }, { size: 2, scale: 2 })
      expect([...(await fresh.read())]).toEqual([10, 12])
    }))

  it('restores what was last written to a constant, and not what a kernel made of it', () =>
    withDevice(async (device) => {
      const written = device.constant(Float32Array.of(1, 2), [2])
      const changed = device.constant(Float32Array.of(1, 2), [2])
      const freed = device.constant(Float32Array.of(7, 7), [2])
      const later = Float32Array.of(3, 4)
      written.write(later)
      later.fill(0)
      device.dispatch(scaleKernel, { x: written, out: changed }, { size: 2, scale: 2 })
      freed.dispose()
      const reused = device.tensor(Float32Array.of(8, 8), [2])
      await device.sync()
      device.gpu.destroy()
      await recoverDevice(device)
      expect([...(await written.read())]).toEqual([3, 4])
      expect((await rejectionOf(changed.read())).code).toBe('device-lost')
      expect((await rejectionOf(reused.read())).code).toBe('device-lost')
    }))

  it('runs plans again: constants inside, inputs written, captured weights, twice', () =>
    withDevice(async (device) => {
      const weights = device.constant(randomArray(64, 1), [8, 8])
      const x = device.tensor(new Float32Array(8), [1, 8])
      const state = device.tensor(new Float32Array(8), [1, 8])
      const plan = await record(device, { x }, ({ x }) =>
        scope(() => {
          const bias = device.tensor(randomArray(8, 2), [8])
          return add(linear(linear(x, weights, bias), weights), state)
        }),
      )
      const values = randomArray(8, 3)
      plan.run({ x: values })
      const expected = hashBits(await plan.outputs.read())
      for (let loss = 0; loss < 2; loss++) {
        device.gpu.destroy()
        await device.lost
        expect(errorOf(() => plan.run({ x: values })).code).toBe('device-lost')
        await recoverDevice(device)
        expect((await rejectionOf(plan.outputs.read())).code).toBe('device-lost')
        // What it captured and nothing restored is named before anything runs.
        const error = errorOf(() => plan.run({ x: values }))
        expect(error.code).toBe('device-lost')
        expect(error.message).toMatch(/^add\S*: b f32\[1, 8\] was lost/)
        state.write(new Float32Array(8))
        plan.run({ x: values })
        expect(hashBits(await plan.outputs.read())).toBe(expected)
      }
      plan.dispose()
    }))

  it('refuses a plan whose own state went with the device', () =>
    withDevice(async (device) => {
      const plan = await record(device, {}, () => {
        const counter = device.tensor(Float32Array.of(1), [1])
        const next = scale(counter, 2)
        device.dispatch(scaleKernel, { x: next, out: counter }, { size: 1, scale: 1 })
        return counter
      })
      plan.runMany(3)
      expect([...(await plan.outputs.read())]).toEqual([8])
      device.gpu.destroy()
      await recoverDevice(device)
      expect(errorOf(() => plan.run()).message).toMatch(/^scale\S*: x f32\[1\] was lost/)
      plan.outputs.write(Float32Array.of(8))
      plan.run()
      expect([...(await plan.outputs.read())]).toEqual([16])
    }))

  it('fails what was running with the cause, and hangs nothing', () =>
    withDevice(async (device) => {
      const x = device.constant(new Float32Array(1000).fill(1), [1000])
      const plan = await record(device, { x }, ({ x }) => scale(x, 2))
      const start = performance.now()
      plan.runMany(20)
      const work = [
        plan.outputs.read(),
        device.sync(),
        plan.replay(1000).then(() => device.sync()),
        x.read(),
      ].map(rejectionOf)
      device.gpu.destroy()
      for (const error of await Promise.all(work)) {
        expect(error.code).toBe('device-lost')
        expect(error.message).toMatch(/^the GPU device was lost \(destroyed\): /)
        expect(error.message).toContain('recoverDevice')
      }
      expect(performance.now() - start).toBeLessThan(10_000)
      await recoverDevice(device)
      await plan.replay(3)
      expect((await plan.outputs.read())[999]).toBe(2)
    }))

  it('says so when the device was closed, or nothing comes back', async () => {
    const closed = await openDevice()
    closed.close()
    await closed.lost
    expect((await rejectionOf(recoverDevice(closed))).code).toBe('disposed')

    const device = await openDevice()
    device.gpu.destroy()
    await device.lost
    Object.defineProperty(device, 'requestAdapter', { value: () => Promise.resolve(null) })
    const gone = await rejectionOf(recoverDevice(device))
    expect(gone.code).toBe('device')
    expect(gone.message).toContain('no adapter came back')
    Object.defineProperty(device, 'requestAdapter', { value: undefined })
    expect((await rejectionOf(recoverDevice(device))).message).toContain('works once')
    device.close()
  })
})

describe('withRecovery', () => {
  it('resumes a counting plan to the same bits wherever its device was lost', () =>
    withDevice(async (device) => {
      const points = import.meta.env.VITE_KEEPLIGHT_ADAPTER === 'lavapipe' ? 40 : 10
      const weights = device.constant(
        randomArray(64, 1).map((value) => value * 0.3),
        [8, 8],
      )
      const start = randomArray(8, 3)
      const state = device.tensor(start, [1, 8])
      const plan = await record(device, {}, () =>
        scope(() => {
          const next = linear(state, weights, device.tensor(randomArray(8, 2), [8]))
          device.dispatch(scaleKernel, { x: next, out: state }, { size: 8, scale: 0.9 })
        }),
      )
      const run = async (): Promise<string> => {
        let [step, values] = [0, start]
        return withRecovery(device, async () => {
          state.write(values)
          let current = values
          for (let done = step; done < 24; done += 3) {
            step = done
            values = current
            await plan.replay(1)
            plan.runMany(2)
            current = await state.read()
          }
          return hashBits(current)
        })
      }
      const expected = await run()
      for (let point = 0; point < points; point++) {
        const end = destroyAt(device, Math.floor(randomUniform(9, 0, point) * 24))
        expect(await run(), `point ${point}`).toBe(expected)
        expect(end()).toBe(true)
      }
      expect(device.generation).toBe(points)
    }))

  it('goes on after a loss, gives up after too many, and passes other errors on', () =>
    withDevice(async (device) => {
      const x = device.constant(Float32Array.of(21), [1])
      let tries = 0
      const work = async (): Promise<number> => {
        tries++
        const y = scope(() => scale(x, 2))
        if (tries < 3) device.gpu.destroy()
        return (await y.read())[0]!
      }
      expect(await withRecovery(device, work)).toBe(42)
      expect(tries).toBe(3)
      tries = 0
      expect((await rejectionOf(withRecovery(device, work, { losses: 1 }))).code).toBe(
        'device-lost',
      )
      expect(tries).toBe(2)
      await recoverDevice(device)
      const failing = (): Promise<never> => Promise.reject(new KeeplightError('usage', 'no'))
      expect((await rejectionOf(withRecovery(device, failing))).code).toBe('usage')
    }))
})

describe('devices one after the other and beside each other', () => {
  it('are created and released fifty times', async () => {
    for (let i = 0; i < 50; i++) {
      const device = await openDevice()
      const x = device.tensor(Float32Array.of(i), [1])
      const [pending, outcome] = [scale(x, 2).read(), i % 5 === 4 ? 'closed' : 'read']
      if (outcome === 'closed') {
        device.close()
        expect((await rejectionOf(pending)).code).toBe('disposed')
      } else expect([...(await pending)]).toEqual([2 * i])
      device.close()
    }
  })

  it('work on when one of two is released, or lost', async () => {
    const [first, second, third] = [await openDevice(), await openDevice(), await openDevice()]
    const x = first.tensor(Float32Array.of(3), [1])
    second.tensor(Float32Array.of(4), [1])
    second.close()
    third.gpu.destroy()
    expect((await third.lost).code).toBe('device-lost')
    expect([...(await scale(x, 2).read())]).toEqual([6])
    await recoverDevice(third)
    expect([...(await scale(third.tensor(Float32Array.of(5), [1]), 2).read())]).toEqual([10])
    expect([...(await scale(x, 3).read())]).toEqual([9])
    first.close()
    third.close()
  })

  it('are refused when they are lost at birth', async () => {
    const gpu = {
      requestAdapter: () =>
        Promise.resolve({
          features: new Set<string>(),
          limits: {},
          info: {},
          requestDevice: () =>
            Promise.resolve({ lost: Promise.resolve({ reason: 'unknown', message: 'dead' }) }),
        }),
    } as unknown as GPU
    const error = await rejectionOf(createDevice({ gpu }))
    expect(error.code).toBe('device-lost')
    expect(error.message).toContain('the GPU device was lost (unknown): dead')
  })
})
