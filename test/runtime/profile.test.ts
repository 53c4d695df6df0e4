import { afterEach, describe, expect, it, vi } from 'vitest'
import type { Device } from '../../src/runtime/device.ts'
import { matmul, softmax } from '../../src/runtime/ops/index.ts'
import { record } from '../../src/runtime/plan.ts'
import type { Profile } from '../../src/runtime/profile.ts'
import { chromeTrace, profileTable, summarizeProfile } from '../../src/runtime/profileReport.ts'
import { scope, type Tensor } from '../../src/runtime/tensor.ts'
import { openDevice, useDevice } from '../support/device.ts'

const device = useDevice()

/** What a promise is rejected with. */
const rejection = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => undefined,
    (error: unknown) => error,
  )

const ROWS = 40

/** Two dispatches. */
const work = (x: Tensor<'f32'>): Tensor<'f32'> =>
  scope(() => softmax(matmul(x, x, { transposeB: true })))

function input(): Tensor<'f32'> {
  const data = Float32Array.from({ length: ROWS * ROWS }, (_, i) => Math.sin(i * 0.7))
  return device().tensor(data, [ROWS, ROWS])
}

describe('a profile', () => {
  afterEach(() => vi.restoreAllMocks())

  it('has every dispatch of eager code and of plans, in order, and changes no bit', async () => {
    const x = input()
    const plain = work(x)
    const expected = await plain.read()
    const plan = await record(device(), { x }, ({ x }) => work(x))
    const results: Tensor<'f32'>[] = []
    const start = performance.now()
    const profile = await device().profile(async () => {
      results.push(work(x))
      await results[0]!.read()
      plan.runMany(2)
      results.push(work(x))
    })
    const wall = performance.now() - start

    expect(profile.records.map(({ kernel }) => kernel.split('.')[0])).toEqual(
      Array.from({ length: 4 }, () => ['matmul', 'softmax']).flat(),
    )
    const [product, rows] = profile.records
    expect(product).toMatchObject({
      shapes: '40×40, 40×40 → 40×40',
      flops: 2 * ROWS ** 3,
      // Both operands are the same memory, which is read once.
      bytes: 2 * ROWS * ROWS * 4,
    })
    expect(product!.workgroups.every((count) => count >= 1)).toBe(true)
    expect(rows).toMatchObject({ shapes: '40×40 → 40×40', bytes: 2 * ROWS * ROWS * 4 })
    expect(rows!.flops).toBeUndefined()

    const { busyMs, spanMs } = summarizeProfile(profile)
    expect(spanMs).toBeLessThanOrEqual(wall)
    expect(busyMs).toBeLessThanOrEqual(spanMs)
    const starts = profile.records.map((item) => item.start)
    expect(starts).toEqual([...starts].sort((a, b) => a - b))
    expect(Math.min(...starts)).toBe(0)
    // As --enable-unsafe-webgpu and our toggles in Node keep them exact, no dispatch takes no time.
    expect(profile.quantized).toBe(false)
    profile.records.forEach(({ duration }) => expect(duration).toBeGreaterThan(0))

    for (const result of [...results, plan.outputs]) {
      expect(await result.read()).toEqual(expected)
      result.dispose()
    }
    plan.dispose()
    plain.dispose()
    x.dispose()
  })

  it('reads more dispatches than a query set holds', async () => {
    const x = input()
    const plan = await record(device(), { x }, ({ x }) => work(x))
    const profile = await device().profile(() => {
      plan.runMany(300)
      plan.runMany(1)
    })
    expect(profile.records).toHaveLength(602)
    // Queries that were not read would be 0, which is long before the first dispatch.
    const { busyMs, spanMs } = summarizeProfile(profile)
    expect(busyMs).toBeGreaterThan(0)
    expect(spanMs).toBeLessThan(100_000)
    plan.dispose()
    x.dispose()
  })

  it('leaves one pass to a submit after it, also where its body throws', async () => {
    const x = input()
    const thrown = await rejection(
      device().profile(() => {
        work(x).dispose()
        throw new TypeError('of the body')
      }),
    )
    expect(thrown).toBeInstanceOf(TypeError)

    const create = device().gpu.createCommandEncoder.bind(device().gpu)
    let passes = 0
    vi.spyOn(device().gpu, 'createCommandEncoder').mockImplementation((descriptor) => {
      const encoder = create(descriptor)
      const begin = encoder.beginComputePass.bind(encoder)
      encoder.beginComputePass = (of) => {
        passes++
        return begin(of)
      }
      return encoder
    })
    const profile = await device().profile(() => {
      work(x).dispose()
    })
    expect(profile.records).toHaveLength(2)
    expect(passes).toBe(2)
    work(x).dispose()
    await device().sync()
    expect(passes).toBe(3)
    expect(profile.records).toHaveLength(2)
    x.dispose()
  })

  it('is empty when nothing ran', async () => {
    const profile = await device().profile(() => undefined)
    expect(profile).toMatchObject({ records: [], resolution: 0, quantized: false })
    expect(profileTable(profile)).toContain('0 dispatches')
  })

  it('is refused inside another one and while a plan is recorded', async () => {
    const nested = await rejection(device().profile(() => device().profile(() => undefined)))
    expect(nested).toMatchObject({ code: 'usage' })
    let inRecording: Promise<unknown> | undefined
    const plan = await record(device(), {}, () => {
      inRecording = rejection(device().profile(() => undefined))
    })
    expect(await inRecording).toMatchObject({ code: 'usage' })
    plan.dispose()
    expect((await device().profile(() => undefined)).records).toEqual([])
  })

  it('names the remedy where the adapter has no timestamps', async () => {
    const other = await openDevice()
    const bare = Object.create(other, { features: { value: ['subgroups'] } }) as Device
    const { Profiler } = await import('../../src/runtime/profile.ts')
    let thrown: unknown
    try {
      new Profiler(bare)
    } catch (error) {
      thrown = error
    }
    other.close()
    expect(thrown).toMatchObject({ code: 'device' })
    expect(String(thrown)).toMatch(/timestamp-query.*--enable-unsafe-webgpu/)
  })
})

