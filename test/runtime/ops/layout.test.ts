import { describe, expect, it } from 'vitest'
import { concat, permute, slice, transpose } from '../../../src/runtime/ops/layout.ts'
import { sizeOf, type Shape } from '../../../src/runtime/shape.ts'
import { coordinates, place } from '../../reference/broadcast.ts'
import { useDevice } from '../../support/device.ts'
import { errorOf } from '../../support/errorOf.ts'
import { gradcheck } from '../../support/gradcheck.ts'

/** out[i] = x[from(coordinates of i)] */
const moved = (
  x: ArrayLike<number>,
  shape: Shape,
  out: Shape,
  from: (at: number[]) => number[],
): Float64Array =>
  Float64Array.from({ length: sizeOf(out) }, (_, i) => x[place(from(coordinates(i, out)), shape)]!)

describe('permute', () => {
  const device = useDevice()

  it.each([
    [[7], [0]],
    [
      [3, 5],
      [0, 1],
    ],
    [
      [3, 5],
      [1, 0],
    ],
    [
      [8, 12],
      [1, 0],
    ],
    [
      [65, 33],
      [1, 0],
    ],
    [
      [2, 3, 8],
      [1, 0, 2],
    ],
    [
      [2, 3, 4, 5],
      [0, 2, 1, 3],
    ],
    [
      [2, 3, 4, 5],
      [3, 1, 0, 2],
    ],
    [
      [2, 3, 2, 3, 2],
      [4, 2, 0, 3, 1],
    ],
    [
      [2, 1, 3],
      [2, 1, 0],
    ],
  ] as const)('%j by %j', async (shape, axes) => {
    const out = axes.map((axis) => shape[axis]!)
    await gradcheck(device(), {
      inputs: { x: shape },
      op: ({ x }) => permute(x, axes),
      reference: ({ x }) =>
        moved(x, shape, out, (at) =>
          shape.map((_, d) => at[(axes as readonly number[]).indexOf(d)]!),
        ),
      forwardTolerance: 0,
    })
  })

  it('counts from the end, and transposes the last two', async () => {
    const x = device().tensor(
      Float32Array.from({ length: 12 }, (_, i) => i),
      [2, 3, 2],
    )
    expect(permute(x, [-1, 0, 1]).shape).toEqual([2, 2, 3])
    const out = transpose(x)
    expect(out.shape).toEqual([2, 2, 3])
    expect([...(await out.read())]).toEqual([0, 2, 4, 1, 3, 5, 6, 8, 10, 7, 9, 11])
  })

  it('refuses what is no permutation', () => {
    const x = device().empty([2, 3, 4])
    expect(errorOf(() => permute(x, [0, 1, 1])).message).toBe(
      'permute: axes [0, 1, 1] do not name each of the 3 dimensions of f32[2, 3, 4] once',
    )
    expect(errorOf(() => permute(x, [0, 1, 3])).message).toBe(
      'permute: axis 3 is not one of 3 dimensions, expected -3 to 2',
    )
    const six = device().empty([2, 2, 2, 2, 2, 2])
    expect(errorOf(() => permute(six, [5, 4, 3, 2, 1, 0])).message).toBe(
      'permute: [2, 2, 2, 2, 2, 2] moves along 6 dimensions apart, expected at most five; split the op',
    )
  })
})

describe('slice', () => {
  const device = useDevice()

  it.each([
    [[9], [2], [7]],
    [
      [6, 8],
      [0, 0],
      [6, 8],
    ],
    [
      [6, 8],
      [2, 0],
      [5, 8],
    ],
    [
      [6, 8],
      [0, 4],
      [6, 8],
    ],
    [
      [6, 8],
      [1, 3],
      [4, 7],
    ],
    [
      [2, 5, 4],
      [0, 1, 0],
      [2, 2, 4],
    ],
    [
      [2, 5, 3],
      [1, 1, 1],
      [2, 4, 2],
    ],
  ] as const)('%j from %j to %j', async (shape, start, stop) => {
    const out = start.map((from, d) => stop[d]! - from)
    await gradcheck(device(), {
      inputs: { x: shape },
      op: ({ x }) => slice(x, start, stop),
      reference: ({ x }) => moved(x, shape, out, (at) => at.map((n, d) => n + start[d]!)),
      forwardTolerance: 0,
    })
  })

  it('refuses what lies outside', () => {
    const x = device().empty([4, 3])
    for (const [start, stop] of [
      [
        [0, 0],
        [5, 3],
      ],
      [
        [2, 0],
        [2, 3],
      ],
      [
        [-1, 0],
        [2, 3],
      ],
      [[0], [2]],
    ] as const) {
      expect(errorOf(() => slice(x, start, stop)).message).toBe(
        `slice: [${start.join(', ')}] to [${stop.join(', ')}] is no part of f32[4, 3], ` +
          'expected 0 ≤ start < stop ≤ size for each dimension',
      )
    }
  })
})

describe('concat', () => {
  const device = useDevice()

  it.each([
    [[2, 3], [4, 3], 0],
    [[2, 8], [2, 4], 1],
    [[2, 3], [2, 2], -1],
    [[2, 1, 5], [2, 3, 5], 1],
    [[3], [5], 0],
  ] as const)('%j and %j along %i', async (a, b, axis) => {
    const along = axis < 0 ? axis + a.length : axis
    const shape = a.map((n, d) => (d === along ? n + b[d]! : n))
    await gradcheck(device(), {
      inputs: { a, b },
      op: (inputs) => concat([inputs.a, inputs.b], axis),
      reference: (inputs) =>
        Float64Array.from({ length: sizeOf(shape) }, (_, i) => {
          const at = coordinates(i, shape)
          if (at[along]! < a[along]!) return inputs.a[place(at, a)]!
          return inputs.b[
            place(
              at.map((n, d) => (d === along ? n - a[d]! : n)),
              b,
            )
          ]!
        }),
      forwardTolerance: 0,
    })
  })

  it('takes a tensor twice, and one alone', async () => {
    await gradcheck(device(), {
      inputs: { x: [2, 4] },
      op: ({ x }) => concat([x, x, x]),
      reference: ({ x }) =>
        Float64Array.from([...Array.from(x), ...Array.from(x), ...Array.from(x)]),
      forwardTolerance: 0,
    })
    const x = device().tensor(Float32Array.of(1, 2), [2])
    expect([...(await concat([x]).read())]).toEqual([1, 2])
  })

  it('refuses shapes that differ elsewhere, and nothing', () => {
    const [a, b] = [device().empty([2, 3]), device().empty([2, 4])]
    expect(errorOf(() => concat([a, b])).message).toBe(
      'concat: tensor 1 has shape [2, 4], expected that of the first, [2, 3], in all dimensions but 0',
    )
    expect(errorOf(() => concat([])).message).toBe('concat: no tensors, expected one or more')
  })
})
