import { describe, expect, it } from 'vitest'
import { argmax, argmin, max, min } from '../../../src/runtime/ops/extremum.ts'
import { mean, sum } from '../../../src/runtime/ops/reduce.ts'
import { topK } from '../../../src/runtime/ops/topK.ts'
import { sizeOf, type Shape } from '../../../src/runtime/shape.ts'
import { backward } from '../../../src/runtime/tape.ts'
import { reduce } from '../../reference/broadcast.ts'
import { useDevice } from '../../support/device.ts'
import { errorOf } from '../../support/errorOf.ts'
import { gradcheck } from '../../support/gradcheck.ts'
import { randomArray } from '../../support/random.ts'

const CASES: readonly (readonly [Shape, readonly number[]])[] = [
  [[7], [0]],
  [[3, 5], [0]],
  [[3, 5], [1]],
  [[2, 3, 4], [1]],
  [
    [2, 3, 4],
    [0, 2],
  ],
  [
    [2, 3, 4],
    [0, 1, 2],
  ],
  [
    [2, 3, 2, 5],
    [1, 3],
  ],
  [[2, 1, 3], [1]],
  [[2, 600, 4], [1]],
]
const sumOf = (values: number[]): number => values.reduce((total, value) => total + value, 0)

describe('reductions over axes', () => {
  const device = useDevice()

  it.each(CASES)('sum and mean of %j over %j', async (shape, axes) => {
    for (const keepDims of [false, true]) {
      await gradcheck(device(), {
        inputs: { x: shape },
        op: ({ x }) => sum(x, { axes, keepDims }),
        reference: ({ x }) => reduce(x, shape, axes, sumOf),
      })
    }
    await gradcheck(device(), {
      inputs: { x: shape },
      op: ({ x }) => mean(x, { axes }),
      reference: ({ x }) => reduce(x, shape, axes, (values) => sumOf(values) / values.length),
    })
  })

  it.each(CASES)('max and min of %j over %j', async (shape, axes) => {
    await gradcheck(device(), {
      inputs: { x: shape },
      op: ({ x }) => max(x, { axes }),
      reference: ({ x }) => reduce(x, shape, axes, (values) => Math.max(...values)),
      forwardTolerance: 0,
    })
    await gradcheck(device(), {
      inputs: { x: shape },
      op: ({ x }) => min(x, { axes, keepDims: true }),
      reference: ({ x }) => reduce(x, shape, axes, (values) => Math.min(...values)),
      forwardTolerance: 0,
    })
  })

  it('give shapes with or without the axes', () => {
    const x = device().empty([2, 3, 4])
    expect(sum(x, { axes: -1 }).shape).toEqual([2, 3])
    expect(sum(x, { axes: [0, -1], keepDims: true }).shape).toEqual([1, 3, 1])
    expect(mean(x, { keepDims: true }).shape).toEqual([1, 1, 1])
    expect(max(x).shape).toEqual([1])
    expect(max(x, { axes: [1, 2] }).shape).toEqual([2])
    expect(argmax(x, { axis: 1 }).shape).toEqual([2, 4])
    expect(argmin(x, { axis: -1, keepDims: true }).shape).toEqual([2, 3, 1])
    expect(argmax(x).shape).toEqual([1])
  })

  it('name axes that are not there', () => {
    const x = device().empty([2, 3])
    expect(errorOf(() => sum(x, { axes: 2 })).message).toBe(
      'sum: axis 2 is not one of 2 dimensions, expected -2 to 1',
    )
    expect(errorOf(() => max(x, { axes: [0, -2] })).message).toBe(
      'max: axes [0,-2] are empty or name a dimension twice; leave them out for all dimensions',
    )
  })
})

describe('argmax and argmin', () => {
  const device = useDevice()

  it.each([1, 63, 64, 65, 4095, 4096, 4097, 20_000])(
    'find the first of equals in %i elements',
    async (size) => {
      // Coarse values, so that there are ties.
      const data = randomArray(size, 3).map((value) => Math.round(value * 20) / 20)
      const x = device().tensor(data, [size])
      expect((await argmax(x).read())[0]).toBe(data.indexOf(Math.max(...data)))
      expect((await argmin(x).read())[0]).toBe(data.indexOf(Math.min(...data)))
      expect((await max(x).read())[0]).toBe(Math.max(...data))
      x.dispose()
    },
  )

  it('look along a dimension', async () => {
    const data = Float32Array.of(1, 5, 2, 5, 0, -1, 7, 7, -3, 7, 2, 2)
    const x = device().tensor(data, [2, 3, 2])
    expect([...(await argmax(x, { axis: 1 }).read())]).toEqual([1, 0, 0, 0])
    expect([...(await argmin(x, { axis: -1 }).read())]).toEqual([0, 0, 1, 0, 0, 0])
  })

  it('take NaN for the extremum, the first of several, and −0 for 0', async () => {
    const x = device().tensor(Float32Array.of(1, NaN, Infinity, NaN, -0, 0, -2, -0), [2, 4])
    expect([...(await argmax(x, { axis: 1 }).read())]).toEqual([1, 0])
    expect([...(await argmin(x, { axis: 1 }).read())]).toEqual([1, 2])
    expect([...(await max(x, { axes: 1 }).read())]).toEqual([NaN, -0])
    expect([...(await min(x, { axes: 1 }).read())]).toEqual([NaN, -2])
    const y = device().tensor(Float32Array.of(-Infinity, -3e38, Infinity, 3e38), [2, 2])
    expect([...(await max(y, { axes: 1 }).read())]).toEqual([Math.fround(-3e38), Infinity])
  })

  it('give the gradient to the first of equals', async () => {
    const x = device().tensor(Float32Array.of(1, 4, 4, 2, 4, 4), [2, 3])
    x.requiresGrad = true
    const [dX] = backward(max(x), [x])
    expect([...(await dX!.read())]).toEqual([0, 1, 0, 0, 0, 0])
  })
})

describe('topK', () => {
  const device = useDevice()

  it.each([
    [[5], 5],
    [[3, 7], 1],
    [[2, 3, 70], 4],
  ] as const)('has the values and gradients of sorting: %j, k %i', async (shape, k) => {
    const columns = shape.at(-1)!
    await gradcheck(device(), {
      inputs: { x: shape },
      op: ({ x }) => {
        const { values, indices } = topK(x, k)
        indices.dispose()
        return values
      },
      reference: ({ x }) => {
        const rows = Array.from({ length: sizeOf(shape) / columns }, (_, row) => {
          return Array.from(x).slice(row * columns, (row + 1) * columns)
        })
        return Float64Array.from(rows.flatMap((row) => row.sort((a, b) => b - a).slice(0, k)))
      },
      forwardTolerance: 0,
    })
  })

  it('gives columns, and refuses more than there are', async () => {
    const x = device().tensor(Float32Array.of(1, 3, 2, 9, 9, 0), [2, 3])
    const { values, indices } = topK(x, 2)
    expect([...(await values.read())]).toEqual([3, 2, 9, 9])
    expect([...(await indices.read())]).toEqual([1, 2, 0, 1])
    expect(indices.shape).toEqual([2, 2])
    expect(errorOf(() => topK(x, 4)).message).toBe(
      'topK: k is 4, expected 1 to the 3 columns of f32[2, 3]',
    )
  })
})
