import { eachThread } from '../kernels/elementwise.ts'
import { STRIDED_GROUP, stridedCopyKernel } from '../kernels/strided.ts'
import { transposeKernel } from '../kernels/transpose.ts'
import { placeValues, walkValues } from '../kernels/walk.ts'
import { mergeDimensions } from './broadcast.ts'
import { expect, formatShape, sizeOf, type Shape } from './shape.ts'
import type { Tensor } from './tensor.ts'

/** Where the elements of a dense array of some shape lie in another. */
export interface Places {
  readonly shape: Shape
  readonly strides: readonly number[]
  readonly offset: number
}

type Direction = 'read' | 'write'

/** Copies between a dense tensor and places in another; outside the tape. */
export function stridedCopy(
  op: string,
  direction: Direction,
  x: Tensor<'f32'>,
  out: Tensor<'f32'>,
  { shape, strides, offset }: Places,
): void {
  const merged = mergeDimensions(shape, [strides])
  if (merged.shape.length === 0) {
    merged.shape.push(1)
    merged.strides[0]!.push(1)
  }
  const rank = merged.shape.length
  expect(rank <= 5, op, () => {
    return `${formatShape(shape)} moves along ${rank} dimensions apart, expected at most five; split the op`
  })
  const steps = merged.strides[0]!
  if (transposes(direction, x, out, { shape: merged.shape, strides: steps, offset })) return
  const last = rank - 1
  const vector =
    steps[last] === 1 &&
    [offset, merged.shape[last]!, ...steps.slice(0, -1)].every((n) => n % 4 === 0)
  const unit = (n: number): number => (vector ? n / 4 : n)
  const sizes = merged.shape.map((n, i) => (i === last ? unit(n) : n))
  const units = steps.map((n, i) => (i === last ? n : unit(n)))
  const kernel = stridedCopyKernel({
    rank: rank as 1 | 2 | 3 | 4 | 5,
    direction,
    vector,
    each: eachThread(x.device.adapter.software),
  })
  x.device.dispatch(
    kernel,
    { x, out },
    {
      size: sizeOf(sizes),
      offset: unit(offset),
      ...walkValues(sizes, STRIDED_GROUP),
      ...placeValues('s', sizes, units, STRIDED_GROUP),
    },
  )
}

/** Whether the places are transposed matrices of whole vec4s, which are then copied. */
function transposes(
  direction: Direction,
  x: Tensor<'f32'>,
  out: Tensor<'f32'>,
  { shape, strides, offset }: Places,
): boolean {
  const { device } = x
  const rank = shape.length
  if (rank < 2 || rank > 4 || strides[rank - 2] !== 1 || strides[rank - 1] === 1) return false
  const [outer, inner, rows, columns] = [...[1, 1].slice(rank - 2), ...shape]
  const [outerStride, innerStride, , columnStride] = [...[0, 0].slice(rank - 2), ...strides]
  const numbers = [rows!, columns!, outerStride!, innerStride!, columnStride!, offset]
  const bound = Math.max(x.byteLength, out.byteLength) <= device.maxBindingBytes
  if (!bound || !numbers.every((n) => n % 4 === 0)) return false
  const kernel = transposeKernel({ direction, tiles: device.adapter.software ? 4 : 1 })
  device.dispatch(
    kernel,
    { x, out },
    {
      outer: outer!,
      inner: inner!,
      rows: rows!,
      columns: columns!,
      outerStride: outerStride!,
      innerStride: innerStride!,
      columnStride: columnStride!,
      offset,
    },
  )
  return true
}
