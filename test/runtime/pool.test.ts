import { describe, expect, it } from 'vitest'
import type { DeviceBuffer } from '../../src/runtime/buffer.ts'
import { BufferPool, sizeClass, type Allocation } from '../../src/runtime/pool.ts'

/** A pool over objects that only count how often they were destroyed. */
function makePool() {
  const destroyed: number[] = []
  const pool = new BufferPool((size) => {
    return { size, destroy: () => destroyed.push(size) } as unknown as DeviceBuffer
  })
  const take = (bytes: number): Allocation => {
    const allocation = pool.allocate(bytes, 'test')
    allocation.retain()
    return allocation
  }
  return { pool, take, destroyed }
}

describe('sizeClass', () => {
  it('holds what it is asked for and wastes an eighth at most', () => {
    for (let bytes = 4; bytes < 1e6; bytes = Math.ceil(bytes * 1.37)) {
      const size = sizeClass(bytes)
      expect(size).toBeGreaterThanOrEqual(bytes)
      expect(size % 256).toBe(0)
      expect(size - bytes).toBeLessThan(Math.max(256, bytes / 8))
      expect(sizeClass(size)).toBe(size)
    }
  })
})

describe('BufferPool', () => {
  it('hands a freed buffer to the next request of its class', () => {
    const { pool, take } = makePool()
    const first = take(1000)
    const second = take(1000)
    expect(second.buffer).not.toBe(first.buffer)
    first.release()
    expect(take(1010).buffer).toBe(first.buffer)
    expect(take(5000).buffer).not.toBe(first.buffer)
    expect(pool.stats()).toMatchObject({ allocations: 3, reuses: 1, buffers: 3 })
  })

  it('frees with the last reference', () => {
    const { pool, take } = makePool()
    const allocation = take(100)
    allocation.retain()
    allocation.release()
    expect(pool.stats().usedBytes).toBe(256)
    allocation.release()
    expect(pool.stats()).toMatchObject({ usedBytes: 0, bytes: 256 })
  })

  it('trims what waits, and keeps what is in use', () => {
    const { pool, take, destroyed } = makePool()
    const [waiting, used] = [take(300), take(600)]
    waiting.release()
    pool.trim()
    expect(destroyed).toEqual([sizeClass(300)])
    expect(pool.stats()).toMatchObject({ bytes: sizeClass(600), usedBytes: sizeClass(600) })
    expect(pool.owns(used)).toBe(true)
    expect(pool.owns(waiting)).toBe(false)
  })

  it('destroys everything at its end, and takes late releases', () => {
    const { pool, take, destroyed } = makePool()
    const [first, second] = [take(300), take(600)]
    first.release()
    pool.destroy()
    expect(destroyed.sort()).toEqual([sizeClass(300), sizeClass(600)].sort())
    second.release()
    expect(pool.stats()).toMatchObject({ bytes: 0, usedBytes: 0, buffers: 0 })
  })

  it('remembers its peak', () => {
    const { pool, take } = makePool()
    take(1000).release()
    take(2000).release()
    pool.trim()
    expect(pool.stats()).toMatchObject({ bytes: 0, peakBytes: sizeClass(1000) + sizeClass(2000) })
  })
})
