import { describe, expect, it } from 'vitest'
import { scaleKernel } from '../../src/kernels/elementwise.ts'
import { defineKernel, read, readWrite, type ElementType } from '../../src/kernels/kernel.ts'
import { createDevice, type Device } from '../../src/runtime/device.ts'
import { KeeplightError } from '../../src/runtime/errors.ts'
import { add, scale } from '../../src/runtime/ops/elementwise.ts'
import { record } from '../../src/runtime/plan.ts'
import { openDevice, useDevice } from '../support/device.ts'
import { errorOf } from '../support/errorOf.ts'

/** The error that a promise rejects with. */
async function rejectionOf(work: Promise<unknown>): Promise<KeeplightError> {
  const error = await work.then(
    () => new Error('nothing was thrown'),
    (error: unknown) => error,
  )
  if (error instanceof KeeplightError) return error
  throw error
}

/** A kernel of one thread with the given body. */
const tiny = (label: string, body: string, type: ElementType = 'f32') =>
  defineKernel({
    label,
    bindings: { x: read(type), out: readWrite('f32') },
    params: {},
    workgroups: () => [1, 1, 1],
    wgsl: `@compute @workgroup_size(1) fn main() { ${body} }`,
  })

describe('a device', () => {
  const device = useDevice()
  const pair = (): ReturnType<Device['tensor']> =>
    device().tensor(Float32Array.of(1, 2), [2]) as never

  it('says what it runs on', () => {
    const { adapter, features, limits, offsetAlignment } = device()
    expect(`${adapter.vendor}${adapter.architecture}${adapter.description}`).not.toBe('')
    expect([...features]).toEqual([...features].sort())
    expect(limits.maxBufferSize).toBeGreaterThanOrEqual(2 ** 28)
    expect(limits.maxComputeInvocationsPerWorkgroup).toBeGreaterThanOrEqual(256)
    expect(offsetAlignment).toBeGreaterThanOrEqual(4)
  })

  it('counts dispatches and submits, and submits long batches by itself', async () => {
    const x = pair() as never
    const before = device().stats()
    const outs = Array.from({ length: 300 }, () => scale(x, 2))
    const queued = device().stats()
    expect(queued.dispatches - before.dispatches).toBe(300)
    expect(queued.submits - before.submits).toBe(2)
    for (const out of [outs[0]!, outs[150]!, outs[299]!])
      expect([...(await out.read())]).toEqual([2, 4])
    expect(device().stats().submits).toBeGreaterThan(queued.submits)
  })

  it('reuses freed buffers, and gives them back on trim', () => {
    const before = device().stats()
    const first = device().empty([5000])
    const used = device().stats().usedBytes - before.usedBytes
    expect(used).toBeGreaterThanOrEqual(20_000)
    expect(used).toBeLessThanOrEqual(22_500)
    first.dispose()
    const second = device().empty([50, 100])
    expect(device().stats().reuses).toBe(before.reuses + 1)
    expect(device().stats().allocations).toBe(before.allocations + 1)
    second.dispose()
    expect(device().stats().usedBytes).toBe(before.usedBytes)
    device().trim()
    expect(device().stats().bytes).toBe(device().stats().usedBytes)
    expect(device().stats().peakBytes).toBeGreaterThanOrEqual(device().stats().bytes + 20_000)
  })

  it('refuses tensors that no buffer could hold', () => {
    const count = Math.floor(device().limits.maxBufferSize / 4) + 1
    const error = errorOf(() => device().empty([count]))
    expect(error.code).toBe('out-of-memory')
    expect(error.message).toContain(`f32[${count}] needs ${count * 4} bytes`)
    expect(error.message).toContain(`at most ${device().limits.maxBufferSize}`)
  })

  it('refuses a missing binding, a disposed one, and an aliased output', () => {
    const x = pair()
    const params = { size: 2, scale: 1 }
    expect(errorOf(() => device().dispatch(scaleKernel, { x } as never, params)).message).toBe(
      'scale.4: binding out is missing',
    )
    const error = errorOf(() => device().dispatch(scaleKernel, { x, out: x }, params))
    expect(error.code).toBe('validation')
    expect(error.message).toContain('scale.4: out f32[2] is written while x reads or writes')
    const gone = pair()
    gone.dispose()
    expect(errorOf(() => device().dispatch(scaleKernel, { x, out: gone }, params)).code).toBe(
      'disposed',
    )
  })

  it('refuses more workgroups than a dimension takes', () => {
    const many = { ...tiny('many', 'out[0] = x[0];'), workgroups: () => [65_536, 1, 1] as const }
    const error = errorOf(() => device().dispatch(many, { x: pair(), out: pair() }, {}))
    expect(error.code).toBe('validation')
    expect(error.message).toBe(
      'many(x f32[2], out f32[2]): needs 65536×1×1 workgroups, a dimension takes 1 to 65535; split the work',
    )
  })
})

