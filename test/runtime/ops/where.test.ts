import { describe, expect, it } from 'vitest'
import { where } from '../../../src/runtime/ops/where.ts'
import { sizeOf, type Shape } from '../../../src/runtime/shape.ts'
import type { Tensor } from '../../../src/runtime/tensor.ts'
import { broadcastShape, coordinates, place } from '../../reference/broadcast.ts'
import { useDevice } from '../../support/device.ts'
import { errorOf } from '../../support/errorOf.ts'
import { gradcheck } from '../../support/gradcheck.ts'

/** Shapes of the condition, a and b: equal, rows, scalars, and strides with and without whole vec4s. */
const CASES: readonly (readonly [Shape, Shape, Shape])[] = [
  [
    [5, 7],
    [5, 7],
    [5, 7],
  ],
  [[8], [5, 8], [5, 8]],
  [[5, 1], [5, 8], [8]],
  [[5, 1], [5, 7], [1]],
  [[1], [3, 5], [3, 1]],
  [[2, 3, 1], [4], [2, 1, 4]],
]

describe('where', () => {
  const device = useDevice()

  it.each(CASES)('has the values and gradients of its f64 loops: %j, %j, %j', async (c, a, b) => {
    const shape = broadcastShape(broadcastShape(c, a), b)
    for (const dtype of ['u32', 'f32'] as const) {
      const values = Array.from({ length: sizeOf(c) }, (_, i) => [0, 3, 1, 0, 7][i % 5]!)
      const data = dtype === 'u32' ? Uint32Array.from(values) : Float32Array.from(values)
      const condition = device().tensor(data, c) as Tensor<'u32'> | Tensor<'f32'>
      await gradcheck(device(), {
        inputs: { a, b },
        op: (inputs) => where(condition, inputs.a, inputs.b),
        reference: (inputs) =>
          Float64Array.from({ length: sizeOf(shape) }, (_, i) => {
            const at = coordinates(i, shape)
            const holds = values[place(at, c)] !== 0
            return holds ? inputs.a[place(at, a)]! : inputs.b[place(at, b)]!
          }),
        forwardTolerance: 0,
      })
      condition.dispose()
    }
  })

  it('takes NaN and what only looks like −0 for true', async () => {
    const [a, b] = [1, 2].map((x) => device().tensor(new Float32Array(5).fill(x), [5]))
    const numbers = device().tensor(Float32Array.of(0, -0, NaN, 1e-30, -Infinity), [5])
    expect([...(await where(numbers, a!, b!).read())]).toEqual([2, 2, 1, 1, 1])
    const words = device().tensor(Uint32Array.of(0, 0x80000000, 1, 0x7fc00000, 0), [5])
    expect([...(await where(words, a!, b!).read())]).toEqual([2, 1, 1, 1, 2])
  })

  it('lets no NaN of the side that is not taken through', async () => {
    const condition = device().tensor(Uint32Array.of(1, 0), [2])
    const a = device().tensor(Float32Array.of(1, NaN), [2])
    const b = device().tensor(Float32Array.of(NaN, 2), [2])
    expect([...(await where(condition, a, b).read())]).toEqual([1, 2])
  })

  it('names what does not fit', () => {
    const [a, b] = [device().empty([2, 3]), device().empty([3])]
    expect(errorOf(() => where(device().empty([2], 'u32'), a, b)).message).toContain(
      'where: condition has shape [2] and the result [2, 3], which do not broadcast',
    )
    const integers = device().empty([3], 'u32') as Tensor as Tensor<'f32'>
    expect(errorOf(() => where(a, integers, b)).message).toBe('where: a is u32[3], expected f32')
  })
})
