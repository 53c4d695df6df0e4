import { describe, expect, it } from 'vitest'
import { add, scale } from '../../src/runtime/ops/elementwise.ts'
import { softmax } from '../../src/runtime/ops/softmax.ts'
import { sum } from '../../src/runtime/ops/reduce.ts'
import { OutOfMemoryError } from '../../src/runtime/outOfMemory.ts'
import { record } from '../../src/runtime/plan.ts'
import { backward } from '../../src/runtime/tape.ts'
import { scope, type Tensor } from '../../src/runtime/tensor.ts'
import { hashBits } from '../support/compare.ts'
import { openDevice, useDevice } from '../support/device.ts'
import { errorOf } from '../support/errorOf.ts'
import { failAllocations } from '../support/failAllocations.ts'
import { randomArray } from '../support/random.ts'

/** The out-of-memory error that a promise rejects with. */
async function refusal(work: Promise<unknown>): Promise<OutOfMemoryError> {
  const error: unknown = await work.then(
    () => new Error('nothing was thrown'),
    (thrown: unknown) => thrown,
  )
  if (error instanceof OutOfMemoryError) return error
  throw error
}

async function readOnce(tensor: Tensor<'f32'>): Promise<Float32Array> {
  const data = await tensor.read()
  tensor.dispose()
  return data
}

// A size that nothing else here asks for.
const [ROWS, COLUMNS] = [137, 31]
const BYTES = ROWS * COLUMNS * 4

describe('out of memory', () => {
  const device = useDevice()
  const input = () => device().tensor(randomArray(ROWS * COLUMNS, 1), [ROWS, COLUMNS])

  it('names the op and the bytes at the next sync, and leaves the device right', async () => {
    const x = input()
    const expected = hashBits(await readOnce(scope(() => softmax(x))))
    device().trim()
    const { usedBytes } = device().stats()
    const waiting = device().empty([5000])
    waiting.dispose()

    const end = failAllocations(device(), (bytes) => bytes >= BYTES && bytes < 2 * BYTES)
    const failed = softmax(x)
    end()
    const error = await refusal(device().sync())
    expect(error.code).toBe('out-of-memory')
    expect(error.op).toBe('softmax')
    expect(error.bytes).toBeGreaterThanOrEqual(BYTES)
    expect(error.bytes).toBeLessThan(1.2 * BYTES)
    expect(error.freeBytes).toBeGreaterThanOrEqual(20_000)
    expect(error.message).toMatch(
      /^softmax: the GPU gave no \d+ bytes for keeplight f32\[137, 31\]: /,
    )

    const after = device().stats()
    // The one that failed is not among the pool's bytes.
    expect(after.bytes, 'what waited was given back').toBe(usedBytes)

    // Nobody gets numbers out of memory that is not there.
    expect(errorOf(() => scope(() => scale(failed, 2)))).toBe(error)
    expect(errorOf(() => failed.write(randomArray(failed.size, 2)))).toBe(error)
    expect(await refusal(failed.read())).toBe(error)
    failed.dispose()
    expect(device().stats().usedBytes).toBe(usedBytes)

    await device().sync()
    expect(hashBits(await readOnce(scope(() => softmax(x))))).toBe(expected)
    await device().sync()
    x.dispose()
  })

  it('gives free buffers back before it asks for what was refused once', async () => {
    // One of its own, of which nothing is known.
    const fresh = await openDevice()
    const bytes = (): number => fresh.stats().bytes
    const room = bytes() + 100_000
    // 60 kB that wait for reuse, in classes that none of the others has.
    const fill = (): void => [3000, 5000, 7000].forEach((size) => fresh.empty([size]).dispose())
    const end = failAllocations(fresh, (wanted) => bytes() + wanted > room)
    fill()
    const refused = fresh.empty([15_000])
    await refusal(fresh.sync())
    refused.dispose()

    fill()
    const given = fresh.empty([15_000])
    await fresh.sync()
    expect(bytes()).toBeLessThanOrEqual(room)
    end()
    expect((await given.read()).length).toBe(15_000)
    given.dispose()

    // Memory beyond that was given: nothing is known any more, and what waits is kept.
    const more = fresh.empty([30_000])
    await fresh.sync()
    fill()
    const before = bytes()
    const most = fresh.empty([40_000])
    expect(bytes() - before).toBeGreaterThanOrEqual(160_000)
    await fresh.sync()
    more.dispose()
    most.dispose()
    fresh.close()
  })

  it('names the gradient that asked', async () => {
    const x = input()
    x.requiresGrad = true
    const loss = scope(() => sum(softmax(x)))
    device().trim()
    const end = failAllocations(device(), (bytes) => bytes >= BYTES)
    const [gradient] = backward(loss, [x])
    end()
    expect((await refusal(device().sync())).op).toMatch(/^gradient of (softmax|sum)$/)
    ;[gradient!, loss, x].forEach((tensor) => tensor.dispose())
    await device().sync()
  })

  it('asks once more where the GPU refuses at once', async () => {
    device().trim()
    const { gpu } = device()
    const createBuffer = gpu.createBuffer.bind(gpu)
    const refuse = (times: number): void => {
      let left = times
      gpu.createBuffer = (descriptor) => {
        if (left-- > 0) throw new RangeError('no room')
        return createBuffer(descriptor)
      }
    }
    try {
      refuse(1)
      const x = input()
      expect(hashBits(await x.read())).toBe(hashBits(randomArray(ROWS * COLUMNS, 1)))
      x.dispose()
      device().trim()
      refuse(2)
      const error = errorOf(() => device().empty([ROWS, COLUMNS]))
      expect(error).toBeInstanceOf(OutOfMemoryError)
      expect(error.message).toContain('no room')
    } finally {
      gpu.createBuffer = createBuffer
    }
    await device().sync()
  })

  it('lets a plan ask twice, and refuses it after that', async () => {
    const x = input()
    const { usedBytes } = device().stats()
    const body = () => scope(() => add(softmax(x), x))
    const expected = hashBits(await readOnce(scope(body)))

    let left = 1
    let end = failAllocations(device(), (bytes) => bytes >= BYTES && left-- > 0)
    const plan = await record(device(), {}, body)
    end()
    plan.run()
    expect(hashBits(await plan.outputs.read())).toBe(expected)
    plan.dispose()

    end = failAllocations(device(), (bytes) => bytes >= BYTES)
    const error = await refusal(record(device(), {}, body))
    end()
    expect(error.op).toBe('record')
    expect(error.message).toContain('of a plan')
    await device().sync()
    const again = await record(device(), {}, body)
    again.run()
    expect(hashBits(await again.outputs.read())).toBe(expected)
    again.dispose()
    expect(device().stats().usedBytes).toBe(usedBytes)
    x.dispose()
  })

  it('records no plan over an input that has no memory', async () => {
    device().trim()
    const end = failAllocations(device(), (bytes) => bytes >= BYTES)
    const x = device().empty([ROWS, COLUMNS])
    end()
    const failure = await refusal(device().sync())
    expect(await refusal(record(device(), { x }, ({ x }) => scale(x, 2)))).toBe(failure)
    x.dispose()
    await device().sync()
  })

  it('says what to do with a tensor larger than any buffer', () => {
    const count = Math.floor(device().limits.maxBufferSize / 4) + 1
    const error = errorOf(() => device().empty([count])) as OutOfMemoryError
    expect(error).toBeInstanceOf(OutOfMemoryError)
    expect(error.bytes).toBe(count * 4)
    expect(error.message).toContain('split it along its first dimension into several tensors')
  })
})
