import { expect, sizeOf, type Shape } from './shape.ts'

/** Dimensions by number, negative from the end; left out: all of them. */
export type Axes = number | readonly number[]

/** Which dimensions a reduction runs over, and whether they stay as 1. */
export interface ReduceOptions {
  /** Default: all. */
  readonly axes?: Axes
  /** Keeps what is reduced as dimensions of 1. Default false. */
  readonly keepDims?: boolean
}

/** A dimension by its number from the start. */
export function axisOf(op: string, axis: number, rank: number): number {
  expect(Number.isInteger(axis) && axis >= -rank && axis < rank, op, () => {
    return `axis ${axis} is not one of ${rank} dimensions, expected ${-rank} to ${rank - 1}`
  })
  return axis < 0 ? axis + rank : axis
}

/** Sorted axes from the start, each once. */
export function axesOf(op: string, axes: Axes | undefined, rank: number): number[] {
  if (axes === undefined) return Array.from({ length: rank }, (_, i) => i)
  const list = (typeof axes === 'number' ? [axes] : axes).map((axis) => axisOf(op, axis, rank))
  expect(list.length > 0 && new Set(list).size === list.length, op, () => {
    return `axes [${String(axes)}] are empty or name a dimension twice; leave them out for all dimensions`
  })
  return list.sort((a, b) => a - b)
}

/** The shape with the axes at 1. */
export const keptShape = (shape: Shape, axes: readonly number[]): number[] =>
  shape.map((n, i) => (axes.includes(i) ? 1 : n))

/** The shape after a reduction; [1] when nothing is left. */
export function reducedShape(shape: Shape, axes: readonly number[], keepDims: boolean): Shape {
  if (keepDims) return keptShape(shape, axes)
  const left = shape.filter((_, i) => !axes.includes(i))
  return left.length > 0 ? left : [1]
}

/** One reduction over the middle of [outer, n, inner]. */
export interface Reduction {
  readonly outer: number
  readonly n: number
  readonly inner: number
}

/** The reductions that run over the axes one run of neighbours at a time, the last run first. */
export function reductionsOf(shape: Shape, axes: readonly number[]): Reduction[] {
  const steps: Reduction[] = []
  let current = [...shape]
  for (let end = shape.length; end > 0; end--) {
    if (!axes.includes(end - 1)) continue
    let start = end
    while (start > 0 && axes.includes(start - 1)) start--
    const n = sizeOf(current.slice(start, end))
    const step = { outer: sizeOf(current.slice(0, start)), n, inner: sizeOf(current.slice(end)) }
    current = current.map((size, i) => (i >= start && i < end ? 1 : size))
    if (n > 1) steps.push(step)
    end = start + 1
  }
  return steps
}
