import { eachThread } from '../kernels/elementwise.ts'
import { STRIDED_GROUP, stridedCopyKernel } from '../kernels/strided.ts'
import { transposeKernel } from '../kernels/transpose.ts'
import { placeValues, walkValues } from '../kernels/walk.ts'
import { mergeDimensions } from './broadcast.ts'
import type { Device } from './device.ts'
import { expect, formatShape, sizeOf, type Shape } from './shape.ts'
import { largestPart } from './split.ts'
import { Tensor } from './tensor.ts'

/** Where the elements of a dense array of some shape lie in another. */
export interface Places {
  readonly shape: Shape
  readonly strides: readonly number[]
  readonly offset: number
}

type Direction = 'read' | 'write'

/** Places after neighbouring dimensions were joined; one dimension at least. */
interface Merged {
  readonly sizes: readonly number[]
  readonly steps: readonly number[]
  readonly offset: number
}

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
  const whole = { sizes: merged.shape, steps, offset }
  const { maxBindingBytes } = x.device
  const large = x.byteLength > maxBindingBytes || out.byteLength > maxBindingBytes
  const units = large ? unitsOfPart(whole, x.device) : 0
  if (units === 0) copy(direction, x, out, whole)
  else copyInParts(direction, x, out, whole, units)
}

/** Elements between places where a binding may start. */
const aligned = ({ offsetAlignment }: Device): number => offsetAlignment / 4

/** Elements of the dense side to one coordinate of the first dimension. */
const denseOf = ({ sizes }: Merged): number => sizeOf(sizes.slice(1))

/** Elements of the other side from the first to the last of `units` coordinates. */
const spanOf = ({ sizes, steps }: Merged, units: number): number =>
  (units - 1) * steps[0]! + sizes.reduce((at, n, i) => at + (i > 0 ? (n - 1) * steps[i]! : 0), 1)

/** Coordinates of the first dimension to a part; 0 where not even one fits that ends aligned. */
function unitsOfPart(whole: Merged, device: Device): number {
  const limit = Math.floor(device.maxBindingBytes / 16) * 4
  // The other side's window starts at an aligned place at or before its first element.
  const room = limit - aligned(device) - spanOf(whole, 1)
  if (room < 0) return 0
  const most = Math.floor(room / whole.steps[0]!) + 1
  return Math.min(most, largestPart([4 * denseOf(whole)], whole.sizes[0]!, device))
}

/** The copy by runs of the first dimension, each over the part of both tensors that it touches. */
function copyInParts(
  direction: Direction,
  x: Tensor<'f32'>,
  out: Tensor<'f32'>,
  whole: Merged,
  most: number,
): void {
  const { device } = x
  const unit = aligned(device)
  const inner = denseOf(whole)
  const [total, ...rest] = whole.sizes as [number, ...number[]]
  // All parts but the last end where the dense side may be bound.
  let step = 1
  while ((step * inner) % unit !== 0) step *= 2
  const units = most >= step ? most - (most % step) : total
  const [dense, other] = direction === 'read' ? [out, x] : [x, out]
  for (let first = 0; first < total; first += units) {
    const count = Math.min(units, total - first)
    const start = whole.offset + first * whole.steps[0]!
    const before = start % unit
    const part = { ...whole, sizes: [count, ...rest], offset: before }
    const near = windowOf(dense, first * inner, count * inner)
    const far = windowOf(other, start - before, before + spanOf(whole, count))
    if (direction === 'read') copy(direction, far, near, part)
    else copy(direction, near, far, part)
    near.dispose()
    far.dispose()
  }
}

/** Elements of a tensor, over the same memory. */
const windowOf = (x: Tensor<'f32'>, start: number, count: number): Tensor<'f32'> =>
  new Tensor(x.device, x.allocation, [count], 'f32', x.offset + 4 * start)

function copy(
  direction: Direction,
  x: Tensor<'f32'>,
  out: Tensor<'f32'>,
  { sizes: counts, steps, offset }: Merged,
): void {
  const rank = counts.length
  const last = rank - 1
  const vector =
    steps[last] === 1 && [offset, counts[last]!, ...steps.slice(0, -1)].every((n) => n % 4 === 0)
  const unit = (n: number): number => (vector ? n / 4 : n)
  const sizes = counts.map((n, i) => (i === last ? unit(n) : n))
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
