import { describe, expect, it } from 'vitest'
import { scale } from '../../src/runtime/ops/elementwise.ts'
import { keep, scope, type Tensor } from '../../src/runtime/tensor.ts'
import { useDevice } from '../support/device.ts'
import { errorOf } from '../support/errorOf.ts'

describe('Tensor', () => {
  const device = useDevice()

  it('keeps the values of every dtype', async () => {
    const floats = Float32Array.of(1.5, -0, Infinity)
    expect(await device().tensor(floats, [3]).read()).toEqual(floats)
    const words = Uint32Array.of(0, 0xffffffff, 7)
    expect(await device().tensor(words, [3]).read()).toEqual(words)
    const integers = Int32Array.of(-5, 0, 0x7fffffff)
    expect(await device().tensor(integers, [1, 3]).read()).toEqual(integers)
    for (const size of [1, 3, 4, 5]) {
      const halves = Uint16Array.from({ length: size }, (_, i) => 0x3c00 + i)
      const half = device().tensor(halves, [size])
      expect(half.dtype).toBe('f16')
      expect(await half.read()).toEqual(halves)
      const bytes = Int8Array.from({ length: size }, (_, i) => i - 128)
      const quantised = device().tensor(bytes, [size])
      expect(quantised.byteLength).toBe(size)
      expect(await quantised.read()).toEqual(bytes)
    }
  })

  it('refuses rows that end within a word, where a write would touch the next row', () => {
    const x = device().empty([2 * device().offsetAlignment, 1], 'i8')
    expect(x.rows(device().offsetAlignment, device().offsetAlignment).size).toBeGreaterThan(0)
    expect(errorOf(() => x.rows(0, 3)).message).toContain('end within a word of four bytes')
  })

  it('is read as it was when the read was asked for', async () => {
    const x = device().tensor(Float32Array.of(1), [1])
    const first = x.read()
    x.write(Float32Array.of(2))
    expect([...(await first)]).toEqual([1])
    expect([...(await x.read())]).toEqual([2])
  })

  it('is written after what was enqueued before', async () => {
    const x = device().tensor(Float32Array.of(1, 2), [2])
    const doubled = scale(x, 2)
    x.write(Float32Array.of(50, 60))
    expect([...(await doubled.read())]).toEqual([2, 4])
  })

  it('refuses values of another size or dtype', () => {
    const x = device().empty([2, 3])
    const error = errorOf(() => x.write(new Float32Array(5)))
    expect(error.code).toBe('validation')
    expect(error.message).toBe('write: f32[2, 3] takes 6 values of f32, got 5 of f32')
    expect(errorOf(() => x.write(new Uint32Array(6))).message).toBe(
      'write: f32[2, 3] takes 6 values of f32, got 6 of u32',
    )
    expect(errorOf(() => device().tensor(new Float32Array(3), [2])).message).toContain(
      'takes 2 values of f32, got 3',
    )
  })

  it.each([[[0]], [[2, -1]], [[1.5]], [[NaN]], [[2 ** 30, 2 ** 30]]])(
    'refuses the shape %j',
    (shape) => {
      const error = errorOf(() => device().empty(shape))
      expect(error.code).toBe('validation')
      expect(error.message).toBe(
        `empty: shape [${shape.join(', ')}] is not a list of positive integers`,
      )
    },
  )

  it('shares its memory with a view, which outlives it', async () => {
    const x = device().tensor(Float32Array.of(1, 2, 3, 4), [2, 2])
    const view = x.view([4])
    x.dispose()
    expect([...(await view.read())]).toEqual([1, 2, 3, 4])
    expect(errorOf(() => view.view([3])).message).toBe('view: f32[4] has 4 elements, [3] has 3')
  })

  it('gives rows that start on an aligned byte', async () => {
    const columns = device().offsetAlignment / 4
    const x = device().tensor(
      Float32Array.from({ length: 3 * columns }, (_, i) => i),
      [3, columns],
    )
    const rows = x.rows(1, 2)
    expect(rows.shape).toEqual([2, columns])
    const doubled = await scale(rows, 2).read()
    expect(doubled[0]).toBe(2 * columns)
    expect(doubled.at(-1)).toBe(2 * (3 * columns - 1))
    expect((await rows.read())[0]).toBe(columns)
  })

  it('refuses rows outside, and rows that start between aligned bytes', () => {
    const x = device().empty([4, 3])
    for (const [start, count] of [
      [-1, 1],
      [0, 0],
      [3, 2],
      [4, 1],
    ] as const) {
      const error = errorOf(() => x.rows(start, count))
      expect(error.code).toBe('validation')
      expect(error.message).toBe(
        `rows: ${start}…${start + count} is outside the 4 rows of f32[4, 3]`,
      )
    }
    const error = errorOf(() => x.rows(1, 1))
    expect(error.message).toContain('row 1 of f32[4, 3] starts at byte 12')
    expect(error.message).toContain('gather the rows instead')
  })

  it('says so when it is used after it was disposed', () => {
    const x = device().tensor(Float32Array.of(1, 2), [2])
    x.dispose()
    x.dispose()
    expect(x.disposed).toBe(true)
    const uses: [string, () => unknown][] = [
      ['view', () => x.view([2])],
      ['rows', () => x.rows(0, 1)],
      ['read', () => x.read()],
      ['write', () => x.write(Float32Array.of(1, 2))],
      ['scale', () => scale(x, 2)],
    ]
    for (const [name, use] of uses) {
      const error = errorOf(use)
      expect(error.code).toBe('disposed')
      expect(error.message).toBe(
        `${name}: f32[2] was disposed; keep() it, or return it from its scope`,
      )
    }
  })
})

