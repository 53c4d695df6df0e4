import type { FloatDtype } from '../dtype.ts'
import { expect, formatShape, sameShape, sizeOf, type Shape } from '../shape.ts'
import { apply, type Op } from '../tape.ts'
import type { Tensor } from '../tensor.ts'
import { expectFrozen, matmulInto, sumSlabs, type Layout, type Sizes } from './matmulInto.ts'

export { linear, type LinearOptions } from './linear.ts'

interface Operands extends Record<string, Tensor | undefined> {
  readonly a: Tensor<FloatDtype>
  readonly b: Tensor<FloatDtype>
}

const matmulOp: Op<Operands, Layout, Operands> = {
  name: 'matmul',
  forward({ a, b }, layout) {
    const sizes = sizesOf(a, b, layout)
    const { m, n } = sizes
    const batch = (a.shape.length >= b.shape.length ? a : b).shape.slice(0, -2)
    const out = matmulInto(a.device.empty([...batch, m, n]), a, b, layout, flat(sizes, layout))
    return { out, saved: { a, b } }
  },
  // out = A·B: dA = dOut·Bᵀ, dB = Aᵀ·dOut, each transposed when the operand was.
  backward({ gradient, saved: { a, b }, attributes: layout, wants, output }) {
    const sizes = sizesOf(a, b, layout)
    const { transposeA, transposeB } = layout
    return {
      a: !wants('a')
        ? null
        : transposeA
          ? gradientOf('a', b, gradient, { transposeA: transposeB, transposeB: true })
          : gradientOf('a', gradient, b, { transposeA: false, transposeB: !transposeB }),
      b: !wants('b')
        ? null
        : transposeB
          ? gradientOf('b', gradient, a, { transposeA: true, transposeB: transposeA })
          : gradientOf('b', a, gradient, { transposeA: !transposeA, transposeB: false }),
    }

    /** left·right in the place of an operand's gradient, summed over the batch if that is shared. */
    function gradientOf(
      name: 'a' | 'b',
      left: Tensor<FloatDtype>,
      right: Tensor<FloatDtype>,
      layout: Layout,
    ): Tensor<'f32'> {
      const out = output(name)
      const { batch = 1, shared } = sizes
      const [rows, columns] = out.shape.slice(-2) as [number, number]
      const inner = name === 'a' ? sizes.n : sizes.m
      if (shared !== name) {
        const other = shared && (name === 'a' ? b : a)
        const at = other === left ? 'a' : other === right ? 'b' : undefined
        const product = { m: rows, n: columns, k: inner, batch, shared: at } as const
        return matmulInto(out, left, right, layout, flat(product, layout))
      }
      // Where the batch can be a part of the inner dimension, the sum over it is the product's own.
      if (layout.transposeA && !layout.transposeB) {
        return matmulInto(out, left, right, layout, { m: rows, n: columns, k: batch * inner })
      }
      const slabs = out.device.empty([batch, rows, columns])
      matmulInto(slabs, left, right, layout, { m: rows, n: columns, k: inner, batch })
      sumSlabs(slabs, out)
      slabs.dispose()
      return out
    }
  },
}

/** One product of more rows in place of a batch whose matrices B is shared by. */
function flat(sizes: Sizes, { transposeA }: Layout): Sizes {
  const { m, n, k, batch = 1, shared } = sizes
  return shared === 'b' && !transposeA ? { m: batch * m, n, k } : sizes
}

function sizesOf(a: Tensor, b: Tensor, { transposeA, transposeB }: Layout): Sizes {
  const [m, k] = oriented('a', a.shape, transposeA)
  const [inner, n] = oriented('b', b.shape, transposeB)
  expect(k === inner, 'matmul', () => {
    return `a ${a.toString()} has inner size ${k}, b ${b.toString()} has ${inner}; expected equal`
  })
  const [batchA, batchB] = [a.shape.slice(0, -2), b.shape.slice(0, -2)]
  if (sameShape(batchA, batchB)) return { m, n, k, batch: sizeOf(batchA) }
  expect(batchA.length === 0 || batchB.length === 0, 'matmul', () => {
    return (
      `a ${a.toString()} and b ${b.toString()} have the batches ${formatShape(batchA)} and ` +
      `${formatShape(batchB)}; expected equal ones, or one operand of two dimensions for all`
    )
  })
  const shared = batchA.length === 0 ? 'a' : 'b'
  return { m, n, k, batch: sizeOf(shared === 'a' ? batchB : batchA), shared }
}

function oriented(name: string, shape: Shape, transposed: boolean): [number, number] {
  expect(shape.length >= 2, 'matmul', () => {
    return `${name} has ${shape.length} dimensions, expected 2 or, with a batch, more`
  })
  const [rows, columns] = shape.slice(-2) as [number, number]
  return transposed ? [columns, rows] : [rows, columns]
}

/** Throws unless matmul can read this operand as numbers. */
function expectFloats(name: string, tensor: Tensor): void {
  expect(tensor.dtype === 'f32' || tensor.dtype === 'f16', 'matmul', () => {
    return `${name} is ${tensor.toString()}, expected f32 or f16; int8 weights go through linear()`
  })
  expectFrozen('matmul', name, tensor)
}

/**
 * op(a)·op(b): [..., m, k]·[..., k, n] → [..., m, n], where `transposeA` and `transposeB` say that the
 * operand's matrices are stored the other way round.
 *
 * The batch dimensions are equal, or one operand has none and all matrices share it. Operands may be
 * f16; sums and the result are f32. Gradients flow into f32 operands.
 *
 * @throws KeeplightError `validation` when shapes or dtypes do not fit
 */
export function matmul(
  a: Tensor<FloatDtype>,
  b: Tensor<FloatDtype>,
  { transposeA = false, transposeB = false }: Partial<Layout> = {},
): Tensor<'f32'> {
  expectFloats('a', a)
  expectFloats('b', b)
  return apply(matmulOp, { a, b }, { transposeA, transposeB })
}
