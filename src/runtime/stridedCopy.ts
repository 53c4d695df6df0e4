import { eachThread } from '../kernels/elementwise.ts'
import { stridedCopyKernel } from '../kernels/strided.ts'
import { mergeDimensions } from './broadcast.ts'
import { expect, formatShape, sizeOf, type Shape } from './shape.ts'
import type { Tensor } from './tensor.ts'

/** Where the elements of a dense array of some shape lie in another. */
export interface Places {
  readonly shape: Shape
  readonly strides: readonly number[]
  readonly offset: number
}

/** Copies between a dense tensor and places in another; outside the tape. */
export function stridedCopy(
  op: string,
  direction: 'read' | 'write',
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
  const last = rank - 1
  const vector =
    steps[last] === 1 &&
    [offset, merged.shape[last]!, ...steps.slice(0, -1)].every((n) => n % 4 === 0)
  const unit = (n: number): number => (vector ? n / 4 : n)
  const sizes = merged.shape.map((n, i) => (i === last ? unit(n) : n))
  const params: Record<string, number> = { size: sizeOf(sizes), offset: unit(offset) }
  sizes.forEach((n, i) => i > 0 && (params[`d${i}`] = n))
  steps.forEach((n, i) => (params[`s${i}`] = i === last ? n : unit(n)))
  const kernel = stridedCopyKernel({
    rank: rank as 1 | 2 | 3 | 4 | 5,
    direction,
    vector,
    each: eachThread(x.device.adapter.software),
  })
  x.device.dispatch(kernel, { x, out }, params)
}