const adapter = {
  vendor: 'v',
  architecture: 'a',
  description: 'a GPU',
  software: false,
  subgroupSize: 32,
}

/** A matmul twice and a softmax, 1 ms each, with 1 ms between the second and the third. */
const taken: Profile = {
  adapter,
  resolution: 1,
  quantized: false,
  records: [
    ...[0, 1_000_000].map((start) => ({
      kernel: 'matmul.NT.bias.tile64',
      shapes: '8×4, 2×4, 2 → 8×2',
      workgroups: [2, 1, 1] as const,
      flops: 3_000_000,
      bytes: 500_000,
      start,
      duration: 1_000_000,
    })),
    {
      kernel: 'softmax',
      shapes: '8×2 → 8×2',
      workgroups: [1, 1, 1],
      bytes: 2_000_000,
      start: 3_000_000,
      duration: 1_000_000,
    },
  ],
}

describe('the report of a profile', () => {
  it('adds up by kernel and shape, with rates, shares and gaps', () => {
    const table = profileTable(taken)
    const lines = table.split('\n').map((line) => line.trim().split(/ {2,}/))
    expect(lines).toEqual([
      ['op', 'shapes', 'variant', 'calls', 'ms', 'GFLOP/s', 'GB/s', 'share'],
      ['matmul', '8×4, 2×4, 2 → 8×2', 'NT.bias.tile64', '2', '2.000', '3.0', '0.5', '66.7 %'],
      ['softmax', '8×2 → 8×2', '1', '1.000', '–', '2.0', '33.3 %'],
      ['3 dispatches: 3.000 ms busy, 1.000 ms idle between them (25 %)'],
    ])
  })

  it('counts dispatches that overlap once in the busy time', () => {
    const records = taken.records.map((item) => ({ ...item, start: item.start / 2 }))
    expect(summarizeProfile({ ...taken, records })).toMatchObject({ busyMs: 2.5, spanMs: 2.5 })
  })

  it('says when timestamps are too coarse', () => {
    const table = profileTable({ ...taken, resolution: 65_536, quantized: true })
    expect(table).toContain('rounded to 65.5 µs')
  })

  it('is a trace that tells names, places and microseconds', () => {
    const trace = JSON.parse(JSON.stringify(chromeTrace(taken))) as ReturnType<typeof chromeTrace>
    expect(trace.displayTimeUnit).toBe('ns')
    const events = trace.traceEvents.filter((event) => event.ph === 'X')
    expect(events.map(({ name, ts, dur }) => [name, ts, dur])).toEqual([
      ['matmul.NT.bias.tile64', 0, 1000],
      ['matmul.NT.bias.tile64', 1000, 1000],
      ['softmax', 3000, 1000],
    ])
    expect(events[0]!.args).toMatchObject({ shapes: '8×4, 2×4, 2 → 8×2', workgroups: [2, 1, 1] })
    const names = trace.traceEvents.filter((event) => event.ph === 'M')
    expect(names.map(({ name, args }) => [name, args.name])).toEqual([
      ['process_name', 'Keeplight'],
      ['thread_name', 'a GPU'],
    ])
    trace.traceEvents.forEach(({ pid, tid }) => expect([pid, tid]).toEqual([1, 1]))
  })
})
