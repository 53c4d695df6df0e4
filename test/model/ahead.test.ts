import { describe, expect, it } from 'vitest'
import { inBatches, mapAhead } from '../../src/model/ahead.ts'
import { KeeplightError } from '../../src/runtime/errors.ts'

const collect = async <T>(items: AsyncIterable<T>): Promise<T[]> => {
  const all: T[] = []
  for await (const item of items) all.push(item)
  return all
}

const later = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

async function errorIn(run: Promise<unknown>): Promise<KeeplightError> {
  const error: unknown = await run.then(
    () => undefined,
    (error: unknown) => error,
  )
  expect(error).toBeInstanceOf(KeeplightError)
  return error as KeeplightError
}

describe('mapAhead', () => {
  it('keeps the order and never has more pending than the limit', async () => {
    let pending = 0
    let most = 0
    const square = async (x: number, index: number): Promise<number> => {
      most = Math.max(most, ++pending)
      await later(index % 3 === 0 ? 4 : 0)
      pending--
      return x * x
    }
    const items = Array.from({ length: 10 }, (_, i) => i)
    expect(await collect(mapAhead(items, 3, square))).toEqual(items.map((x) => x * x))
    expect(most).toBe(3)
    expect(await collect(mapAhead([], 3, square))).toEqual([])
  })

  it('hands an item over before it asks for the next', async () => {
    const canvas = { shows: -1 }
    function* frames(): Generator<typeof canvas> {
      for (canvas.shows = 0; canvas.shows < 5; canvas.shows++) yield canvas
    }
    const shown = mapAhead(frames(), 4, async ({ shows }) => {
      await later(1)
      return shows
    })
    expect(await collect(shown)).toEqual([0, 1, 2, 3, 4])
  })

  it('tells of a failure in its turn, closes the source and waits for what is pending', async () => {
    const log: string[] = []
    function* source(): Generator<number> {
      try {
        for (let i = 0; ; i++) yield i
      } finally {
        log.push('closed')
      }
    }
    const seen: number[] = []
    const run = async (): Promise<void> => {
      const mapped = mapAhead(source(), 3, async (i) => {
        if (i === 2) throw new KeeplightError('input', 'image 2: broken')
        await later(i)
        log.push(`done ${i}`)
        return i
      })
      for await (const i of mapped) seen.push(i)
    }
    expect((await errorIn(run())).message).toBe('image 2: broken')
    expect(seen).toEqual([0, 1])
    expect(log).toEqual(['done 0', 'done 1', 'closed', 'done 3', 'done 4'])
  })

  it('stops at the signal, even where the source never answers', async () => {
    const controller = new AbortController()
    // eslint-disable-next-line require-yield
    async function* silent(): AsyncGenerator<number> {
      await new Promise(() => {})
    }
    setTimeout(() => controller.abort(), 5)
    const run = collect(mapAhead(silent(), 2, async (i) => i, controller.signal))
    expect((await errorIn(run)).code).toBe('aborted')
    const again = collect(mapAhead([1], 2, async (i) => i, controller.signal))
    expect((await errorIn(again)).code).toBe('aborted')
  })
})

describe('inBatches', () => {
  it('gives whole batches and what is left', async () => {
    const items = (count: number): AsyncGenerator<number> =>
      mapAhead(
        Array.from({ length: count }, (_, i) => i),
        1,
        async (i) => i,
      )
    expect(await collect(inBatches(items(5), 2))).toEqual([[0, 1], [2, 3], [4]])
    expect(await collect(inBatches(items(4), 2))).toEqual([
      [0, 1],
      [2, 3],
    ])
    expect(await collect(inBatches(items(0), 2))).toEqual([])
  })
})