describe('errors of the GPU', () => {
  const device = useDevice()
  const pair = () => device().tensor(Float32Array.of(1, 2), [2])

  it('name the kernel whose WGSL does not compile, each time it is used', async () => {
    const broken = tiny('brokenKernel', 'out[0] = y[0];')
    for (let use = 0; use < 2; use++) {
      const out = pair()
      device().dispatch(broken, { x: pair(), out }, {})
      const error = await rejectionOf(out.read())
      expect(error.code).toBe('validation')
      expect(error.message).toContain('brokenKernel')
      if (use === 0) expect(error.message).toMatch(/unresolved value 'y'/)
    }
  })

  it('name the kernel when a plan compiles it', async () => {
    const broken = tiny('brokenInPlan', 'out[0] = z[0];')
    const x = pair()
    const error = await rejectionOf(
      record(device(), { x }, ({ x }) => {
        const out = device().empty([2])
        device().dispatch(broken, { x, out }, {})
        return out
      }),
    )
    expect(error.message).toContain('brokenInPlan')
    expect(error.message).toMatch(/unresolved value 'z'|invalid/i)
    await device()
      .sync()
      .catch((later: KeeplightError) => expect(later.message).toContain('brokenInPlan'))
    expect([...(await scale(x, 2).read())]).toEqual([2, 4])
  })

  it('name the op and its shapes', async () => {
    // A fixed length makes WebGPU ask for 1,600 bytes, of which a pair has none.
    const greedy = tiny('greedy', 'out[0] = x[99].x;', 'vec4<f32>, 100' as ElementType)
    const [x, out] = [pair(), pair()]
    const other = scale(x, 2)
    device().dispatch(greedy, { x, out }, {})
    const error = await rejectionOf(device().sync())
    expect(error.code).toBe('validation')
    expect(error.message).toMatch(/^greedy\(x f32\[2\], out f32\[2\]\): /)
    expect(error.message).toContain('1600')
    expect(error.cause).toBeDefined()
    expect(other.disposed).toBe(false)
  })

  it('are told once, and leave the device working', async () => {
    const greedy = tiny('greedy', 'out[0] = x[99].x;', 'vec4<f32>, 100' as ElementType)
    device().dispatch(greedy, { x: pair(), out: pair() }, {})
    await rejectionOf(device().sync())
    await device().sync()
    expect([...(await add(pair(), pair()).read())]).toEqual([2, 4])
  })
})

describe('closing and losing a device', () => {
  it('makes everything afterwards say that it was closed', async () => {
    const device = await openDevice()
    const x = device.tensor(Float32Array.of(1, 2), [2])
    const plan = await record(device, { x }, ({ x }) => scale(x, 2))
    device.close()
    device.close()
    const uses: [string, () => unknown][] = [
      ['empty', () => device.empty([2])],
      ['tensor', () => device.tensor(Float32Array.of(1), [1])],
      ['write', () => x.write(Float32Array.of(3, 4))],
      ['scale.4', () => device.dispatch(scaleKernel, { x, out: x }, { size: 2, scale: 1 })],
      ['plan', () => plan.run()],
    ]
    for (const [name, use] of uses) {
      const error = errorOf(use)
      expect(error.code, name).toBe('disposed')
      expect(error.message).toBe(`${name}: the device was closed; create another`)
    }
    for (const [name, work] of [
      ['read', x.read()],
      ['sync', device.sync()],
    ] as const) {
      const error = await rejectionOf(work)
      expect(error.code).toBe('disposed')
      expect(error.message).toBe(`${name}: the device was closed; create another`)
    }
    plan.dispose()
    x.dispose()
    expect(device.stats().usedBytes).toBe(0)
    expect((await device.lost).code).toBe('disposed')
  })

  it('rejects a read that is pending when it is closed', async () => {
    const device = await openDevice()
    const pending = rejectionOf(device.tensor(Float32Array.of(1, 2), [2]).read())
    device.close()
    expect((await pending).code).toBe('disposed')
  })

  it('rejects what is pending when the device is lost, within 10 s, and says why', async () => {
    const device = await openDevice()
    const x = device.tensor(new Float32Array(1000), [1000])
    const plan = await record(device, { x }, ({ x }) => scale(x, 2))
    plan.runMany(50)
    const start = performance.now()
    const work = [rejectionOf(plan.outputs.read()), rejectionOf(device.sync())]
    device.gpu.destroy()
    for (const error of await Promise.all(work)) {
      expect(error.code).toBe('device-lost')
      expect(error.message).toMatch(/^the GPU device was lost \(destroyed\): /)
      expect(error.message).toContain('create another with createDevice()')
    }
    expect(performance.now() - start).toBeLessThan(10_000)

    for (const use of [
      () => scale(x, 2),
      () => plan.run(),
      () => x.write(new Float32Array(1000)),
    ]) {
      expect(errorOf(use).code).toBe('device-lost')
    }
    expect((await rejectionOf(x.read())).code).toBe('device-lost')
    expect((await device.lost).code).toBe('device-lost')
    device.close()
  })
})

describe('createDevice', () => {
  const gpu = (requestAdapter: () => Promise<unknown>): GPU => ({ requestAdapter }) as never

  it('says so when there is no adapter', async () => {
    const error = await rejectionOf(createDevice({ gpu: gpu(() => Promise.resolve(null)) }))
    expect(error.code).toBe('device')
    expect(error.message).toContain('WebGPU found no adapter')
  })

  it('passes on why an adapter gave no device', async () => {
    const adapter = {
      features: new Set<string>(),
      limits: {},
      info: {},
      requestDevice: () => Promise.reject(new Error('out of luck')),
    }
    const error = await rejectionOf(createDevice({ gpu: gpu(() => Promise.resolve(adapter)) }))
    expect(error.code).toBe('device')
    expect(error.message).toBe('the adapter gave no device: out of luck')
  })
})
