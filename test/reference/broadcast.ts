import { sizeOf, type Shape } from '../../src/runtime/shape.ts'

/** The shape that two shapes broadcast to, NumPy's rules. */
export function broadcastShape(a: Shape, b: Shape): number[] {
  const rank = Math.max(a.length, b.length)
  const pad = (shape: Shape): number[] => [...Array<number>(rank - shape.length).fill(1), ...shape]
  const [m, n] = [pad(a), pad(b)]
  return m.map((size, i) => Math.max(size, n[i]!))
}

/** Coordinates of flat element i of a shape. */
export function coordinates(i: number, shape: Shape): number[] {
  const out = new Array<number>(shape.length)
  for (let d = shape.length - 1; d >= 0; d--) {
    out[d] = i % shape[d]!
    i = Math.floor(i / shape[d]!)
  }
  return out
}

/** Flat place of coordinates in a shape, whose dimensions of 1 repeat and missing ones too. */
export function place(at: readonly number[], shape: Shape): number {
  const missing = at.length - shape.length
  return shape.reduce((sum, n, d) => sum * n + (n === 1 ? 0 : at[missing + d]!), 0)
}

/** f(a, b) over the broadcast shape. */
export function broadcast(
  f: (a: number, b: number) => number,
  a: ArrayLike<number>,
  b: ArrayLike<number>,
  shapes: { readonly a: Shape; readonly b: Shape },
): Float64Array {
  const shape = broadcastShape(shapes.a, shapes.b)
  return Float64Array.from({ length: sizeOf(shape) }, (_, i) => {
    const at = coordinates(i, shape)
    return f(a[place(at, shapes.a)]!, b[place(at, shapes.b)]!)
  })
}

/** Reduces x over axes by `fold`, which gets the values in row-major order. */
export function reduce(
  x: ArrayLike<number>,
  shape: Shape,
  axes: readonly number[],
  fold: (values: number[]) => number,
): Float64Array {
  const kept = shape.map((n, d) => (axes.includes(d) ? 1 : n))
  const groups = Array.from({ length: sizeOf(kept) }, (): number[] => [])
  for (let i = 0; i < x.length; i++) groups[place(coordinates(i, shape), kept)]!.push(x[i]!)
  return Float64Array.from(groups, fold)
}