describe('scope', () => {
  const device = useDevice()
  const used = (): number => device().stats().usedBytes
  const make = (): Tensor<'f32'> => device().empty([100])

  it('frees what was made in it and nothing else', () => {
    const outside = make()
    const before = used()
    const inside = scope(() => {
      const tensor = make()
      make()
      expect(used()).toBeGreaterThan(before)
      return [tensor.size]
    })
    expect(inside).toEqual([100])
    expect(used()).toBe(before)
    expect(outside.disposed).toBe(false)
    outside.dispose()
  })

  it('leaves what it returns, in arrays and objects too', () => {
    const before = used()
    let dropped: Tensor | undefined
    const result = scope(() => {
      dropped = make()
      return { one: make(), list: [make(), { deep: make() }] as const, number: 1 }
    })
    const returned = [result.one, result.list[0], result.list[1].deep]
    expect(returned.map((tensor) => tensor.disposed)).toEqual([false, false, false])
    expect(dropped?.disposed).toBe(true)
    returned.forEach((tensor) => tensor.dispose())
    expect(used()).toBe(before)
  })

  it('hands what it returns to the scope around it', () => {
    const before = used()
    const [inner, outer] = scope(() => {
      const returned = scope(() => make())
      expect(returned.disposed).toBe(false)
      return [[() => returned], make()] as const
    })
    // A function hides its tensor: the outer scope returned `outer` only.
    expect(inner[0]().disposed).toBe(true)
    expect(outer.disposed).toBe(false)
    outer.dispose()
    expect(used()).toBe(before)
  })

  it('leaves what was kept, from any depth', () => {
    const before = used()
    const kept: Tensor[] = []
    scope(() => {
      const early = make()
      scope(() => {
        kept.push(keep(early), keep(make()))
      })
    })
    expect(kept.map((tensor) => tensor.disposed)).toEqual([false, false])
    kept.forEach((tensor) => tensor.dispose())
    expect(used()).toBe(before)
  })

  it('frees everything when its body throws, and works on', () => {
    const before = used()
    expect(() =>
      scope(() => {
        make()
        throw new Error('stop')
      }),
    ).toThrow('stop')
    expect(used()).toBe(before)
    const after = make()
    expect(after.disposed).toBe(false)
    after.dispose()
  })

  it('refuses an async body, and frees what that made', async () => {
    const before = used()
    let pending: Promise<void> | undefined
    const error = errorOf(() =>
      scope(() => {
        make()
        pending = Promise.resolve()
        return pending
      }),
    )
    await pending
    expect(error.code).toBe('usage')
    expect(error.message).toBe('scope: the body returned a promise; read results outside')
    expect(used()).toBe(before)
  })

  it('frees shared memory with the last tensor over it', () => {
    const before = used()
    const view = scope(() => make().view([10, 10]))
    expect(used()).toBeGreaterThan(before)
    view.dispose()
    expect(used()).toBe(before)
  })
})
