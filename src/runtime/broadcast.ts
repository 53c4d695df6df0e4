import { MAP_GROUP, type Spread, type Strided } from '../kernels/elementwise.ts'
import { placeValues, walkValues } from '../kernels/walk.ts'
import { expect, formatShape, sameShape, sizeOf, type Shape } from './shape.ts'

/**
 * NumPy's broadcasting: shapes are aligned at their last dimensions, and a dimension of 1 or one that
 * is missing repeats.
 */

/** The shape that `a` and `b` broadcast to; `names` are theirs, for the error. */
export function broadcastShape(
  op: string,
  a: Shape,
  b: Shape,
  names: readonly [string, string] = ['a', 'b'],
): Shape {
  const rank = Math.max(a.length, b.length)
  return Array.from({ length: rank }, (_, i) => {
    const [m, n] = [a[i - rank + a.length] ?? 1, b[i - rank + b.length] ?? 1]
    expect(m === n || m === 1 || n === 1, op, () => {
      return (
        `${names[0]} has shape ${formatShape(a)} and ${names[1]} ${formatShape(b)}, which do not broadcast: ` +
        `aligned at the last dimension, two sizes must be equal or one of them 1`
      )
    })
    return Math.max(m, n)
  })
}

/** The dimensions of `out` along which a tensor of shape `from` was repeated. */
export function repeatedAxes(from: Shape, out: Shape): number[] {
  const missing = out.length - from.length
  return out.flatMap((n, i) => (n !== 1 && (from[i - missing] ?? 1) === 1 ? [i] : []))
}

/** How operands reach the elements of an output, for elementwise kernels. */
export interface Broadcast<N extends string> {
  readonly spreads: Readonly<Record<N, Spread>>
  /** The spreads' parameters, without `size`. */
  readonly params: Readonly<Record<string, number>>
}

/** Plans the spread of every operand over `out`, the cheapest that fits. */
export function planBroadcast<N extends string>(
  op: string,
  operands: Readonly<Record<N, Shape>>,
  out: Shape,
): Broadcast<N> {
  const names = Object.keys(operands) as N[]
  const params: Record<string, number> = {}
  const spreads = {} as Record<N, Spread>
  const strided: N[] = []
  for (const name of names) {
    const spread = spreadOf(operands[name], out)
    if (spread === undefined) strided.push(name)
    else spreads[name] = spread
    if (spread === 'row') params[`${name}Period`] = sizeOf(operands[name]) / 4
  }
  if (strided.length === 0) return { spreads, params }

  const strides = strided.map((name) => repeatedStrides(operands[name], out))
  const merged = mergeDimensions(out, strides)
  const rank = merged.shape.length
  expect(rank <= 5, op, () => {
    const shapes = names.map((name) => formatShape(operands[name])).join(' and ')
    return (
      `shapes ${shapes} alternate between repeated and other dimensions ${rank} times, ` +
      `expected at most five; split the op`
    )
  })
  params['first'] = 0
  if (merged.shape.at(-1)! % 4 === 0) {
    const last = rank - 1
    const sizes = merged.shape.map((n, i) => (i === last ? n / 4 : n))
    Object.assign(params, walkValues(sizes, MAP_GROUP))
    strided.forEach((name, k) => {
      const own = merged.strides[k]!
      const quads = own[last] === 1
      spreads[name] = `${quads ? 'quads' : 'splat'}${rank as 2 | 3 | 4 | 5}`
      const strides = own.map((stride, i) => (quads && i !== last ? stride / 4 : stride))
      Object.assign(params, placeValues(name, sizes, strides, MAP_GROUP))
    })
    return { spreads, params }
  }
  merged.shape.forEach((n, i) => i > 0 && (params[`d${i}`] = n))
  strided.forEach((name, k) => {
    spreads[name] = `strided${rank}` as Strided
    merged.strides[k]!.forEach((stride, i) => (params[`${name}${i}`] = stride))
  })
  return { spreads, params }
}

/** The cheapest spread of an operand over `out`, if one without strides fits. */
function spreadOf(shape: Shape, out: Shape): Spread | undefined {
  const size = sizeOf(shape)
  if (size === sizeOf(out)) return 'whole'
  if (size === 1) return 'scalar'
  const own = shape.slice(shape.findIndex((n) => n !== 1))
  const trails = sameShape(own, out.slice(out.length - own.length))
  return trails && size % 4 === 0 ? 'row' : undefined
}

/** Row-major strides of a shape. */
export const stridesOf = (shape: Shape): number[] => shape.map((_, i) => sizeOf(shape.slice(i + 1)))

/** Strides of a tensor over the dimensions of `out`, 0 where it repeats. */
function repeatedStrides(shape: Shape, out: Shape): number[] {
  const missing = out.length - shape.length
  const own = stridesOf(shape)
  return out.map((_, i) => ((shape[i - missing] ?? 1) === 1 ? 0 : own[i - missing]!))
}

/** Drops dimensions of 1, and joins neighbours that every list of strides walks as one. */
export function mergeDimensions(
  shape: Shape,
  strides: readonly (readonly number[])[],
): { shape: number[]; strides: number[][] } {
  const sizes: number[] = []
  const kept: number[][] = strides.map(() => [])
  shape.forEach((n, i) => {
    if (n === 1) return
    const last = sizes.length - 1
    const joins = last >= 0 && strides.every((own, k) => kept[k]![last] === own[i]! * n)
    if (joins) {
      sizes[last]! *= n
      strides.forEach((own, k) => (kept[k]![last] = own[i]!))
    } else {
      sizes.push(n)
      strides.forEach((own, k) => kept[k]!.push(own[i]!))
    }
  })
  return { shape: sizes, strides: kept }
}
