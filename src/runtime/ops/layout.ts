import { fillKernel } from '../../kernels/elementwise.ts'
import { axisOf } from '../axes.ts'
import { stridesOf } from '../broadcast.ts'
import { expect, formatShape, type Shape } from '../shape.ts'
import { stridedCopy, type Places } from '../stridedCopy.ts'
import { apply, type Op } from '../tape.ts'
import type { Tensor } from '../tensor.ts'

type F32 = Tensor<'f32'>

const permuteOp: Op<{ x: F32 }, { places: Places }, undefined> = {
  name: 'permute',
  forward({ x }, { places }) {
    const out = x.device.empty(places.shape)
    stridedCopy('permute', 'read', x, out, places)
    return { out, saved: undefined }
  },
  backward({ gradient, attributes: { places }, output }) {
    const dX = output('x')
    stridedCopy('permute', 'write', gradient, dX, places)
    return { x: dX }
  },
}

/**
 * x with its dimensions in another order: dimension i of the result is dimension `axes[i]` of x.
 *
 * @param axes every dimension of x once, negative from the end; e.g. [0, 2, 1, 3]
 */
export function permute(x: F32, axes: readonly number[]): F32 {
  const rank = x.shape.length
  const order = axes.map((axis) => axisOf('permute', axis, rank))
  expect(order.length === rank && new Set(order).size === rank, 'permute', () => {
    return `axes [${axes.join(', ')}] do not name each of the ${rank} dimensions of ${x.toString()} once`
  })
  const strides = stridesOf(x.shape)
  const places: Places = {
    shape: order.map((axis) => x.shape[axis]!),
    strides: order.map((axis) => strides[axis]!),
    offset: 0,
  }
  return apply(permuteOp, { x }, { places })
}

/** x with its last two dimensions exchanged. */
export function transpose(x: F32): F32 {
  const rank = x.shape.length
  expect(rank >= 2, 'transpose', () => `x is ${x.toString()}, expected two dimensions or more`)
  const axes = x.shape.map((_, i) => i)
  return permute(x, [...axes.slice(0, -2), rank - 1, rank - 2])
}

const sliceOp: Op<{ x: F32 }, { places: Places }, undefined> = {
  name: 'slice',
  forward({ x }, { places }) {
    const out = x.device.empty(places.shape)
    stridedCopy('slice', 'read', x, out, places)
    return { out, saved: undefined }
  },
  backward({ gradient, attributes: { places }, output }) {
    const dX = output('x')
    dX.device.dispatch(fillKernel, { out: dX }, { size: dX.size, value: 0 })
    stridedCopy('slice', 'write', gradient, dX, places)
    return { x: dX }
  },
}

/**
 * The part of x from `start` up to but not including `stop`, for each of its dimensions.
 *
 * @param start 0 ≤ start < stop, one for each dimension
 * @param stop at most x's size
 */
export function slice(x: F32, start: readonly number[], stop: readonly number[]): F32 {
  const { shape } = x
  const valid =
    start.length === shape.length &&
    stop.length === shape.length &&
    shape.every((n, i) => {
      const [from, to] = [start[i]!, stop[i]!]
      return Number.isInteger(from) && Number.isInteger(to) && from >= 0 && from < to && to <= n
    })
  expect(valid, 'slice', () => {
    return (
      `${formatShape(start)} to ${formatShape(stop)} is no part of ${x.toString()}, ` +
      `expected 0 ≤ start < stop ≤ size for each dimension`
    )
  })
  const strides = stridesOf(shape)
  const offset = start.reduce((sum, from, i) => sum + from * strides[i]!, 0)
  const places = { shape: shape.map((_, i) => stop[i]! - start[i]!), strides, offset }
  return apply(sliceOp, { x }, { places })
}

interface Concat {
  readonly shape: Shape
  /** By the name of the input. */
  readonly places: Readonly<Record<string, Places>>
}

const concatOp: Op<Record<string, F32>, Concat, undefined> = {
  name: 'concat',
  forward(inputs, { shape, places }) {
    const [first] = Object.values(inputs)
    const out = first!.device.empty(shape)
    for (const [name, x] of Object.entries(inputs)) {
      stridedCopy('concat', 'write', x, out, places[name]!)
    }
    return { out, saved: undefined }
  },
  backward({ gradient, attributes: { places }, wants, output }) {
    const gradients: Record<string, F32 | null> = {}
    for (const [name, place] of Object.entries(places)) {
      gradients[name] = wants(name) ? output(name) : null
      const dX = gradients[name]
      if (dX) stridedCopy('concat', 'read', gradient, dX, place)
    }
    return gradients
  },
}

/**
 * Tensors one after another along a dimension; their other dimensions are equal.
 *
 * @param axis negative from the end. Default 0
 */
export function concat(tensors: readonly F32[], axis = 0): F32 {
  const [first] = tensors
  expect(first !== undefined, 'concat', () => 'no tensors, expected one or more')
  const rank = first.shape.length
  const along = axisOf('concat', axis, rank)
  tensors.forEach(({ shape }, i) => {
    const fits =
      shape.length === rank && shape.every((n, d) => d === along || n === first.shape[d]!)
    expect(fits, 'concat', () => {
      return (
        `tensor ${i} has shape ${formatShape(shape)}, expected that of the first, ` +
        `${formatShape(first.shape)}, in all dimensions but ${along}`
      )
    })
  })
  const total = tensors.reduce((sum, { shape }) => sum + shape[along]!, 0)
  const shape = first.shape.map((n, d) => (d === along ? total : n))
  const strides = stridesOf(shape)
  const inputs: Record<string, F32> = {}
  const places: Record<string, Places> = {}
  let before = 0
  tensors.forEach((tensor, i) => {
    inputs[`tensor${i}`] = tensor
    places[`tensor${i}`] = { shape: tensor.shape, strides, offset: before * strides[along]! }
    before += tensor.shape[along]!
  })
  return apply(concatOp, inputs, { shape, places })
}
