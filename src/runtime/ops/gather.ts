import { gatherRowsKernel } from '../../kernels/gatherRows.ts'
import { expect, expectShape, type Shape } from '../shape.ts'
import { apply, type Op } from '../tape.ts'
import type { Tensor } from '../tensor.ts'
import { scatterAddInto } from './scatterAdd.ts'

type F32 = Tensor<'f32'>
type U32 = Tensor<'u32'>

interface GatherInputs extends Record<string, Tensor | undefined> {
  readonly x: F32
  readonly index: U32
}

/** out[m] = x[index[m]] over rows of `columns`; outside the tape. */
function gatherInto(x: F32, index: U32, out: F32): F32 {
  const columns = out.size / index.size
  const vector = columns % 4 === 0
  const rows = x.size / columns
  const sizes = { rows, columns: vector ? columns / 4 : columns, first: 0, held: rows }
  const kernel = gatherRowsKernel({ vector })
  out.device.dispatch(kernel, { x, index, out }, { ...sizes, count: index.size })
  return out
}

const gatherOp = (name: string): Op<GatherInputs, { shape: Shape }, { index: U32 }> => ({
  name,
  forward({ x, index }, { shape }) {
    const out = x.device.empty([...index.shape, ...shape.slice(1)])
    return { out: gatherInto(x, index, out), saved: { index } }
  },
  backward({ gradient, saved: { index }, output }) {
    return { x: scatterAddInto(gradient, index, output('x')), index: null }
  },
})

const gatherAny = gatherOp('gather')
const gatherMatrix = gatherOp('gatherRows')

/**
 * Parts of x along its first dimension: those that `index` names, in its order and as often as it
 * does. The gradient adds in ascending order of the index's elements, so it repeats bit for bit.
 *
 * The host can't check indices that the GPU may have made: one of N or more takes the last part.
 *
 * @param x [N, ...rest]
 * @param index u32 of any shape
 * @returns [...index, ...rest]
 */
export function gather(x: F32, index: U32): F32 {
  expect(x.shape.length > 0, 'gather', () => `x is ${x.toString()}, expected [N, ...]`)
  expect(index.dtype === 'u32', 'gather', () => `index is ${index.toString()}, expected u32`)
  return apply(gatherAny, { x, index }, { shape: x.shape })
}

/**
 * The rows of x that `index` names, in its order and as often as it does: {@link gather} of a matrix.
 *
 * @param x [N, D]
 * @param index u32 [M]; N or more takes the last row
 * @returns [M, D]
 */
export function gatherRows(x: F32, index: U32): F32 {
  expect(x.shape.length === 2, 'gatherRows', () => `x is ${x.toString()}, expected [rows, columns]`)
  expect(index.shape.length === 1 && index.dtype === 'u32', 'gatherRows', () => {
    return `index is ${index.toString()}, expected u32[count]`
  })
  return apply(gatherMatrix, { x, index }, { shape: x.shape })
}

interface ScatterInputs extends Record<string, Tensor | undefined> {
  readonly x: F32
  readonly index: U32
  readonly source: F32
}

const scatterAddOp: Op<ScatterInputs, undefined, { index: U32 }> = {
  name: 'scatterAdd',
  forward({ x, index, source }) {
    const out = x.device.empty(x.shape)
    return { out: scatterAddInto(source, index, out, x), saved: { index } }
  },
  backward({ gradient, saved: { index }, wants, output }) {
    return {
      x: wants('x') ? gradient.view(gradient.shape) : null,
      index: null,
      source: wants('source') ? gatherInto(gradient, index, output('source')) : null,
    }
  },
}

/**
 * x with parts added to it along its first dimension: out[index[m]] = x[index[m]] + Σ source[m], in
 * ascending order of m and without atomics, so it repeats bit for bit. An index of N or more adds to
 * the last part.
 *
 * @param x [N, ...rest]
 * @param index u32 of any shape
 * @param source [...index, ...rest]
 */
export function scatterAdd(x: F32, index: U32, source: F32): F32 {
  const { shape } = x
  expect(shape.length > 0, 'scatterAdd', () => `x is ${x.toString()}, expected [N, ...]`)
  expect(index.dtype === 'u32', 'scatterAdd', () => `index is ${index.toString()}, expected u32`)
  expectShape('scatterAdd', 'source', source.shape, [...index.shape, ...shape.slice(1)])
  return apply(scatterAddOp, { x, index, source }, undefined)
}
